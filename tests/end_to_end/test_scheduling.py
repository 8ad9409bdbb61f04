"""When a message leaves, in which order, and what a person may still do about it: end to end."""

import asyncio
from datetime import UTC, timedelta, timezone
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest
from msgspec.structs import replace

from notifier.breaker import Rests
from notifier.deliveries import OnUncertain, Route, Status
from notifier.errors import InvalidMessage, WrongState
from notifier.journal import Filter
from tests.clocks import WallClock
from tests.relay import CUT, FIN, ScriptedRelay
from tests.service import email, ended, notifying, now, subjects, submit, submit_one, until_status
from tests.waiting import LIMIT, until

HOUR = timedelta(hours=1)


@pytest.fixture
async def relay():
    async with ScriptedRelay() as relay:
        yield relay


# --- due later, too late ------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def unpolled(monkeypatch):
    """What is to leave in a test leaves because it is due, not because somebody looks at times."""
    monkeypatch.setattr("notifier.dispatch.dispatcher.POLL_SECONDS", 3600.0)


async def test_a_scheduled_message_leaves_when_it_is_due_and_not_before(relay, tmp_path):
    """It is `scheduled` till then, and is sent by itself."""
    clock = WallClock()
    due_at = clock() + HOUR
    async with notifying(tmp_path, relay, clock=clock) as service:
        id = await submit_one(service, email(send_at=due_at))
        assert (await service.journal.get(id)).status is Status.SCHEDULED
        clock.set(due_at - timedelta(seconds=0.3))
        service.dispatcher.wake([Route.RELAY])  # a clock that has been set is seen by a look only
        sent = await ended(service, id)
    assert sent.status is Status.SENT
    assert sent.finished_at >= due_at
    assert len(relay.received) == 1


async def test_times_of_another_zone_are_shown_as_all_others(relay, tmp_path):
    """Whatever the offset, a message is due and expires at the same moments, in UTC."""
    due_at = (now() + timedelta(days=1)).astimezone(timezone(timedelta(hours=9)))
    expires_at = due_at + timedelta(days=1)
    async with notifying(tmp_path, relay) as service:
        id = await submit_one(service, email(send_at=due_at, expires_at=expires_at))
        found = await service.journal.get(id)
    assert (found.due_at, found.expires_at) == (due_at, expires_at)
    assert {found.due_at.tzinfo, found.expires_at.tzinfo} == {UTC}


async def test_lifetime_without_an_end_begins_when_the_message_is_due(relay, tmp_path):
    """The default, as a `ttl`, counts from `send_at`: who plans far ahead loses nothing by it."""
    due_at = now() + timedelta(days=9)
    async with notifying(tmp_path, relay, expire_after=3600.0) as service:
        ids = await submit(service, email(send_at=due_at), email(send_at=due_at, ttl=60), email())
        later, brief, soon = [await service.journal.get(id) for id in ids]
    assert later.expires_at == due_at + timedelta(hours=1)
    assert brief.expires_at == due_at + timedelta(minutes=1)
    assert soon.expires_at == soon.created_at + timedelta(hours=1)


async def test_a_time_that_has_passed_means_at_once(relay, tmp_path):
    """Its life begins when it is handed in, so that an old `send_at` does not expire it."""
    async with notifying(tmp_path, relay, expire_after=3600.0) as service:
        id = await submit_one(service, email(send_at=now() - timedelta(days=9)))
        sent = await ended(service, id)
    assert sent.status is Status.SENT
    assert sent.expires_at == sent.created_at + timedelta(hours=1)


async def test_send_now_sends_what_is_scheduled_at_once(relay, tmp_path):
    """A month ahead, it leaves today; once sent it can be hurried no more."""
    async with notifying(tmp_path, relay) as service:
        id = await submit_one(service, email(send_at=now() + timedelta(days=30)))
        assert (await service.send_now(id)).status is Status.QUEUED
        assert (await ended(service, id)).status is Status.SENT
        with pytest.raises(WrongState):
            await service.send_now(id)
    assert len(relay.received) == 1


async def test_all_that_are_hurried_at_once_leave_at_once(relay, tmp_path):
    """Their route is woken, so that no message waits for the next poll."""
    async with notifying(tmp_path, relay) as service:
        later = email(send_at=now() + HOUR)
        ids = await submit(service, later, later)
        assert await service.change_all("send-now", Filter(status=(Status.SCHEDULED,))) == 2
        for id in ids:
            assert (await ended(service, id)).status is Status.SENT


