"""The feed: tells listeners, subscribers and followers of each change of a delivery."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeAlias

from msgspec import Struct

from notifier.deliveries import Delivery

ROUND_SECONDS = 0.01  # between two rounds of turns
# What a round may cost, in changes: writing them takes less than a tenth of the time.
ROUND_COST = 256
TURN_COST = 20  # of a turn itself, in addition to each of its changes

Listener: TypeAlias = Callable[[Delivery], None]
Waiting: TypeAlias = OrderedDict[asyncio.Future[None], tuple[int, float]]


class Published(Struct, gc=False):
    """A delivery at one moment. The first follower that renders it keeps `event` for the others."""

    delivery: Delivery
    event: bytes = b""


class Subscription:
    """The changes of one message from now on. A slow reader loses the oldest ones first."""

    def __init__(self, *, backlog: int) -> None:
        self._changes: deque[Delivery | None] = deque(maxlen=backlog)
        self._waiting: asyncio.Future[None] | None = None

    def put(self, change: Delivery | None) -> None:
        self._changes.append(change)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def next(self) -> Delivery | None:
        """The next change. None: the feed has closed."""
        if not self._changes:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._changes.popleft()


class Followers:
    """
    All who follow every message. They share one buffer of recent changes and read it in turns, so
    publishing costs the same for one follower as for thousands; with thousands, changes arrive
    later.
    """

    def __init__(self, *, backlog: int, quiet: float) -> None:
        self.published = 0
        self.closed = False
        self._quiet = quiet
        self.size = 0
        self._latest: deque[Published] = deque(maxlen=backlog)
        # Followers that wait for a turn: how much each has read, and since when it waits.
        self._unread = Waiting()  # these had unread changes when they came
        self._up_to_date = Waiting()  # these had none; the first has read the least
        self._round: asyncio.Handle | None = None  # the next round
        self._due = 0.0  # its time
        self._round_at = 0.0  # the time of the latest round

    def enter(self) -> None:
        self.size += 1

    def leave(self) -> None:
        self.size -= 1
        if not self.size:
            self._latest.clear()

    def publish(self, delivery: Delivery) -> None:
        self.published += 1
        self._latest.append(Published(delivery))
        self._plan()

    def since(self, seen: int) -> list[Published]:
        """The changes after the first `seen`, as far as they are still in the buffer."""
        missed = min(self.published - seen, len(self._latest))
        return list(islice(self._latest, len(self._latest) - missed, None))

    async def turn(self, seen: int) -> None:
        """Wait for a turn: until there are changes after `seen`, or for at most `quiet` seconds."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        waiting = self._unread if seen < self.published else self._up_to_date
        waiting[future] = seen, loop.time()
        self._plan()
        try:
            await future
        finally:
            waiting.pop(future, None)

    def close(self) -> None:
        self.closed = True
        for future in (*self._unread, *self._up_to_date):
            if not future.done():
                future.set_result(None)

    def _next(self) -> Waiting | None:
        """The line whose first follower is next: of those with unread changes the oldest."""
        if not self._unread or not self._up_to_date:
            return self._unread or self._up_to_date or None
        _, unread_since = next(iter(self._unread.values()))
        seen, since = next(iter(self._up_to_date.values()))
        return self._up_to_date if seen < self.published and since < unread_since else self._unread

    def _plan(self) -> None:
        """Schedule the next round for the time when its first follower needs a turn."""
        if (waiting := self._next()) is None:
            return
        seen, since = next(iter(waiting.values()))
        at = self._round_at + ROUND_SECONDS if seen < self.published else since + self._quiet
        if self._round is not None:
            if self._due <= at:
                return
            self._round.cancel()
        self._due = at
        self._round = asyncio.get_running_loop().call_at(at, self._give_turns)

    def _give_turns(self) -> None:
        self._round = None
        self._round_at = now = asyncio.get_running_loop().time()
        cost = 0
        while cost < ROUND_COST and (waiting := self._next()) is not None:
            future, (seen, since) = next(iter(waiting.items()))
            if seen == self.published and now < since + self._quiet:
                break
            del waiting[future]
            if not future.done():
                future.set_result(None)
                cost += TURN_COST + min(self.published - seen, len(self._latest))
        self._plan()


class Follower:
    """Reads all changes from now on, in portions. A slow reader loses the oldest ones first."""

    def __init__(self, followers: Followers) -> None:
        self._followers = followers
        self._seen = followers.published

    @property
    def over(self) -> bool:
        """Whether no more changes will come."""
        return self._followers.closed and self._seen == self._followers.published

    async def next(self) -> list[Published]:
        """The new changes. None of them: the feed is quiet, or over."""
        followers = self._followers
        if not followers.closed:
            await followers.turn(self._seen)
        changes = followers.since(self._seen)
        self._seen = followers.published
        return changes


class Feed:
    """
    Listeners are called at once and must be quick. Subscribers (of one message) and followers (of
    all) read at their own pace. None of them can hold up a delivery.
    """

    def __init__(self, *, backlog: int = 256, quiet: float = 5.0) -> None:
        """Followers get a turn after `quiet` seconds, even if nothing has changed."""
        self._backlog = backlog
        self._listeners: list[Listener] = []
        self._followers = Followers(backlog=backlog, quiet=quiet)
        self._by_id: dict[str, set[Subscription]] = {}

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, delivery: Delivery) -> None:
        for listener in self._listeners:
            listener(delivery)
        if self._followers.size or self._by_id:
            self.forward(delivery)

    def forward(self, delivery: Delivery) -> None:
        """Publish another replica's change to all but listeners, which count this one's work."""
        if self._followers.size:
            self._followers.publish(delivery)
        for subscription in self._by_id.get(delivery.id, ()):
            subscription.put(delivery)

    @property
    def watched(self) -> bool:
        """Whether anybody follows all messages."""
        return self._followers.size > 0

    @property
    def followed(self) -> tuple[str, ...]:
        """The ids of the messages that have subscribers."""
        return tuple(self._by_id)

    @contextlib.contextmanager
    def follow(self) -> Iterator[Follower]:
        """Follow all messages from now on."""
        self._followers.enter()
        try:
            yield Follower(self._followers)
        finally:
            self._followers.leave()

    @contextlib.contextmanager
    def subscribe(self, id: str) -> Iterator[Subscription]:
        """Subscribe to one message from now on."""
        subscription = Subscription(backlog=self._backlog)
        group = self._by_id.setdefault(id, set())
        group.add(subscription)
        if self._followers.closed:
            subscription.put(None)
        try:
            yield subscription
        finally:
            group.discard(subscription)
            if not group:
                self._by_id.pop(id, None)

    def close(self) -> None:
        """End every subscription, so that a server can stop with pages still open."""
        self._followers.close()
        for group in self._by_id.values():
            for subscription in group:
                subscription.put(None)
