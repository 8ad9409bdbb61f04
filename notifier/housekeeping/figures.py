"""The backlog's figures: messages that wait, their rate, and whether the journal is writable."""

import asyncio
import time
from collections.abc import Callable
from typing import Self

from notifier.clock import Clock
from notifier.errors import NotifierError
from notifier.journal import Backlog, Journal
from notifier.metrics import Commits
from notifier.supervisor import Background, Supervisor

REFRESH_SECONDS = 2.0  # how old the backlog's figures may be
SHORTEST_LOOK_SECONDS = (
    0.1  # a rate over a shorter time would be wrong by the few messages that left
)


class Figures(Background):
    """The backlog's figures, read every two seconds between entering and leaving."""

    def __init__(
        self,
        journal: Journal,
        *,
        commits: Commits,
        supervisor: Supervisor,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backlog = Backlog(counts={}, oldest_due_at=None)
        self.waiting = 0  # what was accepted since the backlog was read is in it
        self.rate = 0.0  # messages leaving the backlog, a second
        self.trouble = ""  # why the journal cannot be written; empty: it can
        self._journal = journal
        self._commits = commits
        super().__init__(supervisor, {"refresh": self._refresh})
        self._clock = clock
        self._monotonic = monotonic  # seconds, by the monotonic clock
        self._looked_at = monotonic()
        self._looking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self.backlog = await self._journal.backlog()
        self.waiting = self.backlog.waiting
        self._looked_at = self._monotonic()
        return await super().__aenter__()

    async def _refresh(self) -> None:
        seen = -1.0
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            written = self._commits.sizes.total
            # At rest nothing was written since the last look, and no rate is left to fall.
            if written != seen or self._journal.shared or self.trouble or self.rate:
                seen = written
                await self.refresh()

    async def refresh(self) -> None:
        """Read the figures again."""
        async with self._looking:  # of two at once the second has its own span of time
            await self._look()

    async def _look(self) -> None:
        try:
            before = self.waiting
            backlog = await self._journal.backlog()
            self.waiting += backlog.waiting - before
            now = self._monotonic()
            # After an outage the last reading may be long ago.
            seconds = max(now - self._looked_at, SHORTEST_LOOK_SECONDS)
            self.rate = max(0, before - backlog.waiting) / seconds
            self._looked_at = now
            self.backlog = backlog
            if self.trouble:
                # Only a write shows whether the journal can be written again.
                await self._journal.put("probe", self._clock().isoformat())
                self.trouble = ""
        except NotifierError as error:
            self.trouble = str(error)
