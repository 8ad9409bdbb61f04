"""Figures by the minute: what is counted, and that it outlives a restart."""

from datetime import timedelta

import pytest

from notifier.deliveries import Event, Status
from notifier.history import KEPT_MINUTES, History
from notifier.journal import journal_at
from tests.test_deliveries import NOW, delivery


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def minutes(self, count):
        self.now += timedelta(minutes=count)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def journal(tmp_path):
    journal = journal_at(f"sqlite:{tmp_path}/notifier.db", data_dir=str(tmp_path))
    await journal.open()
    yield journal
    await journal.close()


def history_of(journal, clock):
    return History(journal, waiting=lambda: 7, clock=clock)


def figures(minute):
    return minute.accepted, minute.sent, minute.failed


async def test_each_minute_has_its_own_figures(journal, clock):
    """Accepted once, sent, and given up for whatever reason; other steps are not counted."""
    async with history_of(journal, clock) as history:
        history.count(delivery(status=Status.QUEUED))
        history.count(delivery(status=Status.SENDING))
        history.count(delivery(status=Status.QUEUED, events=(Event(NOW, "hurried"),)))
        clock.minutes(2)
        for status in (Status.SENT, Status.FAILED, Status.EXPIRED, Status.CANCELLED):
            history.count(delivery(status=status))
        assert list(map(figures, history.last(4))) == [(0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 1, 2)]
        assert history.last(1)[0].waiting == 7
        assert history.last(1)[0].at <= clock.now


async def test_figures_outlive_a_restart(journal, clock):
    """What was counted is read again, up to a day ago, and counted on."""
    async with history_of(journal, clock) as history:
        history.count(delivery(status=Status.SENT))
    async with history_of(journal, clock) as history:
        history.count(delivery(status=Status.SENT))
        assert history.last(1)[0].sent == 2
        clock.minutes(1)
    async with history_of(journal, clock) as history:
        assert [each.sent for each in history.last(2)] == [2, 0]
        assert history.last(2)[0].waiting == 7


async def test_a_day_is_kept_and_no_more(journal, clock):
    """The word of the same minute a day ago is written over."""
    async with history_of(journal, clock) as history:
        history.count(delivery(status=Status.SENT))
    clock.minutes(KEPT_MINUTES)
    async with history_of(journal, clock) as history:
        history.count(delivery(status=Status.FAILED))
    clock.minutes(1)
    async with history_of(journal, clock) as history:
        assert len(await journal.kept()) == 1
        assert sum(each.sent for each in history.last(KEPT_MINUTES)) == 0
        assert sum(each.failed for each in history.last(KEPT_MINUTES)) == 1


async def test_today_begins_at_midnight(journal, clock):
    """In UTC."""
    async with history_of(journal, clock) as history:
        history.count(delivery(status=Status.SENT))
        assert history.sent_today() == 1
        clock.now = clock.now.replace(hour=0, minute=0) + timedelta(days=1)
        assert history.sent_today() == 0
