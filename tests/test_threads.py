"""Work beside the loop: callers have the threads in turns."""

import asyncio
import threading

import pytest

from notifier.threads import FairThreads
from tests.waiting import LIMIT


@pytest.fixture
def threads():
    threads = FairThreads("test", threads=1)
    yield threads
    threads.close()


class Order:
    """Who was served, in order; the first waits until it is let go."""

    def __init__(self):
        self.served = []
        self.begun = threading.Event()
        self.go = threading.Event()

    def first(self):
        self.begun.set()
        self.go.wait(LIMIT)

    def of(self, name):
        return lambda: self.served.append(name)


async def busy(threads, order):
    running = asyncio.create_task(threads.run("a", order.first))
    await asyncio.to_thread(order.begun.wait, LIMIT)
    return running


async def test_heavy_caller_waits_for_itself(threads):
    """Twenty of one caller, then two others with one each: they come after one, not after all."""
    order = Order()
    running = await busy(threads, order)
    all_of_it = [asyncio.ensure_future(threads.run("a", order.of(f"a{n}"))) for n in range(20)]
    all_of_it += [asyncio.ensure_future(threads.run(name, order.of(name))) for name in "bc"]
    await asyncio.sleep(0)
    order.go.set()
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(running, *all_of_it)
    assert order.served[:4] == ["a0", "b", "c", "a1"]
    assert order.served[4:] == [f"a{n}" for n in range(2, 20)]


async def test_work_whose_caller_has_gone_is_not_begun(threads):
    """The next is."""
    order = Order()
    running = await busy(threads, order)
    gone = asyncio.ensure_future(threads.run("a", order.of("gone")))
    stays = asyncio.ensure_future(threads.run("a", order.of("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    order.go.set()
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(running, stays)
    assert order.served == ["stays"]


async def test_exception_of_work_is_raised_and_the_thread_goes_on(threads):
    """One failure is its caller's alone."""
    with pytest.raises(ZeroDivisionError):
        await threads.run("a", lambda: 1 / 0)
    assert await threads.run("a", lambda: 2) == 2
