"""Work that would hold up the event loop: done beside it, or in short turns."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Task: TypeAlias = tuple[Callable[[], Any], "asyncio.Future[Any]"]

TURN_SECONDS = 0.01


class Turn:
    """
    How long a piece of work in the loop may go on, by the clock and not by what the work is
    thought to cost: `if turn.over: await turn.next()` wherever it may pause.
    """

    def __init__(self) -> None:
        self._ends = time.monotonic() + TURN_SECONDS

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._ends

    async def next(self) -> None:
        """Once whatever was ready has had its turn, and who was woken by it."""
        for _ in range(3):  # a timer that is due, the task that waits for it, and then we
            await asyncio.sleep(0)
        self._ends = time.monotonic() + TURN_SECONDS


class FairThreads:
    """
    A few threads, which callers have in turns: one who asks for much waits for itself, and
    anybody else for at most one piece of its work.
    """

    def __init__(self, name: str, *, threads: int = 2) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._waiting: OrderedDict[str, deque[Task]] = OrderedDict()  # by caller, the next first

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, caller: str, work: Callable[[], T]) -> T:
        """What the work returns or raises. Work whose caller has gone is not begun."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((work, answer))
        self._begin()
        return await answer

    def _begin(self) -> None:
        while self._free and self._waiting:
            caller, line = self._waiting.popitem(last=False)
            work, answer = line.popleft()
            if line:
                self._waiting[caller] = line  # at the end: it is the others' turn
            if answer.cancelled():
                continue
            self._free -= 1
            running = asyncio.get_running_loop().run_in_executor(self._executor, work)
            running.add_done_callback(partial(self._ended, answer))

    def _ended(self, answer: "asyncio.Future[Any]", running: "asyncio.Future[Any]") -> None:
        self._free += 1
        if running.cancelled():
            answer.cancel()
        elif error := running.exception():
            if not answer.done():
                answer.set_exception(error)
        elif not answer.done():
            answer.set_result(running.result())
        self._begin()
