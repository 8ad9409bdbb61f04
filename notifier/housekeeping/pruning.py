"""Delete old messages, and expire those that were held for too long."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from notifier.clock import Clock
from notifier.deliveries import Delivery
from notifier.errors import NotifierError
from notifier.journal import Journal
from notifier.settings import Settings
from notifier.supervisor import Background, Supervisor

PRUNE_SECONDS = 60.0
PAUSE_SECONDS = 0.05  # between portions, so that others get their turn

log = structlog.get_logger()


class Pruning(Background):
    """Prunes the journal every minute between entering and leaving."""

    def __init__(
        self,
        journal: Journal,
        settings: Settings,
        *,
        supervisor: Supervisor,
        clock: Clock,
        ended: Callable[[Delivery], None],
    ) -> None:
        self._journal = journal
        self._settings = settings
        super().__init__(supervisor, {"prune": self._keep_pruning})
        self._clock = clock
        self._ended = ended  # called with each delivery that expired

    async def _keep_pruning(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            now = self._clock()
            with contextlib.suppress(NotifierError):
                await self.expire_held(now)
                await prune(self._journal, self._settings, now)

    async def expire_held(self, now: datetime) -> None:
        """Expire messages that were held past their retention without a decision."""
        before = now - timedelta(seconds=self._settings.held_retention)
        step = partial(Delivery.undecided, now=now)
        while portion := await self._journal.expire_held(before, step):
            for delivery in portion:
                log.warning("held_given_up", id=delivery.id, reason=delivery.reason)
                self._ended(delivery)
            await asyncio.sleep(PAUSE_SECONDS)


async def prune(
    journal: Journal,
    settings: Settings,
    now: datetime,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """
    Delete what is past its retention, in portions. Returns the number of rows. `progress` is called
    with it after each portion.
    """
    dropped = 0
    while portion := await journal.prune(
        finished_before=now - timedelta(seconds=settings.retention),
        contents_before=now - timedelta(seconds=settings.body_retention),
        now=now,
    ):
        dropped += portion
        progress(dropped)
        await asyncio.sleep(PAUSE_SECONDS)
    return dropped
