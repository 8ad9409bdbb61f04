"""Text messages through the whole service: by a carrier's gateway, and by a provider over HTTP."""

import contextlib
import email
import email.policy
import json
import re

import pytest

from notifier.deliveries import Status
from notifier.errors import InvalidMessage, WrongState
from notifier.messages import Long, Sms
from notifier.recipients import RecipientStatus
from tests.provider import ACCEPTED, BROKEN, INVALID, TOO_MANY, Site
from tests.relay import CUT, ScriptedRelay
from tests.service import ended, notifying, submit_one, until_status
from tests.waiting import until

SENDER = "alerts@example.org"
NUMBER = "+12025550123"
LONG_TEXT = "The river rises. " * 24  # three texts
CARRIERS = """
[ours]
names = ["Ours"]
sms = "sms.example.org"
status = "active"
source = "ourselves"

[fading]
names = ["Fading"]
sms = "fading.example.org"
status = "sunset"
effective = 2999-01-01
source = "their page"

[gone]
names = ["Gone"]
sms = "gone.example.org"
status = "dead"
effective = 2025-06-17
source = "their page"
"""


@pytest.fixture
async def relay():
    async with ScriptedRelay() as relay:
        yield relay


@contextlib.asynccontextmanager
async def texting(folder, relay, **changes):
    carriers = folder / "carriers.toml"
    carriers.write_text(CARRIERS)
    given = {"carriers": str(carriers), "sms_from": SENDER, "default_from": "other@example.org"}
    async with notifying(folder, relay, **(given | changes)) as service:
        yield service


def sms(text="Doors open at 8.", **changes):
    return Sms(**({"to": NUMBER, "carrier": "Ours", "text": text} | changes))


def mails(relay):
    return [
        email.message_from_bytes(raw, policy=email.policy.default) for *_, raw in relay.received
    ]


# --- by a gateway -------------------------------------------------------------------------------


async def test_a_text_leaves_as_one_plain_mail_to_the_gateway(relay, tmp_path):
    """From NOTIFIER_SMS_FROM, 7bit, without HTML and subject; handed over, never delivered."""
    async with texting(tmp_path, relay) as service:
        sent = await ended(service, await submit_one(service, sms()))
    assert (sent.status, sent.channel, sent.handed_to) == (Status.SENT, "sms", "gateway")
    ((sender, recipients, raw),) = relay.received
    assert (sender, recipients) == (SENDER, ("2025550123@sms.example.org",))
    (mail,) = mails(relay)
    assert mail["From"] == SENDER
    assert not mail["Subject"]
    assert mail.get_content_type() == "text/plain"
    assert mail.get("Content-Transfer-Encoding", "7bit") == "7bit"
    assert mail.get_content().strip() == "Doors open at 8."
    assert b"<" not in raw.partition(b"\r\n\r\n")[2]
    assert any("1 segment(s) in " in warning for warning in sent.warnings)


async def test_a_long_text_leaves_in_parts_in_order_under_one_id(relay, tmp_path):
    """Each a mail with a Message-ID of its own, and its place in the text."""
    async with texting(tmp_path, relay) as service:
        sent = await ended(service, await submit_one(service, sms(LONG_TEXT)))
    assert sent.status is Status.SENT
    assert len(sent.attempts) == 1
    parts = mails(relay)
    total = len(parts)
    assert total >= 3
    assert [place_of(part) for part in parts] == [(n, total) for n in range(1, total + 1)]
    assert len({part["Message-ID"] for part in parts}) == total
    assert len(sent.recipients) == total
    said = " ".join(re.sub(r"\(\d/\d\)", "", part.get_content()).strip() for part in parts)
    assert said.split() == LONG_TEXT.split()


def place_of(mail):
    found = re.search(r"\((\d)/(\d)\)", mail.get_content())
    return int(found[1]), int(found[2])


async def test_parts_of_two_texts_to_one_number_each_stay_in_order(relay, tmp_path):
    """With many workers, of one message no later part overtakes an earlier one."""
    async with texting(tmp_path, relay, workers=8) as service:
        ids = [await submit_one(service, sms(f"{n} {LONG_TEXT}")) for n in range(5)]
        for id in ids:
            await ended(service, id)
    by_message = {}
    for mail in mails(relay):
        by_message.setdefault(mail["Message-ID"].split("-")[0], []).append(place_of(mail)[0])
    assert len(by_message) == 5
    assert all(places == sorted(places) for places in by_message.values())


async def test_a_final_refusal_of_one_part_ends_the_text(relay, tmp_path):
    """550 to the second of three: the first is out, the others never leave, and it is partial."""
    relay.answer("RCPT", "550 5.1.1 no such subscriber", after=1)
    async with texting(tmp_path, relay) as service:
        sent = await ended(service, await submit_one(service, sms(LONG_TEXT)))
    assert sent.status is Status.SENT
    assert sent.partial
    assert [each.status for each in sent.recipients] == [
        RecipientStatus.ACCEPTED,
        *[RecipientStatus.REFUSED] * (len(sent.recipients) - 1),
    ]
    assert len(relay.received) == 1
    assert relay.verbs().count("RCPT") == 2


async def test_a_number_that_the_gateway_refuses_fails(relay, tmp_path):
    """550 at once: failed, with the gateway's words, and no second try."""
    relay.answer("RCPT", "550 5.1.1 no such subscriber")
    async with texting(tmp_path, relay) as service:
        failed = await ended(service, await submit_one(service, sms(LONG_TEXT)))
    assert (failed.status, failed.tries) == (Status.FAILED, 1)
    assert failed.reason == "550 5.1.1 no such subscriber"
    assert relay.verbs().count("RCPT") == 1


async def test_after_an_uncertain_part_nothing_that_is_accepted_is_sent_again(relay, tmp_path):
    """The doubtful part comes twice with the same bytes, those before it once, then the rest."""
    relay.answer("DOT", CUT, after=1, times=1)
    async with texting(tmp_path, relay) as service:
        sent = await ended(service, await submit_one(service, sms(LONG_TEXT)))
    assert (sent.status, sent.uncertain) == (Status.SENT, 1)
    places = [place_of(mail)[0] for mail in mails(relay)]
    assert places == [1, 2, *range(2, len(sent.recipients) + 1)]
    assert relay.received[1] == relay.received[2]


async def test_a_part_that_is_put_off_holds_up_those_behind_it(relay, tmp_path):
    """451 to the second part: the third waits for it, and the first is not sent again."""
    relay.answer("DOT", "451 4.3.0 later", after=1, times=1)
    async with texting(tmp_path, relay) as service:
        sent = await ended(service, await submit_one(service, sms(LONG_TEXT)))
    assert sent.status is Status.SENT
    places = [place_of(mail)[0] for mail in mails(relay)]
    assert places == list(range(1, len(sent.recipients) + 1))


@pytest.mark.parametrize(
    ("message", "pointer", "words"),
    [
        (sms(LONG_TEXT, long=Long.REFUSE), "/text", ""),
        (sms(carrier="Gone"), "/carrier", "since 2025-06-17"),
        (sms(carrier="AT&T"), "/carrier", "dead"),
        (sms(carrier="Nobody"), "/carrier", "no carrier"),
        (sms(carrier=None), "/carrier", "NOTIFIER_SMS_PROVIDER"),
        (sms(to="12"), "/to", ""),
    ],
)
async def test_message_that_cannot_be_sent_is_rejected_on_submission(
    message, pointer, words, relay, tmp_path
):
    """With the field named, and nothing kept."""
    async with texting(tmp_path, relay) as service:
        with pytest.raises(InvalidMessage) as caught:
            await service.submit([message])
        backlog = await service.journal.backlog()
    (fault,) = caught.value.faults
    assert fault.pointer == pointer
    assert words in fault.message
    assert not sum(backlog.counts.values())


async def test_a_gateway_that_is_being_shut_down_still_takes_texts_with_a_warning(relay, tmp_path):
    """The text is sent, and the warning has the date from which the gateway is closed."""
    async with texting(tmp_path, relay) as service:
        sent = await ended(service, await submit_one(service, sms(carrier="fading")))
    assert sent.status is Status.SENT
    assert any("2999-01-01" in warning for warning in sent.warnings)


async def test_without_a_sender_of_texts_the_default_one_is_used(relay, tmp_path):
    """NOTIFIER_DEFAULT_FROM stands in for NOTIFIER_SMS_FROM."""
    async with texting(tmp_path, relay, sms_from=None) as service:
        await ended(service, await submit_one(service, sms()))
    assert relay.received[0][0] == "other@example.org"


async def test_a_text_from_a_template(relay, tmp_path):
    """Its txt part is the text."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "code.txt").write_text("Your code is {{ code }}.")
    async with texting(tmp_path, relay, templates=str(folder)) as service:
        message = Sms(to=NUMBER, carrier="Ours", template="code", data={"code": 1234})
        await ended(service, await submit_one(service, message))
    assert mails(relay)[0].get_content().strip() == "Your code is 1234."


# --- by a provider ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def providing(folder, relay, *answers, fields=None, **changes):
    async with Site(*answers, fields=fields) as site:
        url = f"twilio://AC0123456789:secret-token@127.0.0.1:{site.port}?from=+15005550006"
        async with texting(folder, relay, **({"sms_provider": url} | changes)) as service:
            yield site, service


async def test_a_provider_gets_the_text_and_no_relay_does(relay, tmp_path):
    """201: sent, handed to the provider, whose id is the reply; no carrier is needed."""
    async with providing(tmp_path, relay, ACCEPTED) as (site, service):
        sent = await ended(service, await submit_one(service, sms(carrier=None)))
    assert (sent.status, sent.handed_to) == (Status.SENT, "provider")
    assert sent.recipients[0].address == NUMBER
    assert sent.attempts[0].reply == "SM0123456789abcdef"
    assert len(site.requests) == 1
    assert not relay.connections


async def test_a_number_that_the_provider_refuses_fails(relay, tmp_path):
    """400 with the provider's code: failed at once, in its words."""
    async with providing(tmp_path, relay, INVALID) as (site, service):
        failed = await ended(service, await submit_one(service, sms(carrier=None)))
    assert (failed.status, failed.tries) == (Status.FAILED, 1)
    assert "21211" in failed.reason
    assert len(site.requests) == 1


