"""The dispatcher: claims, workers, stopping; over a real journal and a transport of a few lines."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from msgspec.structs import replace

from notifier.attempts import Failure, Scope, Stage
from notifier.clock import utc_now
from notifier.deliveries import Priority, Route, Status
from notifier.dispatch.shares import LARGE_AT_ONCE
from notifier.errors import JournalUnavailable, Rejected
from notifier.journal import Entry
from notifier.journal.fairness import AHEAD_BYTES
from notifier.journal.postgres import PostgresJournal
from notifier.retries import RetryPolicy
from notifier.supervisor import Supervisor
from tests.dispatching import Transport, attempt, dispatching, entry
from tests.replica_journals import LEASE, opened, silence
from tests.waiting import LIMIT, until


@pytest.fixture(autouse=True)
def unpolled(monkeypatch):
    """What is to leave leaves because somebody is told of it, not because they look at times."""
    monkeypatch.setattr("notifier.dispatch.dispatcher.POLL_SECONDS", 3600.0)


async def looked(dispatcher, journal, route=Route.RELAY):
    """Wait until a route has looked for what is due, and has claimed it if it was to."""
    share = dispatcher._shares.by_queue[route]
    dispatcher.wake([route])
    async with asyncio.timeout(LIMIT):
        while share.stir.is_set():
            await asyncio.sleep(0)
    await claims_are_done(journal)


async def claims_are_done(journal):
    """Wait until the journal has done what was asked of it: it does one thing after the other."""
    for _ in range(3):
        await journal.put("looked", "yes")


def all_are(journal, status, count):
    async def holds():
        return (await journal.backlog()).counts.get(status, 0) == count

    return holds


def busy_with(transport, count):
    async def holds():
        return transport.busy == count

    return holds


async def test_delivers_what_is_in_the_journal(journal):
    """All that was added before and after the start is sent once, with its content."""
    await journal.add([entry(n) for n in range(20)])
    transport = Transport()
    async with dispatching(journal, transport) as dispatcher:
        await journal.add([entry(n) for n in range(20, 40)])
        dispatcher.wake([Route.RELAY])
        await until(all_are(journal, Status.SENT, 40))
    assert len(transport.sent) == 40
    assert transport.most <= 4
    assert {content for _, content in transport.sent} == {entry(0).content}


async def test_every_worker_has_something_to_do_while_something_is_due(journal):
    """Workers that empty the window have it filled again, before any of them is done."""
    transport = Transport()
    transport.gate.clear()
    await journal.add([entry(n) for n in range(40)])
    async with dispatching(journal, transport, workers=12, window=8):
        await until(busy_with(transport, 12))
        transport.gate.set()
        await until(all_are(journal, Status.SENT, 40))


async def test_a_clock_set_forward_is_noticed(journal, monkeypatch):
    """What was due in an hour leaves soon after the clock was set forward."""
    monkeypatch.setattr("notifier.dispatch.dispatcher.POLL_SECONDS", 0.05)
    set_forward = timedelta()
    await journal.add([entry(1, due_at=datetime.now(UTC) + timedelta(minutes=30))])
    transport = Transport()

    def clock():
        return datetime.now(UTC) + set_forward

    async with dispatching(journal, transport, clock=clock) as dispatcher:
        await looked(dispatcher, journal)
        set_forward = timedelta(minutes=31)
        await until(all_are(journal, Status.SENT, 1))


async def test_large_content_is_read_late(journal):
    """Content too large to be claimed with its delivery reaches the transport all the same."""
    large = replace(entry(1), content=b"x" * 500_000)
    await journal.add([large])
    transport = Transport()
    async with dispatching(journal, transport):
        await until(all_are(journal, Status.SENT, 1))
    assert transport.sent[0][1] == large.content


async def test_tries_again_as_the_policy_says(journal):
    """A deferred recipient is tried until it is taken, and each attempt is kept."""
    transport = Transport()
    answers = iter([451, 451])

    def answer(envelope):
        code = next(answers, None)
        if code is None:
            return attempt(*envelope.recipients)
        no = Failure(scope=Scope.MESSAGE, permanent=False, stage=Stage.MAIL, reply="451", code=code)
        return attempt(failures=dict.fromkeys(envelope.recipients, no))

    transport.answer = answer
    await journal.add([entry(1)])
    async with dispatching(journal, transport):
        await until(all_are(journal, Status.SENT, 1))
    sent = await journal.get("d1")
    assert len(sent.attempts) == 3
    assert sent.tries == 3


async def test_claims_nothing_while_the_transport_rests(journal):
    """A backlog stays queued, unmarked, as long as no relay is fit; then it goes."""
    transport = Transport(places=0)
    await journal.add([entry(n) for n in range(5)])
    async with dispatching(journal, transport):
        await transport.waited_for.wait()
        await journal.put("looked", "yes")  # a claim that was asked for before is done
        assert (await journal.backlog()).counts[Status.QUEUED] == 5
        transport.open(4)
        await until(all_are(journal, Status.SENT, 5))


async def test_probes_with_one_message(journal):
    """A transport with one place gets one message at a time, and no more is claimed."""
    transport = Transport(places=1)
    transport.gate.clear()
    await journal.add([entry(n) for n in range(5)])
    async with dispatching(journal, transport) as dispatcher:
        await until(all_are(journal, Status.SENDING, 1))
        await looked(dispatcher, journal)
        assert (await journal.backlog()).counts[Status.SENDING] == 1
        transport.gate.set()
        await until(all_are(journal, Status.SENT, 5))


async def test_pausing_stops_claims_and_not_what_is_under_way(journal):
    """While paused no message is claimed, sends under way finish, and resuming goes on."""
    transport = Transport()
    async with dispatching(journal, transport) as dispatcher:
        await looked(dispatcher, journal)
        dispatcher.pause()
        await journal.add([entry(1)])  # which wakes the route
        await claims_are_done(journal)
        assert (await journal.get("d1")).status is Status.QUEUED
        dispatcher.resume()
        await until(all_are(journal, Status.SENT, 1))


async def test_bulk_never_takes_the_last_worker(journal):
    """With the workers full of bulk that hangs, an urgent message still leaves at once."""
    transport = Transport()
    bulk_sent, urgent_sent = [], []

    async def send(envelope, content):
        if content == b"bulk":
            bulk_sent.append(envelope)
            await transport.gate.wait()
        else:
            urgent_sent.append(envelope)
        return attempt(*envelope.recipients)

    transport.send = send
    transport.gate.clear()
    slow = [replace(entry(n, priority=Priority.BULK), content=b"bulk") for n in range(30)]
    await journal.add(slow)

    async def bulk_is_stuck():
        return len(bulk_sent) == 3

    async def urgent_has_left():
        return bool(urgent_sent)

    async with dispatching(journal, transport) as dispatcher:
        await until(bulk_is_stuck)
        await looked(dispatcher, journal)
        assert (await journal.backlog()).counts[Status.SENDING] == 3  # nor is more claimed
        await journal.add([entry(99, priority=Priority.URGENT)])
        dispatcher.wake([Route.RELAY])
        await until(urgent_has_left)
        assert len(bulk_sent) == 3
        transport.gate.set()
        await until(all_are(journal, Status.SENT, 31))


async def test_a_single_worker_sends_bulk_too(journal):
    """It is the last worker, and there is nobody else to send it."""
    await journal.add([entry(n, priority=Priority.BULK) for n in range(3)])
    async with dispatching(journal, Transport(), workers=1):
        await until(all_are(journal, Status.SENT, 3))


async def test_stopping_gives_back_what_was_claimed_ahead(journal):
    """F07: what a worker had begun is finished, what waited in the window is queued again."""
    transport = Transport()
    transport.gate.clear()
    await journal.add([entry(n) for n in range(20)])

    async def busy():
        return transport.busy == 4

    async with dispatching(journal, transport) as dispatcher:
        await until(busy)
        stopping = asyncio.create_task(dispatcher.stop(grace=LIMIT))
        await until(all_are(journal, Status.SENDING, 4))
        transport.gate.set()
        await stopping
    counts = (await journal.backlog()).counts
    assert counts[Status.SENT] == 4
    assert counts[Status.QUEUED] == 16
    assert counts.get(Status.SENDING, 0) == 0


async def test_a_stop_gives_the_window_back_in_one_go_beside_what_is_under_way(journal):
    """The journal gets it all at once, and so writes it together; nobody waits for it first."""
    transport = Transport()
    transport.gate.clear()
    await journal.add([entry(n) for n in range(20)])
    record, given_back, all_are_there = journal.record, [], asyncio.Event()

    async def together(settled):
        if settled.status is Status.QUEUED:
            given_back.append(settled)
            if len(given_back) == ahead:
                all_are_there.set()
            await all_are_there.wait()
        return await record(settled)

    journal.record = together
    async with dispatching(journal, transport, workers=4, window=8) as dispatcher:
        share = dispatcher._shares.by_queue[Route.RELAY]
        await until(lambda: transport.busy == 4 and share.full)
        ahead = share.ahead
        assert ahead > 4
        stopping = asyncio.create_task(dispatcher.stop(grace=LIMIT))
        await asyncio.wait_for(all_are_there.wait(), LIMIT)
        assert transport.busy == 4
        transport.gate.set()
        await stopping
    counts = (await journal.backlog()).counts
    assert (counts[Status.SENT], counts[Status.QUEUED]) == (4, 16)


async def test_past_the_grace_the_outcome_is_still_recorded(journal):
    """F08: a send cut off at the dot is on record as uncertain when the stop returns."""
    transport = Transport()
    transport.gate.clear()
    await journal.add([entry(1)])

    async def busy():
        return transport.busy == 1

    async with dispatching(journal, transport, grace=0.05):
        await until(busy)
    cut_off = await journal.get("d1")
    assert cut_off.status is Status.DEFERRED
    assert cut_off.uncertain == 1


async def test_an_expired_message_is_not_sent(journal):
    """F48: an expired message ends visibly, even if no relay could be asked."""
    transport = Transport(places=0)
    now = datetime.now(UTC)
    await journal.add([entry(1, expires_at=now + timedelta(milliseconds=50))])
    async with dispatching(journal, transport):
        await until(all_are(journal, Status.EXPIRED, 1))
        transport.open(4)
    assert not transport.sent
    assert (await journal.get("d1")).reason.startswith("expired")


async def test_a_fault_of_ours_holds_the_message_and_spares_the_worker(journal):
    """An exception in sending is nobody's silent loss: held, and the next message goes."""
    transport = Transport()
    good = transport.send

    async def send(envelope, content):
        if content == b"poison":
            raise ZeroDivisionError
        return await good(envelope, content)

    transport.send = send
    await journal.add([replace(entry(1), content=b"poison"), entry(2)])
    async with dispatching(journal, transport, workers=1):
        await until(all_are(journal, Status.SENT, 1))
        await until(all_are(journal, Status.HELD, 1))
    assert "ZeroDivisionError" in (await journal.get("d1")).reason


