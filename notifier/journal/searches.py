"""What the searches of both journals share: cursors, and turns among callers."""

import asyncio
import base64
import binascii
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from notifier.errors import Rejected
from notifier.journal import Filter

P = TypeVar("P")

MOST_WORDS = 8  # of a search; the rest is ignored


def reads_through(which: Filter) -> bool:
    """Whether no index knows what is searched, so that a page reads only so many rows."""
    return bool(which.q or which.reason)


def cursor_of(seq: int) -> str:
    """The cursor of the page that begins before the delivery with this number."""
    return base64.urlsafe_b64encode(seq.to_bytes(8, "big")).decode().rstrip("=")


def seq_of(cursor: str | None) -> int | None:
    """The number in a cursor. Raises Rejected."""
    if cursor is None:
        return None
    try:
        seq = base64.b64decode(cursor + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        seq = b""
    if len(seq) != 8 or seq[0] > 0x7F:
        raise Rejected("cursor: this is not a cursor that a list returned")
    return int.from_bytes(seq, "big")


class Turns(Generic[P]):
    """
    Shares places for searches, at least two, among callers. One caller never has all of them,
    and callers that wait take turns, however many searches each has asked for.
    """

    def __init__(self, places: Sequence[P]) -> None:
        self._free = list(places)
        self._most = len(places) - 1  # of one caller
        self._busy: dict[str, int] = {}
        # By caller. A caller that has been served goes to the end.
        self._waiting: OrderedDict[str, deque[asyncio.Future[P]]] = OrderedDict()

    async def take(self, caller: str) -> P:
        """Wait for a place. The caller gives it back."""
        turn: asyncio.Future[P] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(caller, turn.result())
            raise

    def give_back(self, caller: str, place: P) -> None:
        self._free.append(place)
        self._busy[caller] -= 1
        if not self._busy[caller]:
            del self._busy[caller]
        self._serve()

    def _serve(self) -> None:
        """Serve first the caller with the fewest places; of several, the one served longest ago."""
        while self._free and (caller := self._next()) is not None:
            self._busy[caller] = self._busy.get(caller, 0) + 1
            self._waiting[caller].popleft().set_result(self._free.pop())
            self._waiting.move_to_end(caller)

    def _next(self) -> str | None:
        for caller in list(self._waiting):
            waiting = self._waiting[caller]
            while waiting and waiting[0].done():  # the caller has stopped waiting
                waiting.popleft()
            if not waiting:
                del self._waiting[caller]
        first = min(self._waiting, key=lambda each: self._busy.get(each, 0), default=None)
        return first if first is not None and self._busy.get(first, 0) < self._most else None