async def test_a_scheduled_mail_is_dated_by_its_time(relay, tmp_path):
    """Readers sort by Date: one that was handed in weeks ago is new when it arrives."""
    clock = WallClock()
    due_at = clock() + 30 * 24 * HOUR
    async with notifying(tmp_path, relay, clock=clock) as service:
        id = await submit_one(service, email(send_at=due_at))
        clock.set(due_at)
        service.dispatcher.wake([Route.RELAY])
        await ended(service, id)
        assert relay.received[0][2] == await service.journal.content(id)
    assert dated(relay.received[0][2]) == due_at.replace(microsecond=0)


async def test_a_mail_sent_before_its_time_is_not_dated_in_the_future(relay, tmp_path):
    """Filters take such mail for spam. On every try it has the time when it was hurried."""
    relay.answer("DOT", "451 4.3.0 later", times=1)
    async with notifying(tmp_path, relay, retry_schedule=(1.0,)) as service:
        id = await submit_one(service, email(send_at=now() + timedelta(days=30)))
        hurried_at = (await service.send_now(id)).events[0].at
        sent = await ended(service, id)
        kept = await service.journal.content(id)
    (received,) = relay.received
    assert sent.tries == 2
    assert dated(received[2]) == hurried_at.replace(microsecond=0)
    assert received[2] == sent.dated(kept)
    assert len(received[2]) == len(kept)


async def test_a_mail_that_waits_keeps_its_date_when_it_is_hurried(relay, tmp_path):
    """It was written when it was handed in."""
    relay.answer("DOT", "451 4.3.0 later", times=1)
    async with notifying(tmp_path, relay, retry_schedule=(3600.0,)) as service:
        id = await submit_one(service)
        await until_status(service, id, Status.DEFERRED)
        await service.send_now(id)
        await ended(service, id)
        kept = await service.journal.content(id)
    assert [each[2] for each in relay.received] == [kept]


def dated(content):
    return parsedate_to_datetime(message_from_bytes(content)["Date"])


async def test_message_cancelled_before_it_is_due_is_not_sent(relay, tmp_path):
    """F44: cancelled, with no mail also when its time has come."""
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock) as service:
        later = clock() + HOUR
        id, behind = await submit(
            service, email(send_at=later), email("eve@example.org", send_at=later)
        )
        assert (await service.cancel(id)).status is Status.CANCELLED
        clock.set(later)
        await ended(service, await submit_one(service, email("bob@example.org")))
        assert (await ended(service, behind)).status is Status.SENT
        assert (await service.journal.get(id)).status is Status.CANCELLED
    assert {recipients for _, recipients, _ in relay.received} == {
        ("bob@example.org",),
        ("eve@example.org",),
    }


async def test_f48_a_message_that_expires_while_the_relay_is_down_is_never_sent(relay, tmp_path):
    """It ends visibly with what the relay said last, and stays at home when that works again."""
    relay.answer("GREETING", "421 4.3.2 closed for today")
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock) as service:
        id = await submit_one(service, email(ttl=3600))
        await until_status(service, id, Status.DEFERRED)
        clock.set(clock() + HOUR)
        expired = await ended(service, id)
        assert expired.status is Status.EXPIRED
        assert "closed for today" in expired.reason
        assert expired.tries == 0
        relay.answer("GREETING", None)
        await service.resume("first")
        later = await submit_one(service, email("bob@example.org"))
        await ended(service, later)
        assert (await service.journal.get(id)).status is Status.EXPIRED
    assert [recipients for _, recipients, _ in relay.received] == [("bob@example.org",)]


async def test_f48_an_untried_message_shows_why_no_relay_took_it(relay, tmp_path, monkeypatch):
    """With the breaker open nothing is offered; the reason still names the relay's trouble."""
    monkeypatch.setattr(Rests, "after", lambda *_: 3600.0)
    relay.answer("GREETING", "421 4.3.2 closed for today")
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock) as service:
        tried = await submit(service, *[email()] * 3)
        await until(lambda: service.transports.relays.states()[0].state == "open")
        for each in tried:  # until then a claim from before the breaker opened may be under way
            await until_status(service, each, Status.DEFERRED)
        id = await submit_one(service, email(expires_at=clock() + HOUR))
        clock.set(clock() + HOUR)
        expired = await ended(service, id)
        assert len(tried) == 3
    assert expired.status is Status.EXPIRED
    assert not expired.attempts
    assert "closed for today" in expired.reason


