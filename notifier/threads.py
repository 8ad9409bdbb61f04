"""Run work that would block the event loop: in threads, or in short turns."""

import asyncio
import contextlib
import threading
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
    Limits how long work in the event loop runs without a pause: `if turn.over: await turn.next()`
    wherever the work may pause.
    """

    def __init__(self) -> None:
        self._ends = time.monotonic() + TURN_SECONDS

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._ends

    async def next(self) -> None:
        """Wait until all that was ready, and what it woke, has had its turn."""
        for _ in range(3):  # a due timer, the task that waits for it, and this one
            await asyncio.sleep(0)
        self._ends = time.monotonic() + TURN_SECONDS


class FairThreads:
    """
    A few threads that callers use in turns. A caller with much work waits for itself; others wait
    for at most one piece of its work.
    """

    def __init__(self, name: str, *, threads: int = 2) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._waiting: OrderedDict[str, deque[Task]] = (
            OrderedDict()
        )  # by caller; the next caller is first

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, caller: str, work: Callable[[], T]) -> T:
        """Run the work in a thread. Work whose caller has gone is not begun."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((work, answer))
        self._begin()
        try:
            return await answer
        finally:
            del answer  # with it in this frame, what the work raises would hold itself

    def _begin(self) -> None:
        while self._free and self._waiting:
            caller, line = self._waiting.popitem(last=False)
            work, answer = line.popleft()
            if line:
                self._waiting[caller] = line  # at the end, because the others are next
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


def in_daemon_thread(name: str, work: Callable[[], T]) -> "asyncio.Future[T]":
    """
    Run the work in a thread of its own. If it hangs, it delays neither other work nor the end of
    the process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(done: Callable[[], None]) -> None:
        if not answer.done():
            done()

    def run() -> None:
        try:
            done = partial(answer.set_result, work())
        except Exception as error:  # noqa: BLE001  the caller gets it
            done = partial(answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, done)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer
