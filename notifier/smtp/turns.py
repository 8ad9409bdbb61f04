"""Wait for a turn: until a place is free, or for a time; and be told to stop meanwhile."""

import asyncio
from collections import deque


class Turns:
    """First come, first served. Whoever is told to stop gets False instead of a turn."""

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
        """Wait for a time."""
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
        """Let so many look whether it is their turn."""
        while self._waiting and count > 0:
            turn = self._waiting.popleft()
            count -= not turn.done()
            _settle(turn, True)

    def wake_all(self) -> None:
        self.wake(len(self._waiting))

    def stop(self) -> None:
        """Nobody's turn comes any more."""
        for turn in (*self._waiting, *self._timed):
            _settle(turn, False)


def _settle(turn: asyncio.Future[bool], granted: bool) -> None:
    if not turn.done():
        turn.set_result(granted)
