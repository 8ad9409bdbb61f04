"""Who may search when many callers do."""

import asyncio

import pytest

from notifier.journal.searches import Turns


async def waiting(turns, caller, count):
    """Tasks that have asked for a place."""
    tasks = [asyncio.create_task(turns.take(caller)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def served(tasks):
    return [task.done() for task in tasks]


async def test_one_caller_never_has_every_place():
    """However many searches it asks for, another's finds a place at once."""
    turns = Turns("abc")
    many = await waiting(turns, "many", 20)
    assert sum(served(many)) == 2
    one = await waiting(turns, "one", 1)
    assert served(one) == [True]
    assert len({task.result() for task in [*many[:2], *one]}) == 3


async def test_callers_that_wait_are_served_in_turns():
    """A free place goes to the next caller, not to the one that has asked most."""
    turns = Turns("abc")
    many = await waiting(turns, "many", 20)
    others = [task for name in ("x", "y", "z") for task in await waiting(turns, name, 2)]
    assert served(others) == [True, False, False, False, False, False]
    for _ in range(2):
        turns.give_back("many", next(task.result() for task in many if task.done()))
    await asyncio.sleep(0)
    assert served(others) == [True, False, True, False, False, False]
    assert sum(served(many)) == 3
    turns.give_back("y", others[2].result())
    await asyncio.sleep(0)
    assert served(others) == [True, False, True, False, True, False]


async def test_caller_that_stops_waiting_takes_no_turn():
    """Neither before its turn nor at the moment of it."""
    turns = Turns("ab")
    [first] = await waiting(turns, "a", 1)
    late, next_one = await waiting(turns, "a", 2)
    late.cancel()
    turns.give_back("a", first.result())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert next_one.done()
    [cut] = await waiting(turns, "a", 1)
    turns.give_back("a", next_one.result())
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    assert served(await waiting(turns, "b", 1) + await waiting(turns, "a", 1)) == [True, True]
