"""What the searches of both journals share: cursors, pages, and turns among callers."""

import asyncio
import base64
import binascii
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from typing import Generic, TypeVar

from notifier.deliveries import Delivery
from notifier.errors import Rejected
from notifier.journal import Filter, Journal

P = TypeVar("P")

MOST_WORDS = 8  # of a search; the rest is ignored


def reads_through(which: Filter) -> bool:
    """Whether no index knows what is searched, so that a page reads only so many rows."""
    return bool(which.q or which.reason)


def cursor_of(*place: int) -> str:
    """The cursor of the page that begins before the row with these numbers."""
    octets = b"".join(each.to_bytes(8, "big") for each in place)
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def place_of(cursor: str, numbers: int) -> tuple[int, ...]:
    """The numbers in a cursor. Raises Rejected."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        octets = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    found = [
        int.from_bytes(octets[start : start + 8], "big", signed=True)
        for start in range(0, len(octets), 8)
    ]
    if len(octets) != 8 * numbers or min(found) < 0:
        raise Rejected("cursor: this is not a cursor that this list returned")
    return tuple(found)


def seq_of(cursor: str | None) -> int | None:
    """The number of a delivery in a cursor. Raises Rejected."""
    return None if cursor is None else place_of(cursor, 1)[0]


async def pages(
    journal: Journal, which: Filter, *, limit: int, by: str
) -> AsyncIterator[Sequence[Delivery]]:
    """All deliveries that match, page by page, the newest first."""
    cursor = None
    while True:
        page = await journal.find(which, limit=limit, cursor=cursor, by=by)
        yield page.deliveries
        if (cursor := page.next_cursor) is None:
            return


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
