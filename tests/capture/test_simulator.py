"""The recipients that make up outcomes, through the whole service: nothing leaves it."""

import asyncio

import pytest

from notifier.capture import Simulator
from notifier.deliveries import OnUncertain, Priority, Status
from notifier.errors import InvalidMessage
from notifier.recipients import RecipientStatus
from tests.relay import ScriptedRelay
from tests.service import email, ended, notifying, submit, submit_one, until_status


@pytest.fixture
async def relay():
    """The configured relay, which none of these may ever hear of."""
    async with ScriptedRelay() as relay:
        yield relay
        assert not relay.connections


@pytest.fixture
async def service(relay, tmp_path):
    async with notifying(tmp_path, relay) as service:
        yield service


async def play(service, part, **changes):
    return await ended(
        service, await submit_one(service, email(f"{part}@simulator.notifier", **changes))
    )


@pytest.mark.parametrize("recipient", ["success", "success+order-17", "SUCCESS"])
async def test_success(recipient, service):
    """Sent at the first try, and to be read in the mailbox."""
    sent = await play(service, recipient)
    assert (sent.status, sent.tries, sent.uncertain) == (Status.SENT, 1, 0)
    assert sent.attempts[0].relay == "simulator"
    assert sent.attempts[0].code == 250


@pytest.mark.parametrize("recipient", ["temp-fail", "temp-fail+7"])
async def test_temp_fail_is_deferred_and_then_sent(recipient, service):
    """451, and after the retry schedule 250, both on record."""
    sent = await play(service, recipient)
    assert sent.status is Status.SENT
    assert [attempt.code for attempt in sent.attempts] == [451, 250]
    assert sent.tries == 2
    waited = sent.attempts[1].started_at - sent.attempts[0].started_at
    assert waited.total_seconds() >= 0.04


async def test_temp_fail_waits_as_the_schedule_says(relay, tmp_path):
    """Between its two tries it is `deferred`, with the reason."""
    async with notifying(tmp_path, relay, retry_schedule=(3600.0,)) as service:
        id = await submit_one(service, email("temp-fail@simulator.notifier"))
        deferred = await until_status(service, id, Status.DEFERRED)
        assert "451" in deferred.reason
        await service.send_now(id)
        assert (await ended(service, id)).status is Status.SENT


async def test_perm_fail_fails_with_550(service):
    """At once, with the words of the refusal at the recipient."""
    failed = await play(service, "perm-fail+x")
    assert (failed.status, failed.tries) == (Status.FAILED, 1)
    (recipient,) = failed.recipients
    assert (recipient.status, recipient.code) == (RecipientStatus.REFUSED, 550)
    assert failed.reason.startswith("550 5.1.1 simulated")


async def test_drop_after_dot_is_uncertain_once_and_then_sent(service):
    """The caller sees `uncertain: 1`; with `on_uncertain: hold` it is held instead."""
    sent = await play(service, "drop-after-dot+1")
    assert (sent.status, sent.uncertain) == (Status.SENT, 1)
    assert [attempt.uncertain for attempt in sent.attempts] == [True, False]
    held = await play(service, "drop-after-dot+2", on_uncertain=OnUncertain.HOLD)
    assert (held.status, held.uncertain) == (Status.HELD, 1)


def slow_by(monkeypatch, seconds):
    monkeypatch.setattr(
        "notifier.dispatch.transports.Simulator", lambda mailbox: Simulator(mailbox, slow=seconds)
    )


async def test_slow_is_answered_late(relay, tmp_path, monkeypatch):
    """It is sent once the simulator has taken its time."""
    slow_by(monkeypatch, 0.5)
    async with notifying(tmp_path, relay) as service:
        sent = await play(service, "slow")
    assert sent.status is Status.SENT
    assert sent.attempts[0].seconds >= 0.5


async def test_others_are_sent_while_slow_is_waited_for(relay, tmp_path, monkeypatch):
    """It is `sending` for as long as the simulator takes; nobody waits for it."""
    slow_by(monkeypatch, 3600.0)
    async with notifying(tmp_path, relay, workers=2, grace=0.1) as service:
        slow = await submit_one(service, email("slow@simulator.notifier"))
        await until_status(service, slow, Status.SENDING)
        assert (await play(service, "success")).status is Status.SENT
        assert (await service.journal.get(slow)).status is Status.SENDING


async def test_a_part_that_there_is_not_is_refused(service):
    """550, naming those that there are."""
    failed = await play(service, "nonsense")
    assert failed.status is Status.FAILED
    assert "drop-after-dot@simulator.notifier" in failed.reason


@pytest.mark.parametrize("where", ["to", "cc", "bcc"])
async def test_simulated_and_real_recipients_do_not_mix(where, service):
    """Refused with the field named: some would get it and others only seem to."""
    simulated, real = "success@simulator.notifier", "ann@example.org"
    message = email(simulated, real) if where == "to" else email(simulated, **{where: (real,)})
    with pytest.raises(InvalidMessage) as caught:
        await service.submit([message])
    (fault,) = caught.value.faults
    assert fault.pointer == "/to"
    assert simulated in fault.message


async def test_several_parts_in_one_message(service):
    """Who is refused is refused, the others have it: partly sent."""
    message = email("success@simulator.notifier", "perm-fail@simulator.notifier")
    sent = await ended(service, await submit_one(service, message))
    assert sent.status is Status.SENT
    assert sent.partial
    assert [each.status for each in sent.recipients] == [
        RecipientStatus.ACCEPTED,
        RecipientStatus.REFUSED,
    ]


async def test_the_simulator_works_while_the_relay_does_not(tmp_path):
    """Its outcomes say nothing of a configured relay, nor that one's of it."""
    async with ScriptedRelay() as relay:
        relay.answer("GREETING", "421 4.3.2 not now")
        async with notifying(tmp_path, relay) as service:
            await submit(service, *[email()] * 4)
            ids = await submit(
                service,
                *[email(f"success+{n}@simulator.notifier", priority="bulk") for n in range(30)],
            )
            found = await asyncio.gather(*(ended(service, id) for id in ids))
        assert {each.status for each in found} == {Status.SENT}
        assert {each.priority for each in found} == {Priority.BULK}
