"""Make sends wait: for a free place with a relay, and for the rate that it allows."""

import asyncio
from collections import deque
from collections.abc import Callable


class Rate:
    """
    So many messages a second, of which one second's share, or one message, may go at once. A
    message that is taken beyond that has to wait until it has come in again.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        """No rate: nothing waits."""
        self._rate = rate
        self._clock = clock
        self._most = max(1.0, rate or 0.0)
        self._left = self._most
        self._at = clock()

    @property
    def available(self) -> float:
        """Messages that may go now."""
        if self._rate is None:
            return float("inf")
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left

    def take(self) -> float:
        """Take one; the seconds to wait before it goes."""
        if self._rate is None:
            return 0.0
        self._left = self.available - 1
        return max(0.0, -self._left / self._rate)

    def wait(self) -> float:
        """Seconds until one more may go."""
        if self._rate is None:
            return 0.0
        return max(0.0, (1 - self.available) / self._rate)


class Turns:
    """Sends that wait, first come, first served. Once stopped, they get False instead of a turn."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._timed: set[asyncio.Future[bool]] = set()

    async def next(self) -> bool:
        """Wait for `wake`."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    async def after(self, seconds: float) -> bool:
        """Wait for so many seconds."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self._timed.add(turn)
        timer = loop.call_later(seconds, _settle, turn, True)
        try:
            return await turn
        finally:
            timer.cancel()
            self._timed.discard(turn)

    def wake(self, count: int) -> None:
        """Let so many of those in line go on."""
        while self._waiting and count > 0:
            turn = self._waiting.popleft()
            count -= not turn.done()
            _settle(turn, True)

    def wake_all(self) -> None:
        self.wake(len(self._waiting))

    def stop(self) -> None:
        """End all waits."""
        for turn in (*self._waiting, *self._timed):
            _settle(turn, False)


def _settle(turn: asyncio.Future[bool], granted: bool) -> None:
    if not turn.done():
        turn.set_result(granted)
