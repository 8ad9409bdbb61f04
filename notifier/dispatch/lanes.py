"""The routes out, and how much of the workers and of the window each may have."""

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeAlias, TypeVar

from notifier.attempts import Attempt, Envelope
from notifier.deliveries import Priority
from notifier.journal import Claim

LARGE_AT_ONCE = 8  # messages too large to be read ahead: so many are in memory, and being sent

# By priority, then in the order of claiming.
Waiting: TypeAlias = list[tuple[int, int, Claim]]
Route = TypeVar("Route")


class Transport(Protocol):
    """Whatever can offer an envelope to somebody, and say what came of it."""

    def room(self) -> int:
        """How many more sends may start now. 0: all places are taken, or it rests."""
        ...

    async def wait_for_room(self) -> None: ...

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        """Offer it once. Trouble is told in the attempt, not raised."""
        ...

    def abort_all(self) -> None:
        """Cut off every send under way, so that it returns what is known of it."""
        ...


class Lane:
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
        if room + self.busy <= 1:  # resting, or probing with one message
            return min(self._size, room - self.ahead)
        if self.ahead > self._size // 2:  # claim in portions, not one by one
            return 0
        return self._size - self.ahead

    async def wait_for_places(self) -> None:
        """Until more may be claimed, or something else has changed."""
        self._full = True
        await self.stir.wait()
        self._full = False

    def look(self) -> None:
        """Places may be free again. Where nothing was due, to claim again would be in vain."""
        if self._full and (not self.busy or self.appetite() > 0):
            self.stir.set()


class Lanes(Generic[Route]):
    """
    All lanes, by route. So many workers are for whichever lanes have something to do, and each
    lane but one has another of its own, which the others cannot take: where one hangs with all
    that it could get, each of the others still has a worker. So it is with large messages.
    Of what all share, the slowest priority never gets the last worker.
    """

    def __init__(self, transports: Mapping[Route, Transport], *, workers: int, window: int) -> None:
        self._lanes = {
            route: Lane(transport, window=window) for route, transport in transports.items()
        }
        self._own = len(self._lanes) - 1
        self._shared = workers
        self._claimed = 0
        self._idle: deque[asyncio.Future[None]] = deque()  # workers

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def items(self) -> Iterable[tuple[Route, Lane]]:
        return self._lanes.items()

    def of(self, route: Route) -> Lane | None:
        """None: it is configured no more."""
        return self._lanes.get(route)

    @property
    def workers(self) -> int:
        """How many there are of use."""
        return self._shared + self._own

    def bulk_left(self, lane: Lane) -> int:
        """How many more of the slowest priority a lane may claim."""
        return max(1, self._shared - 1) - lane.bulk

    def take_in(self, lane: Lane, claims: Iterable[Claim]) -> None:
        """What was claimed for a lane waits for a worker."""
        for claim in claims:
            self._claimed += 1
            lane.put(claim, self._claimed)
            self._wake_one()

    async def next(self) -> tuple[Lane, Claim]:
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
        lane, window = found
        claim = heapq.heappop(window)[2]
        lane.busy += 1
        lane.large_busy += claim.content is None
        return lane, claim

    def done(self, lane: Lane, claim: Claim) -> None:
        """A message is not under way any more. Whoever calls this looks for the next one."""
        lane.busy -= 1
        lane.large_busy -= claim.content is None
        lane.bulk -= claim.delivery.priority is Priority.BULK

    def drain(self) -> list[Claim]:
        """What waits for a worker, and does so no more."""
        return [claim for lane in self for claim in lane.drain()]

    def _ready(self) -> tuple[Lane, Waiting] | None:
        """The lane whose message goes next, and where it is. None: none may go."""
        found: tuple[Lane, Waiting] | None = None
        busy = large_busy = -self._own  # of what all share
        for lane in self._lanes.values():
            busy += lane.busy or 1
            large_busy += lane.large_busy or 1
        for lane in self._lanes.values():
            if lane.busy and busy >= self._shared:
                continue
            window = lane.next(
                large=not lane.large_busy or large_busy < LARGE_AT_ONCE,
                bulk=not lane.busy or busy < self._shared - 1,
            )
            if window is not None and (found is None or window[0] < found[1][0]):
                found = lane, window
        return found

    def _wake_one(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
