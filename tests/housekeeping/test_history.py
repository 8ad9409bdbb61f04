"""Figures by the minute: what is counted, and that it outlives a restart."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from notifier.deliveries import Event, Status
from notifier.errors import JournalUnavailable
from notifier.housekeeping.history import History, summed
from notifier.journal import journal_at
from notifier.metrics import Tally
from notifier.recipients import Later, LaterState
from tests.clocks import Clock
from tests.deliveries import NOW, under_way
from tests.waiting import until


@pytest.fixture
def clock():
    return Clock(NOW)


class Writes:
    """A journal that counts what is written of the history, and can be made to fail or wait."""

    def __init__(self, journal, meanwhile=lambda: None):
        self._journal = journal
        self._meanwhile = meanwhile
        self.count = 0

    async def execute(self, *statements):
        self.count += 1
        self._meanwhile()
        await self._journal.execute(*statements)

    def __getattr__(self, name):
        return getattr(self._journal, name)


def history_of(journal, clock):
    return History(journal, tally=Tally(), waiting=lambda: 7, clock=clock)


def count(history, delivery):
    """As the service does it, and this minute ends or is looked at."""
    history._tally.count(delivery)
    history.last(1)


def figures(minute):
    return minute.accepted, minute.sent, minute.failed


async def test_each_minute_has_its_own_figures(journal, clock):
    """Accepted once, sent, and given up for whatever reason; other steps are not counted."""
    async with history_of(journal, clock) as history:
        count(history, under_way(status=Status.QUEUED))
        count(history, under_way(status=Status.SENDING))
        count(history, under_way(status=Status.QUEUED, events=(Event(NOW, "hurried"),)))
        clock.now += timedelta(minutes=2)
        for status in (Status.SENT, Status.FAILED, Status.EXPIRED, Status.CANCELLED):
            count(history, under_way(status=status))
        assert list(map(figures, history.last(4))) == [(0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 1, 2)]
        assert history.last(1)[0].waiting == 7
        assert history.last(1)[0].at <= clock.now


async def test_figures_outlive_a_restart(journal, clock):
    """What was counted is read again, up to a day ago, and counted on."""
    async with history_of(journal, clock) as history:
        count(history, under_way(status=Status.SENT))
    async with history_of(journal, clock) as history:
        count(history, under_way(status=Status.SENT))
        assert history.last(1)[0].sent == 2
        clock.now += timedelta(minutes=1)
    async with history_of(journal, clock) as history:
        assert [each.sent for each in history.last(2)] == [2, 0]
        assert history.last(2)[0].waiting == 7


async def test_a_day_is_kept_and_no_more(journal, clock):
    """1,440 minutes are kept; older ones are not shown and are deleted from the journal."""
    async with history_of(journal, clock) as history:
        count(history, under_way(status=Status.SENT))
    clock.now += timedelta(minutes=1439)
    async with history_of(journal, clock) as history:
        count(history, under_way(status=Status.FAILED))
        assert sum(each.sent for each in history.last(1440)) == 1
        clock.now += timedelta(minutes=2)
        count(history, under_way(status=Status.FAILED))
        assert sum(each.sent for each in history.last(1440)) == 0
        assert len(history.last(5000)) == 1441  # that of now is not over yet
    kept = await summed(journal, NOW - timedelta(days=9), but="")
    assert [(each.sent, each.failed) for each in kept] == [(0, 1), (0, 1)]


async def test_under_load_it_is_saved_by_one_write(journal, clock):
    """Counts during a write are saved by the next one, so a save ends even under load."""
    sent = under_way(status=Status.SENT)
    writes = Writes(journal, meanwhile=lambda: count(history, sent))
    history = history_of(writes, clock)
    count(history, sent)
    clock.now += timedelta(minutes=1)
    count(history, sent)
    await history.save()
    assert writes.count == 1
    await history.save()
    assert writes.count == 2
    kept = await summed(journal, NOW, but="")
    assert [each.sent for each in kept] == [1, 2]


async def test_unsaved_minutes_are_saved_later(journal, clock):
    """A journal that is away loses no figure, and none is there twice."""

    def away():
        raise JournalUnavailable("away")

    writes = Writes(journal, meanwhile=away)
    history = history_of(writes, clock)
    count(history, under_way(status=Status.SENT))
    with pytest.raises(JournalUnavailable):
        await history.save()
    writes._meanwhile = lambda: None
    count(history, under_way(status=Status.SENT))
    await history.save()
    await history.save()
    assert [each.sent for each in await summed(journal, NOW, but="")] == [2]


async def test_replicas_add_up(journal, clock):
    """No replica writes over another's figures: each shows the sum, also after a restart."""
    async with history_of(journal, clock) as one, history_of(journal, clock) as other:
        for _ in range(3):
            count(one, under_way(status=Status.SENT))
        count(other, under_way(status=Status.SENT))
        for each in (one, other, one):
            await each.save()
        assert [each.last(1)[0].sent for each in (one, other)] == [4, 4]
        assert [each.sent_today() for each in (one, other)] == [4, 4]
    async with history_of(journal, clock) as again:
        count(again, under_way(status=Status.SENT))
        assert again.last(1)[0].sent == 5