async def test_a_fault_of_ours_after_the_record_spares_the_worker_too(journal):
    """A listener of attempts may raise: the fault is logged, and the only worker goes on."""

    def attempted(delivery, attempt):
        raise ZeroDivisionError

    await journal.add([entry(n) for n in range(3)])
    async with dispatching(journal, Transport(), workers=1, attempted=[attempted]):
        await until(all_are(journal, Status.SENT, 3))


async def test_of_large_messages_only_so_many_are_in_memory(journal):
    """Those that are too many have not been begun when we stop; small ones pass them."""
    large = b"Subject: x\r\n\r\n" + b"x" * AHEAD_BYTES + b"\r\n"
    transport = Transport(places=32)
    transport.gate.clear()
    async with dispatching(journal, transport, workers=16, window=32, grace=0.05) as dispatcher:
        await journal.add([Entry(entry(n).delivery, large) for n in range(12)])
        await journal.add([entry("small")])
        dispatcher.wake([Route.RELAY])
        await until(busy_with(transport, LARGE_AT_ONCE + 1))
    assert transport.most == LARGE_AT_ONCE + 1
    left = (await journal.backlog()).counts
    assert left[Status.QUEUED] == 12 - LARGE_AT_ONCE


async def test_nothing_more_is_sent_until_the_outcome_is_on_disk(journal, monkeypatch):
    """F13: a record that fails is tried until it is written, by a worker that waits for it."""
    monkeypatch.setattr("notifier.dispatch.sending.JOURNAL_SECONDS", 0.02)
    transport = Transport()
    record, failures = journal.record, iter(range(3))

    async def failing(settled):
        if next(failures, None) is not None:
            assert len(transport.sent) == 1
            raise JournalUnavailable("disk full")
        return await record(settled)

    journal.record = failing
    await journal.add([entry(1), entry(2)])
    async with dispatching(journal, transport, workers=1):
        await until(all_are(journal, Status.SENT, 2))
    assert len(transport.sent) == 2