async def test_a_scheduled_message_may_expire_before_anybody_resumes_the_queue(relay, tmp_path):
    """Paused past its `ttl`, it ends as expired; resuming does not send it."""
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock) as service:
        await service.pause()
        id = await submit_one(service, email(expires_at=clock() + HOUR))
        clock.set(clock() + HOUR)
        assert (await ended(service, id)).status is Status.EXPIRED
        await service.resume()
        await ended(service, await submit_one(service, email("bob@example.org")))
    assert [recipients for _, recipients, _ in relay.received] == [("bob@example.org",)]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"send_at": timedelta(days=400)}, "/send_at"),
        ({"expires_at": timedelta(seconds=-1)}, "/expires_at"),
        ({"expires_at": timedelta(hours=1), "send_at": timedelta(hours=2)}, "/expires_at"),
        ({"expires_at": timedelta(hours=2), "send_at": timedelta(hours=2)}, "/expires_at"),
        ({"expires_at": timedelta(hours=1), "ttl": 60}, "/ttl"),
    ],
)
async def test_terms_that_cannot_be_kept_are_refused(changes, pointer, relay, tmp_path):
    """With the field named: too far ahead, over before it begins, said twice."""
    at = now()
    given = {
        name: at + value if isinstance(value, timedelta) else value
        for name, value in changes.items()
    }
    async with notifying(tmp_path, relay) as service:
        with pytest.raises(InvalidMessage) as caught:
            await submit_one(service, email(**given))
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


# --- newer ones, urgent ones --------------------------------------------------------------------


async def test_a_newer_message_supersedes_those_that_wait_and_not_those_on_their_way(
    relay, tmp_path
):
    """Of one collapse key: the one at the dot is sent, the waiting one never, the newest is."""
    relay.hold("DOT")
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock, workers=1, queue_size=1) as service:
        sending = await submit_one(service, email(subject="1", collapse_key="k"))
        await relay.until_held(1)
        waiting, other = await submit(
            service,
            email(subject="2", collapse_key="k", send_at=clock() + HOUR),
            email(subject="other", collapse_key="else"),
        )
        newest = await submit_one(service, email(subject="3", collapse_key="k"))
        superseded = await service.journal.get(waiting)
        assert superseded.status is Status.SUPERSEDED
        assert newest in superseded.reason
        relay.release()
        for id in (sending, other, newest):
            assert (await ended(service, id)).status is Status.SENT
        clock.set(clock() + HOUR)
        await ended(service, await submit_one(service, email(subject="4")))
    assert sorted(subjects(relay)) == ["1", "3", "4", "other"]


async def test_urgent_overtakes_a_bulk_backlog(relay, tmp_path):
    """An urgent message is sent after those that were already claimed, before all others."""
    relay.hold("DOT")
    async with notifying(tmp_path, relay, workers=2, queue_size=2) as service:
        bulk = await submit(service, *[email(subject=f"b{n}", priority="bulk") for n in range(30)])
        await relay.until_held(1)
        normal = await submit_one(service, email(subject="normal"))
        urgent = await submit_one(service, email(subject="urgent", priority="urgent"))
        relay.release()
        for id in (*bulk, normal, urgent):
            await ended(service, id)
    order = subjects(relay)
    assert order.index("urgent") <= 5
    assert order.index("normal") <= 6
    assert len(order) == 32


async def test_bulk_never_takes_the_last_worker(relay, tmp_path):
    """With bulk stuck at the dot on every worker that it may have, an urgent one is sent."""
    relay.hold("DOT")
    async with notifying(tmp_path, relay, workers=3) as service:
        bulk = await submit(service, *[email(subject=f"b{n}", priority="bulk") for n in range(12)])
        await relay.until_held(2)
        urgent = await submit_one(service, email(subject="urgent", priority="urgent"))
        await relay.until_held(3)
        assert subjects(relay)[2] == "urgent"
        assert (await service.journal.get(urgent)).status is Status.SENDING
        relay.release()
        for id in (*bulk, urgent):
            assert (await ended(service, id)).status is Status.SENT


