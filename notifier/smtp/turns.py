"""The places with a relay, and the sends that wait for one in the order in which they came."""

import asyncio
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING

from notifier.attempts import Envelope

if TYPE_CHECKING:
    from notifier.smtp.transaction import Transaction

AHEAD_SECONDS = 1.0  # that a send stays behind a final dot while another place is free


class Turn:
    """A send that waits."""

    __slots__ = ("ahead", "ahead_since", "envelope", "granted", "paid", "size", "ticket")

    def __init__(self, envelope: Envelope, size: int) -> None:
        self.envelope = envelope
        self.size = size  # octets of the content
        self.granted: asyncio.Future[bool] | None = None
        self.ahead: Transaction | None = None  # its commands, behind another message's dot
        self.ahead_since = 0.0
        self.ticket = 0  # the number of its send, while it is ahead
        self.paid = False  # it counts in the rate already


class Turns:
    """
    First come, first served. A message whose commands have gone ahead takes over the place of the
    message before it. If the commands come to nothing, it is the first in the queue again. Once
    stopped, all get False instead of a turn.
    """

    def __init__(self) -> None:
        self.busy = 0  # places
        self.waiting: deque[Turn] = deque()
        self.ahead: dict[Turn, None] = {}  # in the order of going ahead
        self._timed: set[asyncio.Future[bool]] = set()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # a system call each time, before Python 3.12

    async def next(self, turn: Turn) -> bool:
        """
        Wait until it may look for a place; or until what has gone ahead is answered. Then it has
        a place, and `turn.ahead` is to go on with.
        """
        granted: asyncio.Future[bool] = self._loop.create_future()
        turn.granted = granted
        self.waiting.append(turn)
        try:
            return await granted
        except asyncio.CancelledError:
            if turn in self.waiting:
                self.waiting.remove(turn)
            elif turn.ahead is not None and self.ahead.pop(turn, turn) is turn:
                self.busy -= 1  # it was just given one
            raise

    async def after(self, seconds: float) -> bool:
        """Wait for so many seconds."""
        turn: asyncio.Future[bool] = self._loop.create_future()
        self._timed.add(turn)
        timer = self._loop.call_later(seconds, _settle, turn, True)
        try:
            return await turn
        finally:
            timer.cancel()
            self._timed.discard(turn)

    def go_ahead(self, ahead: "Transaction") -> None:
        """The first has gone ahead."""
        turn = self.waiting.popleft()
        self.ahead[turn] = None
        turn.ahead, turn.ahead_since = ahead, self._loop.time()

    def go_on(self, turn: Turn, ahead: "Transaction") -> bool:
        """What it has sent ahead is answered now. False: it waits for that no more."""
        if turn.ahead is not ahead or turn not in self.ahead:
            return False
        del self.ahead[turn]
        self.busy += 1
        _settle(turn.granted, True)
        return True

    def go_back(self, turn: Turn, ahead: "Transaction") -> None:
        """The commands that it has sent ahead come to nothing."""
        if turn.ahead is ahead and turn in self.ahead:
            del self.ahead[turn]
            turn.ahead = None
            self.waiting.appendleft(turn)

    def wake(self, count: int) -> int:
        """Let so many of those in line go on; how many places are left."""
        while self.waiting and count > 0:
            granted = self.waiting.popleft().granted
            count -= granted is not None and not granted.done()
            _settle(granted, True)
        return count

    def bring_back(self, now: float) -> float | None:
        """
        Have the first that is ahead, if it is so for too long, wait for any place; else the time
        when it will be. None: nobody is ahead.
        """
        turn = next(iter(self.ahead), None)
        if turn is None or turn.ahead is None:
            return None
        if (until := turn.ahead_since + AHEAD_SECONDS) <= now:
            self.go_back(turn, turn.ahead)
        return until

    def wake_all(self) -> None:
        self.wake(len(self.waiting))

    def stop(self) -> None:
        """End all waits."""
        for turn in (*self.waiting, *self.ahead):
            _settle(turn.granted, False)
        self.waiting.clear()
        self.ahead.clear()
        for timed in self._timed:
            _settle(timed, False)


def _settle(turn: asyncio.Future[bool] | None, granted: bool) -> None:
    if turn is not None and not turn.done():
        turn.set_result(granted)
