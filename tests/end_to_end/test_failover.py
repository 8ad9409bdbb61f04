"""Several relays behind the whole service: who is asked next, and when nobody else may be."""

import contextlib

import pytest

from notifier.deliveries import OnUncertain, Status
from notifier.errors import WrongState
from tests.process import free_port
from tests.relay import CUT, FIN, ScriptedRelay
from tests.service import email, ended, notifying, now, subjects, submit, submit_one, until_status
from tests.waiting import until


@pytest.fixture
async def first():
    async with ScriptedRelay() as relay:
        yield relay


@pytest.fixture
async def second():
    async with ScriptedRelay() as relay:
        yield relay


async def test_the_second_relay_takes_messages_of_a_closed_first(second, tmp_path):
    """The first is closed: there is one attempt, which names the relay that was passed over."""
    nobody = ScriptedRelay(port=free_port())  # never opened
    async with notifying(tmp_path, nobody, second) as service:
        sent = await ended(service, await submit_one(service))
    (attempt,) = sent.attempts
    assert (sent.status, attempt.relay, sent.uncertain) == (Status.SENT, "second", 0)
    assert "first passed over (connect)" in attempt.conversation[0]
    assert len(second.received) == 1


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("GREETING", "554 5.3.2 closed"),
        ("EHLO", "421 4.3.2 closing"),
        ("MAIL", "421 4.3.2 closing"),
        ("RCPT", "421 4.3.2 closing"),
        ("DATA", "421 4.3.2 closing"),
    ],
)
async def test_a_relay_that_says_that_it_closes_is_passed_over_at_any_stage(
    verb, answer, first, second, tmp_path
):
    """Whatever it says before it has the content, the second takes the message at once."""
    first.answer(verb, answer)
    async with notifying(tmp_path, first, second) as service:
        sent = await ended(service, await submit_one(service))
    assert (sent.status, sent.attempts[-1].relay) == (Status.SENT, "second")
    assert sent.uncertain == 0
    assert (len(first.received), len(second.received)) == (0, 1)


async def test_a_reply_to_the_content_does_not_go_to_another_relay(first, second, tmp_path):
    """The first has seen the content: it is tried again there, and charged."""
    first.answer("DOT", "451 4.3.0 later", times=1)
    async with notifying(tmp_path, first, second) as service:
        sent = await ended(service, await submit_one(service))
    assert (sent.status, sent.tries, sent.uncertain) == (Status.SENT, 2, 0)
    assert (len(first.received), len(second.received)) == (1, 0)


@pytest.mark.parametrize("how", [CUT, FIN])
async def test_an_uncertain_attempt_does_not_go_to_the_next_relay(how, first, second, tmp_path):
    """Gone after the dot: uncertain, and never offered to the second by the same attempt."""
    first.answer("DOT", how, times=1)
    async with notifying(tmp_path, first, second) as service:
        message = email(on_uncertain=OnUncertain.HOLD)
        held = await ended(service, await submit_one(service, message))
    assert (held.status, held.uncertain) == (Status.HELD, 1)
    assert [attempt.relay for attempt in held.attempts] == ["first"]
    assert (len(first.received), len(second.received)) == (1, 0)
    assert not second.heard


async def test_message_refused_by_one_relay_is_offered_to_no_other(first, second, tmp_path):
    """A 550 is the answer, and a 450 is asked again of the same relay."""
    first.answer("RCPT", "550 5.1.1 nobody here", to="ann@example.org")
    first.answer("RCPT", "450 4.2.1 greylisted", to="bob@example.org", times=1)
    async with notifying(tmp_path, first, second) as service:
        failed, later = await submit(service, email(), email("bob@example.org"))
        assert (await ended(service, failed)).status is Status.FAILED
        sent = await ended(service, later)
    assert [attempt.relay for attempt in sent.attempts] == ["first", "first"]
    assert not second.received


async def test_recipients_that_the_first_has_taken_are_not_sent_by_the_second(
    first, second, tmp_path
):
    """One accepted, one put off: that one alone is tried again, also by another relay."""
    first.answer("RCPT", "450 4.2.1 greylisted", to="bob@example.org", times=1)
    async with notifying(tmp_path, first, second, retry_schedule=(3600.0,)) as service:
        id = await submit_one(service, email(cc=("bob@example.org",)))
        await until_status(service, id, Status.DEFERRED)
        await service.pause("first")
        await service.send_now(id)
        sent = await ended(service, id)
    assert sent.status is Status.SENT
    assert not sent.partial
    assert [recipients for _, recipients, _ in first.received] == [("ann@example.org",)]
    assert [recipients for _, recipients, _ in second.received] == [("bob@example.org",)]


