"""How many workers and places in the window each queue may have."""

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from notifier.attempts import Transport
from notifier.deliveries import Priority
from notifier.journal import Claim

LARGE_AT_ONCE = (
    8  # how many messages that are too large to be read ahead are in memory and being sent
)

BULK = Priority.BULK
# By priority, then in the order of claiming.
Waiting: TypeAlias = list[tuple[int, int, Claim]]


class Share:
    """The claims of one queue: those that wait in its window, and those under way."""

    def __init__(
        self,
        queue: str,
        transport: Transport,
        *,
        window: int,
        most_bulk: int,
        workers: int | None = None,
    ) -> None:
        """`workers`: that it alone has; None: it takes part in those that all share."""
        self.queue = queue
        self.transport = transport
        self.workers = workers
        self.busy = 0
        self.large_busy = 0
        self.bulk_left = most_bulk  # how many more of the slowest priority may be claimed
        self.stir = asyncio.Event()  # something has changed: look again
        self.claiming = False  # its filler waits for the journal to claim
        self._size = window
        self.small: Waiting = []
        self.large: Waiting = []
        self.full = False  # it waits for free places

    @property
    def ahead(self) -> int:
        return len(self.small) + len(self.large)

    def drain(self) -> list[Claim]:
        claims = [claim for _, _, claim in (*self.small, *self.large)]
        self.small.clear()
        self.large.clear()
        return claims

    def appetite(self) -> int:
        """How many deliveries to claim now."""
        room, ahead = self.transport.room(), len(self.small) + len(self.large)
        if self.transport.paced:  # what waits in the journal can still be overtaken
            return max(0, min(self._size, room - ahead))
        if room + self.busy <= 1:  # resting, or probing with one message
            return min(self._size, room - ahead)
        if ahead > self._size // 2:  # claim in portions, not one by one
            return 0
        return self._size - ahead

    def waits_for_places(self) -> bool:
        """Whether more may be claimed once a worker has taken, or sent, a claim."""
        if self.ahead or self.transport.room() > 0:
            return True
        return self.busy > 0 and not self.transport.paced

    async def wait_for_places(self) -> None:
        """Until more may be claimed, or something else has changed."""
        self.full = True
        await self.stir.wait()
        self.full = False

    def look(self) -> None:
        """Wake a share that waits for free places, because its window has become less full."""
        if not self.busy or (
            len(self.small) + len(self.large) <= self._size // 2 and self.appetite() > 0
        ):
            self.stir.set()


class Shares:
    """
    All shares, by queue.

    The workers are for whichever share has work. Each share but one also has one worker that the
    others cannot take, so that if one queue hangs with all its workers, each other queue still has
    one. The places of large messages are shared in the same way. The slowest priority never gets
    the last common worker. The shares of chains have no part in this: each has as many workers of
    its own, so that one that hangs takes none from the others.
    """

    def __init__(self, transports: Mapping[str, Transport], *, workers: int, window: int) -> None:
        self._window = window
        self._shared = workers
        self._most_bulk = max(1, workers - 1)
        self.by_queue = {
            queue: Share(queue, transport, window=window, most_bulk=self._most_bulk)
            for queue, transport in transports.items()
        }
        self._own = len(self.by_queue) - 1
        self._claimed = 0
        self._waiting = 0  # claims in all windows
        self._idle: deque[asyncio.Future[None]] = deque()  # workers

    def __iter__(self) -> Iterator[Share]:
        return iter(self.by_queue.values())

    def add(self, queue: str, transport: Transport) -> Share:
        """A share for the queue of a chain. It needs `workers` more workers."""
        share = self.by_queue[queue] = Share(
            queue,
            transport,
            window=self._window,
            most_bulk=self._most_bulk,
            workers=self._shared,
        )
        return share

    @property
    def workers(self) -> int:
        """How many workers can be in use."""
        return self._shared + self._own + sum(share.workers or 0 for share in self)

    def take_in(self, share: Share, claims: Iterable[Claim]) -> None:
        """Let a share's claim wait for a worker."""
        for claim in claims:
            self._claimed += 1
            self._waiting += 1
            window = share.large if claim.content is None else share.small
            priority = claim.delivery.priority
            heapq.heappush(window, (priority, self._claimed, claim))
            share.bulk_left -= priority is BULK
            if self._idle:
                self._wake_one()

    async def next(self) -> tuple[Share, Claim]:
        """A worker's next message, which is under way from here on until it is `done`."""
        while not self._waiting or (found := self._ready()) is None:
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            try:
                await idle
            except asyncio.CancelledError:
                if (
                    idle.done() and not idle.cancelled()
                ):  # this worker was woken, so another one must look
                    self._wake_one()
                raise
        share, window = found
        claim = heapq.heappop(window)[2]
        self._waiting -= 1
        share.busy += 1
        share.large_busy += claim.content is None
        if share.full:
            share.look()
        return share, claim

    def done(self, share: Share, claim: Claim) -> None:
        """
        A message is no longer under way, so more may be claimed. The caller then looks for its next
        one.
        """
        share.busy -= 1
        share.large_busy -= claim.content is None
        if claim.delivery.priority is BULK:  # of which only so many are claimed
            share.bulk_left += 1
            share.stir.set()
        elif share.full:
            share.look()

    def drain(self) -> list[Claim]:
        """Remove and return all claims that wait for a worker."""
        self._waiting = 0
        return [claim for share in self for claim in share.drain()]

    def _ready(self) -> tuple[Share, Waiting] | None:
        """The share whose claim is next, and the queue of it. None: none may be sent."""
        found: tuple[Share, Waiting] | None = None
        busy, large_busy = -self._own, 1 - len(self.by_queue)  # of what all share
        for share in self.by_queue.values():
            if share.workers is None:
                busy += share.busy or 1
            large_busy += share.large_busy or 1
        for share in self.by_queue.values():
            if not share.small and not share.large:
                continue
            # Of the workers that it may take, how many are taken.
            taken = busy if share.workers is None else share.busy
            if share.busy and taken >= self._shared:
                continue
            window = share.small
            if (
                share.large
                and (not share.large_busy or large_busy < LARGE_AT_ONCE)
                and (not window or share.large[0] < window[0])
            ):
                window = share.large
            if not window or (found is not None and found[1][0] < window[0]):
                continue
            # The last worker is not for the slowest.
            if window[0][0] < BULK or not share.busy or taken < self._shared - 1:
                found = share, window
        return found

    def _wake_one(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