async def test_a_save_wakes_no_other_replica(postgres, clock):
    """Other replicas are notified only of words that concern them."""
    url = await postgres.database()
    one, other = (journal_at(url, data_dir="") for _ in range(2))
    heard = []
    other._heard = SimpleNamespace(add=heard.append)
    await one.open()
    await other.open()
    try:
        await until(lambda: any(each.missed for each in heard))  # from here on it listens
        history = history_of(one, clock)
        count(history, under_way(status=Status.SENT))
        await history.save()
        await one.put("paused:queue", "yes")  # what is told is told in order
        await until(lambda: any(each.values and not each.missed for each in heard))
        assert sum(each.values and not each.missed for each in heard) == 1
    finally:
        await one.close()
        await other.close()


async def test_today_begins_at_midnight(journal, clock):
    """In UTC, to the minute."""
    async with history_of(journal, clock) as history:
        clock.now = datetime(2026, 1, 1, 23, 59, tzinfo=UTC)
        count(history, under_way(status=Status.SENT))
        assert history.sent_today() == 1
        clock.now = datetime(2026, 1, 2, tzinfo=UTC)
        assert history.sent_today() == 0
        count(history, under_way(status=Status.SENT))
        clock.now = datetime(2026, 1, 2, 23, 59, tzinfo=UTC)
        assert history.sent_today() == 1


def bounce(history, count=1, state=LaterState.BOUNCED):
    later = Later(state, NOW)
    for _ in range(count):
        history.count_report(under_way(), under_way().recipients[0], later)


async def test_bounces_are_counted_when_they_are_reported(journal, clock):
    """Other reports are not; the count outlives a restart and is summed over an hour."""
    async with history_of(journal, clock) as history:
        bounce(history, 2)
        bounce(history, state=LaterState.DELAYED)
        clock.now += timedelta(minutes=30)
        bounce(history)
    async with history_of(journal, clock) as history:
        assert [each.bounced for each in history.last(31)] == [2, *[0] * 29, 1]
        assert history.bounced() == 3
        clock.now += timedelta(minutes=31)
        assert history.bounced() == 1


async def test_a_burst_of_bounces_is_a_trouble_until_it_is_over(journal, clock):
    """Many, and a large share of what was sent; over at half of that, so it does not flicker."""
    async with history_of(journal, clock) as history:
        bounce(history, 19)
        assert history.troubles() == ()
        clock.now += timedelta(minutes=10)
        bounce(history)
        (trouble,) = history.troubles()
        assert (trouble.kind, trouble.since) == ("bounces", NOW)
        assert trouble.text.startswith("20 recipients bounced within an hour in which 0 messages")
        bounce(history, 9)
        clock.now += timedelta(minutes=51)
        assert history.bounced() == 10
        assert history.troubles()
        clock.now += timedelta(minutes=10)
        assert history.troubles() == ()


async def test_a_small_share_of_what_was_sent_is_no_burst(journal, clock):
    """Twenty of a thousand are usual."""
    async with history_of(journal, clock) as history:
        for _ in range(1000):
            count(history, under_way(status=Status.SENT))
        bounce(history, 49)
        assert history.troubles() == ()
        bounce(history)
        assert history.troubles()