async def test_recipient_accepted_by_one_relay_is_not_offered_to_another(first, second, tmp_path):
    """The first wants a login for Bob only: one copy each, nothing uncertain, both on record."""
    first.answer("RCPT", "530 5.7.0 log in first", to="bob@example.org")
    first.answer("DOT", "250 first has it")
    async with notifying(tmp_path, first, second) as service:
        sent = await ended(service, await submit_one(service, email(cc=("bob@example.org",))))
        assert {each.state for each in service.health().relays} == {"closed"}
    assert (sent.status, sent.uncertain, sent.tries, len(sent.attempts)) == (Status.SENT, 0, 1, 1)
    assert [each.reply for each in sent.recipients] == ["250 first has it", "250 2.0.0 taken"]
    assert [recipients for _, recipients, _ in first.received] == [("ann@example.org",)]
    assert [recipients for _, recipients, _ in second.received] == [("bob@example.org",)]


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("RCPT", "554 5.7.1 <ann@example.org>: Relay access denied"),
        ("RCPT", "550 Administrative prohibition"),
        ("DOT", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
        ("DOT", "554 5.2.252 SendAsDenied; us@example.org not allowed to send as us@example.org"),
    ],
)
async def test_settings_of_the_only_relay_lose_no_message(verb, answer, first, tmp_path):
    """It is put off, not charged, and the relay says why; once that is mended it leaves."""
    first.answer(verb, answer)
    async with notifying(tmp_path, first) as service:
        id = await submit_one(service)
        waiting = await until_status(service, id, Status.DEFERRED)
        (relay,) = service.health().relays
        assert relay.trouble.text == answer
        first.answer(verb, None)
        await service.resume("first")
        await hurried(service, id)
        sent = await ended(service, id)
    assert (waiting.tries, waiting.reason) == (0, answer)
    assert (sent.status, sent.tries, sent.uncertain) == (Status.SENT, 1, 0)
    assert len(first.received) == 1


async def test_message_too_large_for_one_relay_goes_to_the_next(first, second, tmp_path):
    """It is offered by both alike; too large for both, it fails with the limit of each."""
    first.features, second.features = ("SIZE 100",), ("SIZE 1000",)
    async with notifying(tmp_path, first, second) as service:
        fits, fails = await submit(service, email(), email(text="x" * 500 + "\n" + "y" * 500))
        sent, failed = await ended(service, fits), await ended(service, fails)
    assert (sent.status, sent.attempts[-1].relay) == (Status.SENT, "second")
    assert failed.status is Status.FAILED
    assert "first: the message has" in failed.reason
    assert "second: the message has" in failed.reason


async def test_the_first_is_used_again_as_soon_as_it_works(first, second, tmp_path):
    """While it rests the second takes all; once it is let in again it gets the next."""
    first.answer("GREETING", "421 4.3.2 not now")
    async with notifying(tmp_path, first, second) as service:
        for id in await submit(service, *[email(subject=f"m{n}") for n in range(8)]):
            assert (await ended(service, id)).status is Status.SENT
        states = {each.name: each.state for each in service.health().relays}
        assert states == {"first": "open", "second": "closed"}
        connections = len(first.connections)
        for id in await submit(service, *[email(subject=f"n{n}") for n in range(8)]):
            await ended(service, id)
        assert len(first.connections) == connections  # it is left alone
        first.answer("GREETING", None)
        await service.resume("first")
        sent = await ended(service, await submit_one(service, email(subject="back")))
        assert sent.attempts[-1].relay == "first"
        assert {each.state for each in service.health().relays} == {"closed"}
    assert subjects(first) == ["back"]
    assert len(second.received) == 16


async def test_with_all_relays_down_messages_wait_uncharged(first, second, tmp_path):
    """202 is still given, nothing fails, and all leave once one of them works."""
    for relay in (first, second):
        relay.answer("GREETING", "421 4.3.2 not now")
    async with notifying(tmp_path, first, second) as service:
        ids = await submit(service, *[email(subject=f"m{n}") for n in range(12)])
        await until(lambda: {each.state for each in service.health().relays} == {"open"})
        ids += await submit(service, email(subject="late"))
        assert service.health().ready
        second.answer("GREETING", None)
        await service.resume("second")
        for id in ids:
            await hurried(service, id)
        found = [await ended(service, id) for id in ids]
    assert {each.status for each in found} == {Status.SENT}
    assert {each.tries for each in found} == {1}
    assert {each.uncertain for each in found} == {0}
    assert len(second.received) == 13
    assert found[-1].finished_at < now()


async def hurried(service, id):
    """It is sent now, unless a worker has it already."""
    with contextlib.suppress(WrongState):
        await service.send_now(id)