async def test_an_idle_worker_sends_nothing_while_a_record_fails(journal, monkeypatch):
    """F13: other workers wait until the first outcome is on disk."""
    monkeypatch.setattr("notifier.dispatch.sending.JOURNAL_SECONDS", 0.02)
    transport, failing = Transport(), asyncio.Event()
    record, tried = journal.record, []

    async def sometimes(settled):
        if settled.status is Status.SENT and not failing.is_set():
            tried.append(settled.id)
            raise JournalUnavailable("disk full")
        return await record(settled)

    journal.record = sometimes
    await journal.add([entry(1)])
    async with dispatching(journal, transport, workers=4) as dispatcher:
        await until(lambda: len(tried) > 1)
        await journal.add([entry(2), entry(3)])
        dispatcher.wake([Route.RELAY])
        await until(lambda: sum(each is not None for each in dispatcher.doing) == 3)
        more = len(tried) + 2
        await until(lambda: len(tried) >= more)  # they would have been sent by now
        assert len(transport.sent) == 1
        assert set(tried) == {"d1"}
        failing.set()
        await until(all_are(journal, Status.SENT, 3))
    assert len(transport.sent) == 3


async def test_message_that_expires_in_the_window_is_not_sent(journal):
    """Claimed in time, and too old when its worker is free: it ends visibly, unsent."""
    transport, now = Transport(), datetime.now(UTC)
    shift = timedelta()
    transport.gate.clear()
    await journal.add([entry(1), entry(2, expires_at=now + timedelta(minutes=5))])
    async with dispatching(journal, transport, workers=1, clock=lambda: datetime.now(UTC) + shift):
        await until(all_are(journal, Status.SENDING, 2))
        shift = timedelta(minutes=6)
        transport.gate.set()
        await until(all_are(journal, Status.EXPIRED, 1))
    assert len(transport.sent) == 1
    assert (await journal.get("d2")).reason.startswith("expired")


