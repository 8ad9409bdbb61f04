"""The routes out, and how much of the workers and of the window each may have."""

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeAlias, TypeVar

from notifier.deliveries import Priority
from notifier.dispatch.transports import Transport
from notifier.journal import Claim

LARGE_AT_ONCE = 8  # messages too large to be read ahead: so many are in memory, and being sent

# By priority, then in the order of claiming.
Waiting: TypeAlias = list[tuple[int, int, Claim]]
Route = TypeVar("Route")


class Share:
    """What is claimed for one route: waiting in its window of so many places, and under way."""

    def __init__(self, transport: Transport, *, window: int) -> None:
        self.transport = transport
        self.busy = 0
        self.large_busy = 0
        self.bulk = 0  # claimed of the slowest priority
        self.stir = asyncio.Event()  # something has changed: look again
        self._size = window
        self._small: Waiting = []
        self._large: Waiting = []
        self._full = False  # it waits for places to be free again

    @property
    def ahead(self) -> int:
        return len(self._small) + len(self._large)

    def put(self, claim: Claim, number: int) -> None:
        window = self._large if claim.content is None else self._small
        priority = claim.delivery.priority
        heapq.heappush(window, (priority, number, claim))
        self.bulk += priority is Priority.BULK

    def drain(self) -> list[Claim]:
        claims = [claim for _, _, claim in (*self._small, *self._large)]
        self._small.clear()
        self._large.clear()
        return claims

    def next(self, *, large: bool, bulk: bool) -> Waiting | None:
        """The window whose first claim is to go next, given what may go. None: nothing may."""
        window = self._small
        if large and self._large and (not window or self._large[0] < window[0]):
            window = self._large
        return window if window and (bulk or window[0][0] < Priority.BULK) else None

    def appetite(self) -> int:
        """How many to claim now."""
        room = self.transport.room()
        if self.transport.paced:  # what waits in the journal can still be overtaken
            return max(0, min(self._size, room - self.ahead))
        if room + self.busy <= 1:  # resting, or probing with one message
            return min(self._size, room - self.ahead)
        if self.ahead > self._size // 2:  # claim in portions, not one by one
            return 0
        return self._size - self.ahead

    def waits_for_places(self) -> bool:
        """Whether more may be claimed once a worker has taken, or has sent, what there is."""
        if self.ahead or self.transport.room() > 0:
            return True
        return self.busy > 0 and not self.transport.paced

    async def wait_for_places(self) -> None:
        """Until more may be claimed, or something else has changed."""
        self._full = True
        await self.stir.wait()
        self._full = False

    def look(self) -> None:
        """Places may be free again. Where nothing was due, to claim again would be in vain."""
        if self._full and (not self.busy or self.appetite() > 0):
            self.stir.set()


class Shares(Generic[Route]):
    """
    All shares, by route. So many workers are for whichever shares have something to do, and each
    share but one has another of its own, which the others cannot take: where one hangs with all
    that it could get, each of the others still has a worker. So it is with large messages.
    Of what all share, the slowest priority never gets the last worker.
    """

    def __init__(self, transports: Mapping[Route, Transport], *, workers: int, window: int) -> None:
        self._shares = {
            route: Share(transport, window=window) for route, transport in transports.items()
        }
        self._own = len(self._shares) - 1
        self._shared = workers
        self._claimed = 0
        self._idle: deque[asyncio.Future[None]] = deque()  # workers

    def __iter__(self) -> Iterator[Share]:
        return iter(self._shares.values())

    def items(self) -> Iterable[tuple[Route, Share]]:
        return self._shares.items()

    def of(self, route: Route) -> Share | None:
        """None: it is configured no more."""
        return self._shares.get(route)

    @property
    def workers(self) -> int:
        """How many there are of use."""
        return self._shared + self._own

    def bulk_left(self, share: Share) -> int:
        """How many more of the slowest priority a share may claim."""
        return max(1, self._shared - 1) - share.bulk

    def take_in(self, share: Share, claims: Iterable[Claim]) -> None:
        """What was claimed for a share waits for a worker."""
        for claim in claims:
            self._claimed += 1
            share.put(claim, self._claimed)
            self._wake_one()

    async def next(self) -> tuple[Share, Claim]:
        """A worker's next message, which is under way from here on until it is `done`."""
        while (found := self._ready()) is None:
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            try:
                await idle
            except asyncio.CancelledError:
                if idle.done() and not idle.cancelled():  # it was woken: another must look
                    self._wake_one()
                raise
        share, window = found
        claim = heapq.heappop(window)[2]
        share.busy += 1
        share.large_busy += claim.content is None
        return share, claim

    def done(self, share: Share, claim: Claim) -> None:
        """A message is not under way any more. Whoever calls this looks for the next one."""
        share.busy -= 1
        share.large_busy -= claim.content is None
        share.bulk -= claim.delivery.priority is Priority.BULK

    def drain(self) -> list[Claim]:
        """What waits for a worker, and does so no more."""
        return [claim for share in self for claim in share.drain()]

    def _ready(self) -> tuple[Share, Waiting] | None:
        """The share whose message goes next, and where it is. None: none may go."""
        found: tuple[Share, Waiting] | None = None
        busy = large_busy = -self._own  # of what all share
        for share in self._shares.values():
            busy += share.busy or 1
            large_busy += share.large_busy or 1
        for share in self._shares.values():
            if share.busy and busy >= self._shared:
                continue
            window = share.next(
                large=not share.large_busy or large_busy < LARGE_AT_ONCE,
                bulk=not share.busy or busy < self._shared - 1,
            )
            if window is not None and (found is None or window[0] < found[1][0]):
                found = share, window
        return found

    def _wake_one(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
