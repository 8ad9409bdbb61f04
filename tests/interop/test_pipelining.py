"""One message behind the other on one connection, whatever real mail servers refuse amid them."""

from notifier.relayspec import Pipelining
from tests.interop.calls import arrived_at, relaying, unique
from tests.service import email, ended, submit

ROUNDS = 8


def round_of(number):
    """Messages of which some are for nobody, each from a sender of its own."""
    ann, bob = f"ann{number}@example.org", f"bob{number}@example.org"
    return [
        email(ann, sender=f"first{number}@example.org", subject=unique()),
        email("refused@example.org", sender=f"second{number}@example.org", subject=unique()),
        email(ann, bob, sender=f"third{number}@example.org", subject=unique()),
        email(
            ann,
            "refused@example.org",
            bob,
            sender=f"fourth{number}@example.org",
            subject=unique(),
        ),
        email(
            "refused@example.org",
            "refused2@example.org",
            sender=f"fifth{number}@example.org",
            subject=unique(),
        ),
    ]


async def test_refusal_amid_a_flow_affects_no_other_message(server, tmp_path):
    """
    Each arrives once, from its own sender, at its first try; the refused ones nowhere. A server
    that takes no commands behind the end of a content is noticed.
    """
    messages = [each for number in range(ROUNDS) for each in round_of(number)]
    async with relaying(tmp_path, server.url(connections=1), workers=16) as service:
        ids = await submit(service, *messages)
        done = {id: await ended(service, id) for id in ids}
        (state,) = service.transports.relays.states()
    for id, message in zip(ids, messages, strict=True):
        good = [each for each in message.to if not each.startswith("refused")]
        assert done[id].status == ("sent" if good else "failed"), done[id].reason
        assert (done[id].tries, done[id].uncertain) == (1, 0)
        if good:
            await arrived_at(server, message.subject, *good)
    expected = Pipelining.FULL if server.commands_behind_content else Pipelining.TRANSACTION
    assert state.pipelining is expected
    senders = {mail.subject: mail.sender for mail in server.sink.mails}
    for message in messages:
        assert senders.get(message.subject, message.sender) == message.sender
    assert not [mail for mail in server.sink.mails if any("refused" in r for r in mail.recipients)]
