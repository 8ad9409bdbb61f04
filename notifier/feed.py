"""Tell whoever wants to know what becomes of each delivery."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeAlias

from msgspec import Struct

from notifier.deliveries import Delivery

ROUND_SECONDS = 0.01  # between two rounds of turns
# What a round may cost, in news: so much is written in less than a tenth of the time.
ROUND_COST = 256
TURN_COST = 20  # of a turn itself, beside each of its news

Listener: TypeAlias = Callable[[Delivery], None]
Waiting: TypeAlias = OrderedDict[asyncio.Future[None], tuple[int, float]]


class News(Struct, gc=False):
    """A delivery as it was then. Whoever writes it first keeps the words for the others."""

    delivery: Delivery
    words: bytes = b""


class Subscription:
    """News of one message since it began, the oldest lost first where its reader falls behind."""

    def __init__(self, *, backlog: int) -> None:
        self._news: deque[Delivery | None] = deque(maxlen=backlog)
        self._waiting: asyncio.Future[None] | None = None

    def put(self, news: Delivery | None) -> None:
        self._news.append(news)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def next(self) -> Delivery | None:
        """The next news; None: the feed has closed."""
        if not self._news:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._news.popleft()


class Gallery:
    """
    Everybody who follows everything. All share the latest news, and take turns to read them: to
    publish costs the same for one as for thousands, and with these it is the news that wait.
    """

    def __init__(self, *, backlog: int, quiet: float) -> None:
        self.published = 0
        self.closed = False
        self._quiet = quiet
        self.size = 0
        self._latest: deque[News] = deque(maxlen=backlog)
        # Who waits for a turn, how much each has read, and since when it waits; longest first.
        self._behind = Waiting()  # came with news unread
        self._abreast = Waiting()  # came with none: whoever is in front has also read the least
        self._round: asyncio.Handle | None = None  # the next one, and
        self._due = 0.0  # when it is
        self._round_at = 0.0  # when the latest was

    def enter(self) -> None:
        self.size += 1

    def leave(self) -> None:
        self.size -= 1
        if not self.size:
            self._latest.clear()

    def publish(self, delivery: Delivery) -> None:
        self.published += 1
        if self.size:
            self._latest.append(News(delivery))
            self._plan()

    def since(self, seen: int) -> list[News]:
        """The news after so many, as far as they are still there."""
        missed = min(self.published - seen, len(self._latest))
        return list(islice(self._latest, len(self._latest) - missed, None))

    async def turn(self, seen: int) -> None:
        """Wait until there are news after so many, or it has been quiet for long; and in line."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        waiting = self._behind if seen < self.published else self._abreast
        waiting[future] = seen, loop.time()
        self._plan()
        try:
            await future
        finally:
            waiting.pop(future, None)

    def close(self) -> None:
        self.closed = True
        for future in (*self._behind, *self._abreast):
            if not future.done():
                future.set_result(None)

    def _next(self) -> Waiting | None:
        """Where the next one is in front: of those with news unread the one that waits longest."""
        if not self._behind or not self._abreast:
            return self._behind or self._abreast or None
        _, behind_since = next(iter(self._behind.values()))
        seen, since = next(iter(self._abreast.values()))
        return self._abreast if seen < self.published and since < behind_since else self._behind

    def _plan(self) -> None:
        """See to it that whoever is next gets a turn when it is time."""
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


class Following:
    """All that is published since it began, in portions; of what waits too long the newest."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._seen = gallery.published

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._gallery.closed and self._seen == self._gallery.published

    async def next(self) -> list[News]:
        """What is new. Nothing: it is quiet, or over."""
        gallery = self._gallery
        if not gallery.closed:
            await gallery.turn(self._seen)
        news = gallery.since(self._seen)
        self._seen = gallery.published
        return news


class Feed:
    """
    Listeners are called at once and must be quick; whoever subscribes or follows reads at
    their own pace. None of them can hold up a delivery.
    """

    def __init__(self, *, backlog: int = 256, quiet: float = 5.0) -> None:
        """Followers get a turn after `quiet` seconds, even where there is nothing to tell."""
        self._backlog = backlog
        self._listeners: list[Listener] = []
        self._gallery = Gallery(backlog=backlog, quiet=quiet)
        self._by_id: dict[str, set[Subscription]] = {}

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, delivery: Delivery) -> None:
        for listener in self._listeners:
            listener(delivery)
        self.forward(delivery)

    def forward(self, delivery: Delivery) -> None:
        """What another replica has done: for subscribers alone. Listeners count what is ours."""
        self._gallery.publish(delivery)
        if self._by_id:
            for subscription in self._by_id.get(delivery.id, ()):
                subscription.put(delivery)

    @property
    def watched(self) -> bool:
        """Whether somebody follows every message."""
        return self._gallery.size > 0

    @property
    def followed(self) -> tuple[str, ...]:
        """The messages that somebody waits for, by id."""
        return tuple(self._by_id)

    @contextlib.contextmanager
    def follow(self) -> Iterator[Following]:
        """All that is published from here on, of every message."""
        self._gallery.enter()
        try:
            yield Following(self._gallery)
        finally:
            self._gallery.leave()

    @contextlib.contextmanager
    def subscribe(self, id: str) -> Iterator[Subscription]:
        """All that is published from here on of one message."""
        subscription = Subscription(backlog=self._backlog)
        group = self._by_id.setdefault(id, set())
        group.add(subscription)
        if self._gallery.closed:
            subscription.put(None)
        try:
            yield subscription
        finally:
            group.discard(subscription)
            if not group:
                self._by_id.pop(id, None)

    def close(self) -> None:
        """End every subscription, so that a server can stop with pages still open."""
        self._gallery.close()
        for group in self._by_id.values():
            for subscription in group:
                subscription.put(None)