async def test_each_retry_takes_the_next_step_of_the_schedule(journal):
    """The first waits for the first step, the second for the second."""
    transport = Transport()
    no = Failure(scope=Scope.MESSAGE, permanent=False, stage=Stage.MAIL, reply="451", code=451)
    transport.answer = lambda envelope: attempt(failures=dict.fromkeys(envelope.recipients, no))
    retry = RetryPolicy(schedule=(0.05, 1000.0), spread=0.0)
    await journal.add([entry(1)])
    async with dispatching(journal, transport, retry=retry):

        async def has_failed_twice():
            return (await journal.get("d1")).tries == 2

        await until(has_failed_twice)
    deferred = await journal.get("d1")
    waits = (deferred.due_at - deferred.attempts[-1].started_at).total_seconds()
    assert 990 < waits < 1010


async def test_a_failure_of_the_relay_waits_by_its_own_backoff_and_not_by_the_schedule(journal):
    """
    A relay's failure does not count as an attempt; the message is tried again soon, each time a
    little later.
    """
    transport = Transport()
    down = Failure(scope=Scope.RELAY, permanent=False, stage=Stage.CONNECT, reply="refused")
    transport.answer = lambda envelope: attempt(failures=dict.fromkeys(envelope.recipients, down))
    clock = datetime.now(UTC)
    retry = RetryPolicy(schedule=(5000.0,))
    await journal.add([entry(1, due_at=clock)])
    async with dispatching(journal, transport, retry=retry, clock=lambda: clock) as dispatcher:
        for wait in (1, 2, 4):
            await until(all_are(journal, Status.DEFERRED, 1))
            deferred = await journal.get("d1")
            assert (deferred.tries, deferred.due_at - clock) == (0, timedelta(seconds=wait))
            clock = deferred.due_at
            tried = len(transport.sent)
            dispatcher.wake([Route.RELAY])
            await until(lambda tried=tried: len(transport.sent) > tried)