async def test_a_bulk_backlog_that_has_to_wait_costs_nothing_and_hides_nothing(relay, tmp_path):
    """Bulk stuck at its limit is not asked for over and over; an urgent one leaves when due."""
    relay.hold("DOT")
    async with notifying(tmp_path, relay, workers=3) as service:
        await submit(service, *[email(subject=f"b{n}", priority="bulk") for n in range(40)])
        await relay.until_held(2)
        claims, claim = [], service.journal.claim

        async def counted(*args, **kwargs):
            claims.append(args)
            return await claim(*args, **kwargs)

        service.journal.claim = counted
        due_at = now() + timedelta(seconds=0.4)
        await submit_one(service, email(subject="u", priority="urgent", send_at=due_at))
        await relay.until_held(3)
        assert subjects(relay)[2] == "u"
        assert len(claims) < 20
        relay.release()


# --- uncertain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [CUT, FIN])
async def test_an_uncertain_message_is_held_where_its_sender_wants_no_second_copy(
    how, relay, tmp_path
):
    """`on_uncertain: hold` holds this one; the next with the default is sent again, flagged."""
    relay.answer("DOT", how, times=2)
    async with notifying(tmp_path, relay, workers=1) as service:
        careful = await submit_one(service, email(subject="careful", on_uncertain=OnUncertain.HOLD))
        held = await ended(service, careful)
        usual = await ended(service, await submit_one(service, email(subject="usual")))
        assert (held.status, held.uncertain) == (Status.HELD, 1)
        assert "on_uncertain is hold" in held.reason
        assert (usual.status, usual.uncertain) == (Status.SENT, 1)
        assert (await service.cancel(careful)).status is Status.CANCELLED
    assert subjects(relay) == ["careful", "usual", "usual"]
    assert relay.received[1] == relay.received[2]


async def test_a_relay_that_never_answers_the_dot_gets_three_copies_and_no_more(relay, tmp_path):
    """Then the message waits for a person, who may have it tried again."""
    relay.answer("DOT", CUT, times=3)
    async with notifying(tmp_path, relay) as service:
        id = await submit_one(service)
        held = await ended(service, id)
        assert (held.status, held.uncertain) == (Status.HELD, 3)
        assert len(relay.received) == 3
        await service.retry(id)
        assert (await ended(service, id)).status is Status.SENT
    assert len(relay.received) == 4


# --- what a person may do -----------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["MAIL", "DATA", "DOT"])
async def test_f44_a_claimed_message_cannot_be_cancelled(verb, relay, tmp_path):
    """From the claim on it is too late, whatever the stage; it is sent once."""
    relay.hold(verb)
    async with notifying(tmp_path, relay) as service:
        id = await submit_one(service)
        await relay.until_held(1)
        with pytest.raises(WrongState, match="sending"):
            await service.cancel(id)
        relay.release()
        assert (await ended(service, id)).status is Status.SENT
        with pytest.raises(WrongState, match="sent"):
            await service.cancel(id)
    assert len(relay.received) == 1


async def test_f44_cancelling_while_sending_starts_has_one_outcome_each(relay, tmp_path):
    """
    In a race with the workers, a message answered as `cancelled` is not sent, and every other one
    is sent once.
    """
    async with notifying(tmp_path, relay) as service:
        ids = await submit(service, *[email(f"n{n}@example.org") for n in range(60)])
        results = await asyncio.gather(
            *(service.cancel(id) for id in reversed(ids)), return_exceptions=True
        )
        found = [await ended(service, id) for id in ids]
    reached = {recipients[0] for _, recipients, _ in relay.received}
    told = {r.recipients[0].address for r in results if not isinstance(r, WrongState)}
    assert told == {d.recipients[0].address for d in found if d.status is Status.CANCELLED}
    assert reached == {d.recipients[0].address for d in found if d.status is Status.SENT}
    assert len(relay.received) == len(reached)
    assert len(told) + len(reached) == 60


async def test_a_failed_message_can_be_retried(relay, tmp_path):
    """Its lost recipient is forgiven, and its earlier attempt is kept."""
    relay.answer("RCPT", "550 5.1.1 nobody here", times=1)
    async with notifying(tmp_path, relay) as service:
        id = await submit_one(service)
        failed = await ended(service, id)
        assert (failed.status, failed.reason) == (Status.FAILED, "550 5.1.1 nobody here")
        assert (await service.retry(id)).status is Status.QUEUED
        sent = await ended(service, id)
        assert (sent.status, sent.reason) == (Status.SENT, "")
        assert [attempt.code for attempt in sent.attempts] == [550, 250]
        with pytest.raises(WrongState):
            await service.retry(id)


