"""What is to be told is in both journals, with the outcome that it is about."""

from datetime import timedelta

import pytest

from notifier.audit import Audit
from notifier.audit import Which as AuditWhich
from notifier.callbacks.answers import Answer
from notifier.callbacks.receivers import LEASE, Kept, Receivers
from notifier.callbacks.rows import GIVE_UP, GIVEN_UP, PRUNE_WAITING, TOLD, Rows, writer_of
from notifier.errors import WrongState
from notifier.journal import Filter, journal_at
from notifier.keys import Callback, CallbackEvent
from notifier.screening import stormy
from tests.applications import SECRET
from tests.deliveries import NOW, entry, noon, sent

THANKS = Answer(code=200, reply="thanks")
BUSY = Answer(code=503, reply="busy")
SHOP = Callback(url="https://shop.example.org/", secrets=(SECRET,), events=frozenset(CallbackEvent))
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def journal(journal):
    """A journal that writes the callbacks of the key `shop`."""
    journal.accompany(writer_of(lambda: {"shop": SHOP}, lambda: NOW))
    return journal


async def ended_as_sent(journal, *ids, key="shop", at=NOW):
    """Messages that were sent at that time."""
    await journal.add([entry(id, key=key) for id in ids])
    for claim in await journal.claim("relay", 100, now=noon):
        await journal.record(sent(claim.delivery, now=at))


async def events(journal, key="shop"):
    """What waits, in order: the message's id and the event."""
    return [(each.message, each.event) for each in await Rows(journal).waiting(key, 100)]


async def test_every_end_of_a_message_makes_a_callback(journal):
    """Sent, held after a crash, cancelled one by one and in bulk, superseded, expired."""
    await ended_as_sent(journal, "sent1")
    other = {"key": "shop", "due_at": LATER}
    await journal.add([entry("off1", **other), entry("bulk1", reference="b", **other)])
    await journal.add([entry("old1", collapse_key="c", **other)])
    await journal.add([entry("new1", collapse_key="c", **other)])
    await journal.add([entry("late1", expires_at=NOW, **other)])
    await journal.amend("off1", lambda each: each.cancelled(NOW + timedelta(seconds=1)))
    changed = await journal.amend_all(
        Filter(reference="b"), lambda each: each.cancelled(NOW + timedelta(seconds=2))
    )
    assert changed == 1
    await journal.expire(NOW + timedelta(seconds=3), lambda each: each.expired(LATER))
    found = dict(await events(journal))
    assert found == {
        "sent1": "sent",
        "off1": "cancelled",
        "bulk1": "cancelled",
        "old1": "superseded",
        "late1": "expired",
    }


async def test_a_callback_waits_from_when_it_is_written(journal):
    """Also where its event is of days before, and where the message was not due for days."""
    await ended_as_sent(journal, "old1", at=NOW - timedelta(days=5))
    await journal.add([entry("off1", key="shop", due_at=NOW + timedelta(days=5))])
    await journal.amend("off1", lambda each: stormy(each, "a storm", NOW))
    found = {each.message: each for each in await Rows(journal).waiting("shop", 10)}
    assert {(each.due_at, each.since) for each in found.values()} == {(NOW, NOW)}
    assert found["old1"].at == NOW - timedelta(days=5)
    assert (found["off1"].event, found["off1"].at) == ("held", NOW)


async def test_a_failed_change_makes_no_callback(journal):
    """And neither do other keys, and messages that still wait."""
    await journal.add([entry("d1", key="shop"), entry("d2", key="hr"), entry("d3")])
    with pytest.raises(WrongState):
        await journal.amend("d1", _refuse)
    for id in ("d2", "d3"):
        await journal.amend(id, lambda each: each.cancelled(NOW))
    assert await events(journal) == []
    assert await events(journal, "hr") == []


def _refuse(each):
    raise WrongState("no")


async def test_a_row_waits_until_it_is_sent(journal):
    """Put off, then told; the last answers are kept."""
    await ended_as_sent(journal, "d1")
    rows = Rows(journal)
    (row,) = await rows.waiting("shop", 10)
    await rows.put_off(row, LATER, BUSY, NOW)
    (row,) = await rows.waiting("shop", 10)
    assert (row.due_at, row.tries) == (LATER, 1)
    figures = await rows.figures()
    assert (figures["shop"].waiting, figures["shop"].oldest) == (1, NOW)
    await rows.end(row, TOLD, THANKS, LATER)
    assert await rows.waiting("shop", 10) == []
    assert await rows.figures() == {}
    (last,) = await rows.last("shop", 5)
    assert (last.message, last.code, last.tries, last.outcome) == ("d1", 200, 2, TOLD)


async def test_an_answer_ends_only_the_event_that_it_is_about(journal):
    """A newer event that came while the older one was sent is told, too."""
    await ended_as_sent(journal, "d1")
    rows = Rows(journal)
    (older,) = await rows.waiting("shop", 10)
    back = LATER + timedelta(seconds=1)
    await journal.amend("d1", lambda each: each.with_event(back, "bounced"))
    await rows.end(older, TOLD, THANKS, LATER)
    (newer,) = await rows.waiting("shop", 10)
    assert newer.event == "bounced"
    assert newer.version > older.version
    assert newer.id != older.id
    await rows.put_off(older, NOW, BUSY, NOW)
    await rows.forget(older)
    assert await rows.waiting("shop", 10) == [newer]


