"""Tell whoever wants to know what becomes of each delivery."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

from notifier.deliveries import Delivery

Listener: TypeAlias = Callable[[Delivery], None]


class Subscription:
    """News since it began, the oldest lost first where its reader falls behind."""

    def __init__(self, *, only: str | None, backlog: int) -> None:
        self.only = only
        self._news: asyncio.Queue[Delivery | None] = asyncio.Queue(backlog)

    def put(self, news: Delivery | None) -> None:
        if self._news.full():
            self._news.get_nowait()
        self._news.put_nowait(news)

    async def next(self) -> Delivery | None:
        """The next news; None: the feed has closed."""
        return await self._news.get()


class Feed:
    """
    Listeners are called at once and must be quick; subscribers read at their own pace.
    Neither can hold up a delivery.
    """

    def __init__(self, *, backlog: int = 256) -> None:
        self._backlog = backlog
        self._listeners: list[Listener] = []
        self._everything: set[Subscription] = set()
        self._by_id: dict[str, set[Subscription]] = {}
        self._closed = False

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, delivery: Delivery) -> None:
        for listener in self._listeners:
            listener(delivery)
        self.forward(delivery)

    def forward(self, delivery: Delivery) -> None:
        """What another replica has done: for subscribers alone. Listeners count what is ours."""
        for subscription in self._everything:
            subscription.put(delivery)
        if self._by_id:
            for subscription in self._by_id.get(delivery.id, ()):
                subscription.put(delivery)

    @property
    def watched(self) -> bool:
        """Whether somebody follows every message."""
        return bool(self._everything)

    @property
    def followed(self) -> tuple[str, ...]:
        """The messages that somebody waits for, by id."""
        return tuple(self._by_id)

    @contextlib.contextmanager
    def subscribe(self, only: str | None = None) -> Iterator[Subscription]:
        """All that is published from here on, of one message or of every one."""
        subscription = Subscription(only=only, backlog=self._backlog)
        group = self._everything if only is None else self._by_id.setdefault(only, set())
        group.add(subscription)
        if self._closed:
            subscription.put(None)
        try:
            yield subscription
        finally:
            group.discard(subscription)
            if only is not None and not group:
                self._by_id.pop(only, None)

    def close(self) -> None:
        """End every subscription, so that a server can stop with pages still open."""
        self._closed = True
        for subscription in (*self._everything, *(s for g in self._by_id.values() for s in g)):
            subscription.put(None)
