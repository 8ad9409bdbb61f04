"""Figures of the queue, in time and beside what is accepted meanwhile."""

import asyncio

import pytest

from notifier.deliveries import Status
from notifier.housekeeping.figures import Figures
from notifier.journal import Backlog
from notifier.metrics import Commits
from notifier.supervisor import Supervisor
from tests.clocks import Clock
from tests.deliveries import NOW
from tests.waiting import until


class Counts:
    """A journal that only says how many wait, when it is let."""

    def __init__(self):
        self.waiting = 0
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def backlog(self):
        self.asked += 1
        waiting = self.waiting
        await self.gate.wait()
        return Backlog({Status.QUEUED: waiting}, None)


class Seconds:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("since", "rate"), [(2, 50.0), (100, 1.0)])
async def test_the_rate_is_a_second_however_long_the_last_look_is_ago(since, rate):
    """Messages that left, by the seconds in which they did."""
    journal, seconds = Counts(), Seconds()
    figures = Figures(
        journal, commits=Commits(), supervisor=Supervisor(), clock=Clock(NOW), monotonic=seconds
    )
    journal.waiting = 120
    await figures.refresh()
    figures.waiting += 30
    journal.waiting = 50
    seconds.now += since
    await figures.refresh()
    assert figures.rate == rate


async def test_messages_accepted_while_figures_are_read_are_counted():
    """They do not know of it yet; without it more would be let in than may wait."""
    journal = Counts()
    figures = Figures(journal, commits=Commits(), supervisor=Supervisor(), clock=Clock(NOW))
    journal.gate.clear()
    look = asyncio.create_task(figures.refresh())
    await until(lambda: journal.asked)
    figures.waiting += 1
    journal.gate.set()
    await look
    assert figures.waiting == 1


async def test_two_looks_at_once_count_nothing_twice():
    """A message accepted during two concurrent readings counts once as waiting."""
    journal = Counts()
    figures = Figures(journal, commits=Commits(), supervisor=Supervisor(), clock=Clock(NOW))
    figures.waiting += 5
    journal.waiting = 5
    journal.gate.clear()
    looks = asyncio.gather(figures.refresh(), figures.refresh())
    await until(lambda: journal.asked)
    figures.waiting += 1
    journal.waiting = 6
    journal.gate.set()
    await looks
    assert figures.waiting == 6
    assert figures.backlog.waiting == 6
