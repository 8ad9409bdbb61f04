"""Figures of the queue, and due times after the clock was set back."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from notifier.alerts import conditions
from notifier.alerts.conditions import ENOUGH_DISK_BYTES, LOW_DISK_BYTES, Conditions
from notifier.deliveries import Priority, Route, Status
from notifier.housekeeping.figures import Figures
from notifier.housekeeping.health import Health
from notifier.housekeeping.pruning import Pruning
from notifier.housekeeping.set_back import MOVED, SetBack
from notifier.journal import Backlog, Filter, journal_at
from notifier.settings import Settings
from notifier.supervisor import Supervisor
from tests.clocks import Clock
from tests.deliveries import NOW, entry
from tests.waiting import until

WELL = Health(
    ready=True, reasons=(), relays=(), counts={}, oldest_due_at=None, paused=False, held_since=None
)

RELAY = Route.RELAY


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
    figures = Figures(journal, supervisor=Supervisor(), clock=Clock(NOW), monotonic=seconds)
    journal.waiting = 120
    await figures.refresh()
    figures.count(30)
    journal.waiting = 50
    seconds.now += since
    await figures.refresh()
    assert figures.rate == rate


async def test_what_is_accepted_while_the_figures_are_read_waits():
    """They do not know of it yet; without it more would be let in than may wait."""
    journal = Counts()
    figures = Figures(journal, supervisor=Supervisor(), clock=Clock(NOW))
    journal.gate.clear()
    look = asyncio.create_task(figures.refresh())
    await until(lambda: journal.asked)
    figures.count(1)
    journal.gate.set()
    await look
    assert figures.waiting == 1


async def test_two_looks_at_once_count_nothing_twice():
    """A message accepted during two concurrent readings counts once as waiting."""
    journal = Counts()
    figures = Figures(journal, supervisor=Supervisor(), clock=Clock(NOW))
    figures.count(5)
    journal.waiting = 5
    journal.gate.clear()
    looks = asyncio.gather(figures.refresh(), figures.refresh())
    await until(lambda: journal.asked)
    figures.count(1)
    journal.waiting = 6
    journal.gate.set()
    await looks
    assert figures.waiting == 6
    assert figures.backlog.waiting == 6


@pytest.fixture(params=["sqlite", "postgres"])
async def journal(request, tmp_path):
    url = f"sqlite:{tmp_path}/notifier.db"
    if request.param == "postgres":
        url = await request.getfixturevalue("postgres").database()
    journal = journal_at(url, data_dir="")
    await journal.open()
    yield journal
    await journal.close()


async def test_a_clock_set_back_for_several_replicas_moves_due_times_once(journal, monkeypatch):
    """Each replica notices the jump. The first moves the due times, and the others leave them."""
    monkeypatch.setattr("notifier.housekeeping.set_back.CLOCK_SECONDS", 0.01)
    later = NOW + timedelta(hours=3)
    put_off = {"status": Status.DEFERRED, "due_at": later, "priority": Priority.URGENT}
    await journal.add([entry("put off", **put_off)])
    await journal.add([entry("scheduled", status=Status.SCHEDULED, due_at=later)])
    clocks, seen = [Clock(NOW) for _ in range(3)], []
    for each in clocks:
        each.now = NOW + timedelta(minutes=30)
    amend_all = journal.amend_all

    async def noted(which, step):
        seen.append(await amend_all(which, step))
        return seen[-1]

    monkeypatch.setattr(journal, "amend_all", noted)
    replicas = [
        SetBack(journal, supervisor=Supervisor(), clock=each, monotonic=lambda: 0.0)
        for each in clocks
    ]
    for each in replicas:
        await each.__aenter__()
    try:
        await asyncio.sleep(0)
        for each in clocks:
            each.now -= timedelta(hours=1)
        await until(lambda: len(seen) == 3)
    finally:
        for each in replicas:
            await each.__aexit__(None, None, None)
    assert sorted(seen) == [0, 0, 1]
    moved = await journal.get("put off")
    assert moved.due_at == later - timedelta(hours=1)
    assert [each.what for each in moved.events] == [MOVED]
    assert (await journal.get("scheduled")).due_at == later
    assert (await journal.find(Filter(status=(Status.SCHEDULED,)))).deliveries[0].events == ()


async def test_what_is_held_ends_after_its_retention(journal):
    """A held message expires after its retention and not before, and listeners are called."""
    ended = []
    settings = Settings(held_retention=3600.0)
    pruning = Pruning(
        journal, settings, supervisor=Supervisor(), clock=Clock(NOW), ended=ended.append
    )
    await journal.add([entry("held")])
    [claim] = await journal.claim(RELAY, 1, now=lambda: NOW)
    await journal.record(claim.delivery.held("nobody can know"))
    await pruning.expire_held(NOW + timedelta(seconds=3599))
    assert (await journal.get("held")).status is Status.HELD
    await pruning.expire_held(NOW + timedelta(seconds=3600))
    assert [(each.id, each.status) for each in ended] == [("held", Status.EXPIRED)]
    assert "nobody can know" in (await journal.get("held")).reason
    assert await journal.content("held") == b"content"


def test_what_is_held_for_long_is_an_alert_that_says_until_when():
    """Told past the alert's patience, and over once nothing is held."""
    clock = Clock(NOW)
    watched = Conditions(Settings(alert_after=600.0, held_retention=86400.0), clock=clock)

    def look(since):
        return watched.look(replace(WELL, counts={Status.HELD: 2}, held_since=since))

    name = ("messages_held", "held")
    assert name in look(NOW).unclear
    clock.now = NOW + timedelta(seconds=600)
    since, words = look(NOW).wrong[name]
    assert since == NOW
    ends = (NOW + timedelta(days=1)).strftime("%Y-%m-%d %H:%M")
    assert words == (
        f"2 held messages wait for a decision (retry, cancel or settle); "
        f"the oldest expires at {ends} UTC"
    )
    none = look(None)
    assert name not in none.wrong
    assert name not in none.unclear


def test_a_disk_that_is_hardly_better_is_neither_low_nor_well(monkeypatch):
    """So an alert does not come and go with each file; its end needs a quarter more."""
    watched = Conditions(Settings(), clock=Clock(NOW))

    def seen(free):
        def free_bytes(_):
            if free is None:
                raise FileNotFoundError
            return free

        monkeypatch.setattr(conditions, "free_bytes", free_bytes)
        found = watched.look(WELL)
        return {name for name, _ in found.wrong}, {name for name, _ in found.unclear}

    assert seen(LOW_DISK_BYTES - 1) == ({"disk_low"}, set())
    assert seen(LOW_DISK_BYTES) == (set(), {"disk_low"})
    assert seen(ENOUGH_DISK_BYTES - 1) == (set(), {"disk_low"})
    assert seen(ENOUGH_DISK_BYTES) == (set(), set())
    assert seen(None) == (set(), {"disk_low"})