async def test_claims_that_fail_in_all_routes_at_once_are_made_again(journal, monkeypatch):
    """Whatever they failed of: each route goes on, also after a fault of ours."""
    monkeypatch.setattr("notifier.dispatch.dispatcher.JOURNAL_SECONDS", 0.02)
    monkeypatch.setattr("notifier.supervisor.FIRST_PAUSE", 0.02)
    ways = {route: Transport() for route in Route}
    more = {route: ways[route] for route in Route if route is not Route.RELAY}
    claim, failed, all_have = journal.claim, [], asyncio.Event()
    errors = [JournalUnavailable("away"), ValueError("list.remove(x): x not in list")]

    async def failing(route, *args, **kwargs):
        if failed.count(route) < len(errors):
            failed.append(route)
            if len(failed) == len(Route):
                all_have.set()
            await all_have.wait()  # so that they fail at the same time
            raise errors[failed.count(route) - 1]
        return await claim(route, *args, **kwargs)

    journal.claim = failing
    await journal.add([entry(route, route=route) for route in Route])
    async with dispatching(journal, ways[Route.RELAY], more=more):
        await until(all_are(journal, Status.SENT, len(Route)))
    assert sorted(failed) == sorted(2 * list(Route))


async def test_after_an_outage_of_the_database_every_route_claims_again(postgres, monkeypatch):
    """All were claiming when it broke, and all try again at the same time: nothing has died."""
    monkeypatch.setattr("notifier.dispatch.dispatcher.JOURNAL_SECONDS", 0.02)
    supervisor = Supervisor()
    journal = PostgresJournal(await postgres.database(), supervisor=supervisor)
    await journal.open()
    ways = {route: Transport() for route in Route}
    more = {route: ways[route] for route in Route if route is not Route.RELAY}
    take, broken, all_are_broken = journal._claims.take, [], asyncio.Event()

    async def breaking(db, route, *args):
        if route in broken:
            return await take(db, route, *args)
        claims = await take(db, route, *args)
        assert [claim.delivery.id for claim in claims] == [route]
        broken.append(route)
        if len(broken) == len(Route):
            all_are_broken.set()
        await all_are_broken.wait()
        raise ConnectionResetError

    journal._claims.take = breaking
    try:
        await journal.add([entry(route, id=route.value, route=route) for route in Route])
        async with dispatching(journal, ways[Route.RELAY], more=more, supervisor=supervisor):
            await until(all_are(journal, Status.SENT, len(Route)))
            assert not any(each.deaths for each in supervisor.counts().values())
        assert [len(ways[route].sent) for route in Route] == [1] * len(Route)
        for route in Route:
            assert (await journal.get(route.value)).uncertain == 0
    finally:
        await journal.close()


async def test_message_taken_over_by_another_replica_is_not_sent(postgres):
    """Its worker was busy until after the lease had run out: the other one sends it."""
    async with opened(await postgres.database(), lease=LEASE) as (ours, others):
        transport = Transport()
        transport.gate.clear()
        await ours.add([entry(1), entry(2)])
        async with dispatching(ours, transport, workers=1) as dispatcher:
            await until(all_are(others, Status.SENDING, 2))
            await until(busy_with(transport, 1))
            await silence(ours)

            async def taken_over():
                return await others.recover(lambda each: each.recovered(datetime.now(UTC)))

            await until(taken_over)
            assert len(await others.claim(Route.RELAY, 2, now=utc_now)) == 2
            transport.gate.set()
            await until(lambda: not dispatcher._shares.by_queue[Route.RELAY].ahead)
            await until(lambda: not any(dispatcher.doing))
        assert len(transport.sent) == 1