async def test_a_change_that_is_not_an_event_makes_no_callback(journal):
    """The row of an event that was told stays as it is."""
    await ended_as_sent(journal, "d1")
    rows = Rows(journal)
    (row,) = await rows.waiting("shop", 10)
    await rows.end(row, TOLD, THANKS, NOW)
    await journal.amend("d1", lambda each: each.with_event(LATER, "delivered"))
    assert await rows.waiting("shop", 10) == []


async def test_many_are_replayed_given_up_and_started_again(journal, monkeypatch):
    """In portions, each once, and only those of the key and the time."""
    monkeypatch.setattr("notifier.callbacks.rows.PORTION", 2)
    await ended_as_sent(journal, "a1", "a2", "a3", "a4", "a5")
    await ended_as_sent(journal, "b1", at=LATER)
    rows = Rows(journal)
    for row in await rows.waiting("shop", 10):
        await rows.end(row, TOLD, THANKS, LATER)
    again = LATER + timedelta(hours=1)
    audit = Audit(journal)
    told = audit.counting("key:boss", "replay-callbacks")
    assert await rows.replay("hr", NOW, again, told) == 0
    assert await rows.replay("shop", LATER, again, told) == 1
    assert await rows.replay("shop", NOW, again, told) == 5
    assert await rows.replay("shop", NOW, again, told) == 0
    (record,) = (await audit.page(AuditWhich())).items
    assert record.count == 6
    found = await rows.waiting("shop", 10)
    assert len(found) == 6
    assert {each.due_at for each in found} == {again}
    for row in found:
        await rows.put_off(row, again + timedelta(days=1), BUSY, again)
    last = again + timedelta(days=4)
    assert await rows.start_again("shop", last) == 6
    assert {each.due_at for each in await rows.waiting("shop", 10)} == {last}
    assert await rows.give_up("shop", last, last) == 0
    assert await rows.give_up("shop", last + timedelta(seconds=1), last) == 6
    assert {each.outcome for each in await rows.last("shop", 10)} == {GIVEN_UP}


async def test_deferred_callbacks_are_hurried(journal):
    """Once the application works again."""
    await ended_as_sent(journal, "d1")
    rows = Rows(journal)
    (row,) = await rows.waiting("shop", 10)
    await rows.put_off(row, LATER, BUSY, NOW)
    await rows.hurry("shop", NOW)
    (row,) = await rows.waiting("shop", 10)
    assert row.due_at == NOW


async def test_rows_are_pruned_when_they_are_old(journal):
    """What was told, and what waits."""
    await ended_as_sent(journal, "d1", "d2")
    rows = Rows(journal)
    (row, _) = await rows.waiting("shop", 10)
    await rows.end(row, TOLD, THANKS, NOW)
    await rows.prune("shop", NOW)
    assert len(await rows.last("shop", 5)) == 1
    await rows.prune("shop", LATER)
    assert await rows.waiting("shop", 10) == []
    assert await rows.last("shop", 5) == []


async def test_overdue_callbacks_are_found_by_an_index(tmp_path):
    """So that a minute's tidying does not hold up those who write."""
    journal = journal_at("sqlite:", data_dir=str(tmp_path))
    await journal.open()
    for sql, *values in ((PRUNE_WAITING, "shop", 0, 10), (GIVE_UP, GIVEN_UP, 0, "shop", 0, 10)):
        plan = await journal.query(f"EXPLAIN QUERY PLAN {sql}", *values)
        assert "callbacks_since (key=? AND since<?)" in str(plan)
    await journal.close()


async def test_one_replica_has_a_url_until_its_lease_ends(journal):
    """It renews it; a dead one loses it, and one that stops gives it back."""
    ours, theirs = Receivers(journal, us="a"), Receivers(journal, us="b")
    assert await ours.take(["shop", "hr"], NOW) == {"shop", "hr"}
    assert await theirs.take(["shop"], NOW + LEASE / 2) == set()
    assert await ours.take(["shop"], NOW + LEASE / 2) == {"shop"}
    assert await theirs.take(["shop", "hr"], NOW + LEASE * 1.2) == {"hr"}
    assert await theirs.take(["shop"], NOW + LEASE * 2) == {"shop"}
    assert await ours.take(["shop"], NOW + LEASE * 2) == set()
    await theirs.release()
    assert await ours.take(["shop"], NOW + LEASE * 2) == {"shop"}


async def test_the_state_of_a_url_is_kept(journal):
    """Paused, failing since the first failure, working again, resumed."""
    receivers = Receivers(journal, us="")
    await receivers.take(["shop"], NOW)
    assert await receivers.all() == {"shop": Kept()}
    await receivers.fails("shop", "503 busy", NOW)
    await receivers.fails("shop", "no answer", LATER)
    assert (await receivers.all())["shop"] == Kept(failing_since=NOW, trouble="no answer")
    await receivers.works("shop")
    await receivers.pause("shop", "it answered 410", NOW)
    await receivers.pause("shop", "it answered 410 again", LATER)
    assert (await receivers.all())["shop"] == Kept(paused_at=NOW, paused_why="it answered 410")
    await receivers.resume("shop", Audit(journal).statement("key:boss", "resume-callback"))
    assert await receivers.all() == {"shop": Kept()}