async def test_a_provider_that_is_too_busy_is_left_alone_as_long_as_it_asks(relay, tmp_path):
    """429 with Retry-After: uncharged, nobody else's text is offered; on a person's word it is."""
    answers = providing(tmp_path, relay, TOO_MANY, ACCEPTED, fields={"Retry-After": 30})
    async with answers as (site, service):
        id = await submit_one(service, sms(carrier=None))
        await until_status(service, id, Status.DEFERRED)
        (state,) = service.transports.provider.states()
        assert state.state == "open"
        other = await submit_one(service, sms("other", carrier=None))
        await service.resume("twilio")
        await service.send_now(id)
        for each in (id, other):
            sent = await ended(service, each)
            assert (sent.status, sent.tries, sent.uncertain) == (Status.SENT, 1, 0)
    assert len(site.requests) == 3


async def test_a_provider_that_breaks_may_have_sent_the_text(relay, tmp_path):
    """500: uncertain, tried again by the schedule and flagged."""
    async with providing(tmp_path, relay, BROKEN, ACCEPTED) as (site, service):
        sent = await ended(service, await submit_one(service, sms(carrier=None)))
    assert (sent.status, sent.uncertain) == (Status.SENT, 1)
    assert [attempt.uncertain for attempt in sent.attempts] == [True, False]
    assert len(site.requests) == 2


async def test_a_provider_that_hangs_up_after_the_request_may_have_sent_it(relay, tmp_path):
    """No answer at all is as uncertain as a broken one."""
    async with providing(tmp_path, relay, CUT, ACCEPTED) as (_, service):
        sent = await ended(service, await submit_one(service, sms(carrier=None)))
    assert (sent.status, sent.uncertain) == (Status.SENT, 1)


async def test_a_provider_that_knows_a_repeated_request_makes_nothing_uncertain(relay, tmp_path):
    """With an idempotency header a 500 is asked again under the same key."""
    async with Site(BROKEN, ACCEPTED) as site:
        settings = {
            "sms_provider": f"http://127.0.0.1:{site.port}/send",
            "sms_provider_idempotency_header": "Idempotency-Key",
        }
        async with texting(tmp_path, relay, **settings) as service:
            id = await submit_one(service, sms("Hi", carrier=None))
            await until_status(service, id, Status.DEFERRED, Status.SENT)
            with contextlib.suppress(WrongState):  # it may be under way again
                await service.send_now(id)
            sent = await ended(service, id)
    assert (sent.status, sent.uncertain) == (Status.SENT, 0)
    keys = [headers["idempotency-key"] for _, headers, _ in site.requests]
    assert keys == [id, id]
    assert json.loads(site.requests[0][2])["to"] == NUMBER


async def test_a_paused_provider_is_paused_also_after_a_restart(relay, tmp_path):
    """Under its name, like a relay; texts wait, mail goes on."""
    async with Site(ACCEPTED) as site:
        url = f"twilio://AC0123456789:secret-token@127.0.0.1:{site.port}?from=+15005550006"
        async with texting(tmp_path, relay, sms_provider=url) as service:
            await service.pause("twilio")
        async with texting(tmp_path, relay, sms_provider=url) as service:
            id = await submit_one(service, sms(carrier=None))
            await ended(service, await submit_one(service))
            assert not site.requests
            await service.resume("twilio")
            assert (await ended(service, id)).status is Status.SENT
    assert len(site.requests) == 1


async def test_texts_that_wait_for_a_provider_that_is_gone_can_still_be_called_off(relay, tmp_path):
    """Started anew without the provider, the service keeps them and obeys; nothing breaks."""
    async with providing(tmp_path, relay, ACCEPTED) as (site, service):
        await service.pause()
        ids = [await submit_one(service, sms(carrier=None)) for _ in range(3)]
    async with texting(tmp_path, relay) as service:
        await service.resume()
        assert (await service.send_now(ids[0])).status is Status.QUEUED
        assert (await service.cancel(ids[1])).status is Status.CANCELLED
        await ended(service, await submit_one(service))
        assert (await service.journal.get(ids[0])).status is Status.QUEUED
    assert not site.requests
    async with providing(tmp_path, relay, ACCEPTED) as (site, service):
        assert (await ended(service, ids[0])).status is Status.SENT
        assert (await ended(service, ids[2])).status is Status.SENT
        await until(lambda: len(site.requests) == 2)