async def test_an_expired_message_that_is_retried_gets_its_lifetime_anew(relay, tmp_path):
    """Retried after its end it is sent, rather than found expired at once."""
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock) as service:
        await service.pause()
        id = await submit_one(service, email(expires_at=clock() + HOUR))
        clock.set(clock() + HOUR)
        assert (await ended(service, id)).status is Status.EXPIRED
        await service.resume()
        await service.retry(id)
        assert (await ended(service, id)).status is Status.SENT


async def test_a_partly_sent_message_is_retried_for_the_others_alone(relay, tmp_path):
    """A recipient that was accepted is never asked again."""
    relay.answer("RCPT", "550 5.1.1 nobody here", to="bob@example.org", times=1)
    async with notifying(tmp_path, relay) as service:
        message = email(cc=("bob@example.org",))
        id = await submit_one(service, message)
        partial = await ended(service, id)
        assert partial.status is Status.SENT
        assert partial.partial
        await service.retry(id)
        sent = await until_status(service, id, Status.SENT)
        assert not sent.partial
    assert [recipients for _, recipients, _ in relay.received] == [
        ("ann@example.org",),
        ("bob@example.org",),
    ]


async def test_a_deferred_message_can_be_hurried(relay, tmp_path):
    """Its next try would be in an hour; `send-now` makes it now."""
    relay.answer("DOT", "451 4.3.0 later", times=1)
    async with notifying(tmp_path, relay, retry_schedule=(3600.0,)) as service:
        id = await submit_one(service)
        deferred = await until_status(service, id, Status.DEFERRED)
        assert deferred.due_at > now() + timedelta(seconds=1800)
        await service.send_now(id)
        sent = await ended(service, id)
    assert (sent.status, sent.tries) == (Status.SENT, 2)


async def test_all_that_match_are_changed_at_once(relay, tmp_path):
    """By tag, by user, by state; what does not allow it is left out of the count."""
    later = now() + timedelta(days=1)
    async with notifying(tmp_path, relay) as service:
        ids = await submit(
            service,
            email(subject="a", send_at=later, tags=("x",)),
            email(subject="b", send_at=later, tags=("x", "y")),
            email(subject="c", send_at=later, user_id=7),
            email(subject="d", tags=("x",)),
        )
        assert (await ended(service, ids[3])).status is Status.SENT
        assert await service.change_all("cancel", Filter(tag="y")) == 1
        assert await service.change_all("send-now", Filter(tag="x")) == 1
        assert await service.change_all("send-now", Filter(user_id="7")) == 1
        states = [(await ended(service, id)).status for id in ids]
        assert states == [Status.SENT, Status.CANCELLED, Status.SENT, Status.SENT]
        assert await service.change_all("retry", Filter(status=(Status.CANCELLED,))) == 1
        assert (await ended(service, ids[1])).status is Status.SENT
        assert await service.change_all("cancel", Filter(tag="nobody")) == 0
    assert sorted(subjects(relay)) == ["a", "b", "c", "d"]


async def test_waiting_caller_sees_a_bulk_change(relay, tmp_path):
    """`Prefer: wait` returns as soon as its message is cancelled by a filter."""
    async with notifying(tmp_path, relay) as service:
        id = await submit_one(service, email(send_at=now() + timedelta(days=1), tags=("x",)))
        waiting = asyncio.create_task(service.outcome(id, timeout=60))
        await until(lambda: service.feed.followed == (id,))
        assert await service.change_all("cancel", Filter(tag="x")) == 1
        async with asyncio.timeout(LIMIT):
            assert (await waiting).status is Status.CANCELLED


async def test_recovered_message_is_sent_at_once(relay, tmp_path):
    """What another one left behind is taken over, and nobody waits for a look at the journal."""
    async with notifying(tmp_path, relay) as service:
        await ended(service, await submit_one(service))  # nothing is due from here on
        await service.pause()
        id = await submit_one(service)
        (claim,) = await service.journal.claim(Route.RELAY, 1, now=now)
        await service.resume()
        await ended(service, await submit_one(service))

        async def recover(step):
            return [await service.journal.amend(id, step)]

        service.journal.recover = recover
        await service._recover()
        assert (await ended(service, id)).uncertain == 1
    assert claim.delivery.id == id
    assert len(relay.received) == 3


async def test_stopping_waits_for_a_relay_that_answers_half_a_second_later(relay, tmp_path):
    """Within the grace a message at the dot is finished: sent once, and not uncertain."""
    relay.hold("DOT")
    async with notifying(tmp_path, relay, grace=LIMIT) as service:
        id = await submit_one(service)
        await relay.until_held(1)
        asyncio.get_running_loop().call_later(0.5, relay.release)
    async with notifying(tmp_path, relay) as service:
        sent = await service.journal.get(id)
    assert (sent.status, sent.uncertain, len(sent.attempts)) == (Status.SENT, 0, 1)
    assert len(relay.received) == 1


