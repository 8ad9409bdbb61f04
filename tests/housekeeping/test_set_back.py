"""Due times after the clock was set."""

from datetime import timedelta

from notifier.deliveries import Priority, Route, Status
from notifier.housekeeping.set_back import MOVED, SetBack
from notifier.journal import Filter
from notifier.supervisor import Supervisor
from tests.clocks import Clock
from tests.deliveries import NOW, entry
from tests.waiting import until


async def test_a_clock_set_back_for_several_replicas_moves_due_times_once(journal, monkeypatch):
    """Each replica notices the jump. The first moves the due times, and the others leave them."""
    monkeypatch.setattr("notifier.housekeeping.set_back.CLOCK_SECONDS", 0.01)
    later = NOW + timedelta(hours=3)
    put_off = {"status": Status.DEFERRED, "due_at": later, "priority": Priority.URGENT}
    await journal.add([entry("put off", **put_off)])
    await journal.add([entry("scheduled", status=Status.SCHEDULED, due_at=later)])
    clocks, seen, looked = [Clock(NOW) for _ in range(3)], [], set()
    for each in clocks:
        each.now = NOW + timedelta(minutes=30)
    amend_all = journal.amend_all

    async def noted(which, step):
        seen.append(await amend_all(which, step))
        return seen[-1]

    monkeypatch.setattr(journal, "amend_all", noted)
    replicas = [
        SetBack(
            journal,
            supervisor=Supervisor(),
            clock=each,
            monotonic=lambda number=number: looked.add(number) or 0.0,
        )
        for number, each in enumerate(clocks)
    ]
    for each in replicas:
        await each.__aenter__()
    try:
        await until(lambda: len(looked) == 3)
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


async def test_after_the_clock_was_set_forward_every_route_looks_for_what_is_due(
    journal, monkeypatch
):
    """What became due by the jump is sent at once. A clock that goes on as usual tells nobody."""
    monkeypatch.setattr("notifier.housekeeping.set_back.CLOCK_SECONDS", 0.01)
    told, clock, looked = [], Clock(NOW), []
    journal.arrived = told.extend

    def seconds():
        looked.append(clock.now)
        return 0.0

    watch = SetBack(journal, supervisor=Supervisor(), clock=clock, monotonic=seconds)
    async with watch:
        await until(lambda: len(looked) > 3)
        assert told == []
        clock.now += timedelta(hours=1)
        await until(lambda: set(told) == set(Route))