async def test_an_outcome_that_cannot_be_kept_is_held_and_its_worker_goes_on(journal):
    """What the journal refuses to record is held, as uncertain; the same worker goes on."""
    transport = Transport()
    transport.answer = lambda envelope: replace(
        attempt(*envelope.recipients), reply="250 \udcff" if len(transport.sent) == 1 else "250 ok"
    )
    await journal.add([entry(1), entry(2)])
    with structlog.testing.capture_logs() as lines:
        async with dispatching(journal, transport, workers=1):
            await until(all_are(journal, Status.HELD, 1))
            await until(all_are(journal, Status.SENT, 1))
    held = await journal.get("d1")
    assert (held.uncertain, held.attempts) == (1, ())
    assert "sent" in held.reason
    assert [line["id"] for line in lines if line["event"] == "record_refused"] == ["d1"]


async def test_worker_survives_a_message_that_cannot_be_held(journal, monkeypatch):
    """A delivery that the journal takes in no shape stays `sending`; the next one is sent."""
    monkeypatch.setattr("notifier.dispatch.sending.JOURNAL_SECONDS", 0.02)
    record = journal.record

    unavailable = iter(["then it is there again"])

    async def refusing(settled):
        if settled.id == "d1":
            if next(unavailable, None):
                raise JournalUnavailable("not now")
            raise Rejected("the journal cannot store this value")
        return await record(settled)

    journal.record = refusing
    await journal.add([entry(1), entry(2)])
    async with dispatching(journal, Transport(), workers=1):
        await until(all_are(journal, Status.SENT, 1))
    assert (await journal.get("d1")).status is Status.SENDING


async def test_a_cancelled_claim_is_not_lost(journal):
    """Stopped in the middle of claiming, the dispatcher gives back what the journal marked."""
    await journal.add([entry(n) for n in range(5)])
    claim = journal.claim
    begun = asyncio.Event()

    async def slow(*args, **kwargs):
        claims = await claim(*args, **kwargs)
        begun.set()
        await until(lambda: dispatcher._stopping)  # who has cancelled its claims by then
        return claims

    journal.claim = slow
    transport = Transport()
    async with dispatching(journal, transport) as dispatcher:
        await begun.wait()
    counts = (await journal.backlog()).counts
    assert counts.get(Status.SENDING, 0) == 0
    assert counts.get(Status.QUEUED, 0) + counts.get(Status.SENT, 0) == 5


async def test_a_claim_that_fails_while_stopping_does_not_hold_up_the_stop(journal):
    """The stop comes in the middle of a claim, and the journal cannot be written afterwards."""
    begun = asyncio.Event()

    async def fail(*args, **kwargs):
        begun.set()
        await until(lambda: dispatcher._stopping)
        raise JournalUnavailable("full")

    journal.claim = fail
    async with asyncio.timeout(LIMIT), dispatching(journal, Transport()) as dispatcher:
        await begun.wait()


async def test_a_window_full_of_one_route_leaves_the_loop_to_others(journal):
    """A route that could send, but finds no place in its window, waits without spinning."""
    stuck, free = Transport(), Transport()
    stuck.gate.clear()
    await journal.add([entry(n) for n in range(30)])
    asked, room = [], stuck.room

    def counted():
        asked.append(True)
        return room()

    stuck.room = counted
    async with dispatching(
        journal, stuck, more={Route.GATEWAY: free}, workers=4, window=8
    ) as dispatcher:
        await until(busy_with(stuck, 4))
        await journal.add([entry("other", route=Route.GATEWAY)])
        dispatcher.wake([Route.GATEWAY])
        await until(all_are(journal, Status.SENT, 1))  # a spinning route would never let it
        assert len(asked) < 100
        stuck.gate.set()
        await until(all_are(journal, Status.SENT, 31))