async def test_an_end_that_comes_while_one_begins_to_wait_is_heard(relay, tmp_path):
    """It comes after the look at the journal, and nothing else happens after it."""
    async with notifying(tmp_path, relay) as service:
        await service.pause()
        id = await submit_one(service)
        get, looks = service.journal.get, []

        async def meanwhile(id):
            found = await get(id)
            if not looks:
                looks.append(found)
                await service.cancel(id)
            return found

        service.journal.get = meanwhile
        async with asyncio.timeout(LIMIT):
            outcome = await service.outcome(id, timeout=60)
    assert (looks[0].status, outcome.status) == (Status.QUEUED, Status.CANCELLED)


async def test_viewed_message_is_counted_once(relay, tmp_path):
    """Changing others over and over, while somebody follows a message that was sent."""
    async with notifying(tmp_path, relay) as service:
        sent = await submit_one(service)
        await ended(service, sent)
        with service.feed.subscribe(sent) as news:
            for verb in ("retry", "cancel", "send-now"):
                await service.change_all(verb, Filter(tag="nobody"))
                assert (await news.next()).status is Status.SENT
        assert service.tally.ended["email", "sent"] == 1
        assert sum(service.tally.wait_seconds.counts) == 1
        assert service.history.sent_today() == 1


async def test_a_batch_supersedes_also_within_itself(relay, tmp_path):
    """Of three with one collapse key the last is sent."""
    async with notifying(tmp_path, relay) as service:
        ids = await submit(service, *[email(subject=n, collapse_key="k") for n in "abc"])
        states = [(await ended(service, id)).status for id in ids]
    assert states == [Status.SUPERSEDED, Status.SUPERSEDED, Status.SENT]
    assert subjects(relay) == ["c"]


async def test_a_paused_queue_stays_paused_over_a_restart(relay, tmp_path):
    """Messages are taken meanwhile; after `resume`, also over another restart, they go."""
    async with notifying(tmp_path, relay) as service:
        await service.pause()
        id = await submit_one(service)
        assert service.health().paused
    async with notifying(tmp_path, relay) as service:
        assert service.health().paused
        other = await submit_one(service, email("bob@example.org"))
        assert (await service.journal.get(id)).status is Status.QUEUED
        assert not relay.received
        await service.resume()
        for each in (id, other):
            assert (await ended(service, each)).status is Status.SENT
    async with notifying(tmp_path, relay) as service:
        assert not service.health().paused
        assert (await ended(service, await submit_one(service))).status is Status.SENT


async def test_a_paused_relay_stays_paused_over_a_restart(tmp_path):
    """The other one takes all, until the first is resumed."""
    async with ScriptedRelay() as first, ScriptedRelay() as second:
        async with notifying(tmp_path, first, second) as service:
            await service.pause("first")
            await ended(service, await submit_one(service))
        async with notifying(tmp_path, first, second) as service:
            assert service.health().relays[0].state == "paused"
            await ended(service, await submit_one(service))
            assert (len(first.received), len(second.received)) == (0, 2)
            await service.resume("first")
            sent = await ended(service, await submit_one(service))
            assert sent.attempts[-1].relay == "first"
        assert (len(first.received), len(second.received)) == (1, 2)


async def test_a_relay_may_be_called_queue(relay, tmp_path):
    """Its pause is its own, and that of the queue is the queue's, also over a restart."""
    called = (replace(relay.spec, name="queue"),)
    async with notifying(tmp_path, relays=called) as service:
        await service.pause("queue")
    async with notifying(tmp_path, relays=called) as service:
        assert not service.health().paused
        assert service.health().relays[0].state == "paused"
        await service.resume("queue")
        await service.pause()
    async with notifying(tmp_path, relays=called) as service:
        assert service.health().paused
        assert service.health().relays[0].state != "paused"


async def test_a_relay_that_is_configured_no_more_is_forgotten(relay, tmp_path):
    """That it was paused does not keep the service from starting without it."""
    async with ScriptedRelay() as second:
        async with notifying(tmp_path, relay, second) as service:
            await service.pause("second")
        async with notifying(tmp_path, relay) as service:
            assert (await ended(service, await submit_one(service))).status is Status.SENT
