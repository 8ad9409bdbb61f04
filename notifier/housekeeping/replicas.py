"""React to the other replicas on the same journal: to their news, and to claims of dead ones."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from notifier.errors import MessageNotFound, NotifierError
from notifier.feed import Feed
from notifier.journal import Journal, News
from notifier.supervisor import Background, Supervisor

RECOVER_SECONDS = 1.0  # how long the claims of a dead replica may lie there
GATHER_SECONDS = 0.02  # news within this time is handled together
FORWARDED = 200  # changes at once that are shown to those who follow all messages


class Replicas(Background):
    """
    Wakes the dispatcher for messages that other replicas accepted, publishes what they sent, and
    recovers the claims of dead replicas. Runs between entering and leaving, where the journal is
    shared with other replicas.
    """

    def __init__(
        self,
        journal: Journal,
        feed: Feed,
        supervisor: Supervisor,
        *,
        take_over: Callable[[], Awaitable[None]],
        heed_values: Callable[[], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._feed = feed
        super().__init__(supervisor, {"news": self._listen, "take-over": self._keep_taking_over})
        self._take_over = take_over
        self._heed_values = heed_values

    async def _keep_taking_over(self) -> None:
        while True:
            await asyncio.sleep(RECOVER_SECONDS)
            with contextlib.suppress(NotifierError):
                await self._take_over()

    async def _listen(self) -> None:
        while True:
            news = await self._journal.news()
            with contextlib.suppress(
                NotifierError
            ):  # once the journal can be reached, its news says that anything may have changed
                await self._heed(news)
            await asyncio.sleep(GATHER_SECONDS)

    async def _heed(self, news: News) -> None:
        self._journal.arrived(news.routes)
        if news.values:
            await self._heed_values()
        for id in self._asked_for(news):
            with contextlib.suppress(MessageNotFound):
                self._feed.forward(await self._journal.get(id))

    def _asked_for(self, news: News) -> list[str]:
        followed = self._feed.followed
        if news.missed:
            return list(followed)
        wanted = set(followed)
        ids = dict.fromkeys(news.changed)
        others = [id for id in ids if id not in wanted] if self._feed.watched else []
        return [id for id in ids if id in wanted] + others[-FORWARDED:]
