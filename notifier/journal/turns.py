"""Who may search now: a caller's many searches do not hold up the one of another."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

P = TypeVar("P")


class Turns(Generic[P]):
    """
    Places for searches, at least two. One caller never has all of them, and callers that wait
    are served in turns, however many searches each has asked for.
    """

    def __init__(self, places: Sequence[P]) -> None:
        self._free = list(places)
        self._most = len(places) - 1  # of one caller
        self._busy: dict[str, int] = {}
        # By caller; who has been served goes to the end.
        self._waiting: OrderedDict[str, deque[asyncio.Future[P]]] = OrderedDict()

    async def take(self, caller: str) -> P:
        """A place, once it is this caller's turn; it is to be given back."""
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
        """Who has the fewest places first; of several, who was not served for longest."""
        while self._free and (caller := self._next()) is not None:
            self._busy[caller] = self._busy.get(caller, 0) + 1
            self._waiting[caller].popleft().set_result(self._free.pop())
            self._waiting.move_to_end(caller)

    def _next(self) -> str | None:
        for caller in list(self._waiting):
            waiting = self._waiting[caller]
            while waiting and waiting[0].done():  # who has stopped waiting
                waiting.popleft()
            if not waiting:
                del self._waiting[caller]
        first = min(self._waiting, key=lambda each: self._busy.get(each, 0), default=None)
        return first if first is not None and self._busy.get(first, 0) < self._most else None
