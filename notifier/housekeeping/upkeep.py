"""What has to be done every now and then: figures kept fresh, old messages dropped."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Self

import structlog
from msgspec.structs import replace

from notifier.clock import Clock
from notifier.deliveries import Delivery, Status
from notifier.errors import NotifierError, WrongState
from notifier.journal import Backlog, Filter, Journal
from notifier.settings import Settings
from notifier.supervisor import Supervisor

REFRESH_SECONDS = 2.0  # how old the backlog's figures may be
SHORTEST_LOOK_SECONDS = 0.1  # so that what left between two looks at once makes no rate of its own
CLOCK_SECONDS = 1.0  # between two looks at whether the wall clock has been set back,
SET_BACK_SECONDS = 2.0  # by at least so much
PRUNE_SECONDS = 60.0
PRUNE_PAUSE_SECONDS = 0.05  # between portions, so that others get their turn

log = structlog.get_logger()


class Upkeep(contextlib.AbstractAsyncContextManager["Upkeep"]):
    """
    Knows how many messages wait, at which rate they leave, and whether the journal can be
    written; prunes it, and keeps it right when the clock is set back. Runs between entering
    and leaving.
    """

    def __init__(
        self,
        journal: Journal,
        settings: Settings,
        *,
        supervisor: Supervisor | None = None,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        ended: Callable[[Delivery], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._supervisor = supervisor or Supervisor()
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic  # seconds, by a clock that nobody sets
        self._ended = ended  # told of what is held no more
        self._accepted = 0  # since the figures were read
        self._looked_at = monotonic()
        self._looking = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.backlog = Backlog(counts={}, oldest_due_at=None)
        self.rate = 0.0  # messages leaving the backlog, a second
        self.trouble = ""  # why the journal cannot be written; empty: it can

    async def __aenter__(self) -> Self:
        self.backlog = await self._journal.backlog()
        self._looked_at = self._monotonic()
        self._tasks = [
            self._supervisor.start("refresh", self._refresh),
            self._supervisor.start("prune", self._prune),
            self._supervisor.start("clock", self._watch_clock),
        ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        return self.backlog.waiting + self._accepted

    def count(self, accepted: int) -> None:
        self._accepted += accepted
        self.trouble = ""

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the figures anew, as is done every other second."""
        async with self._looking:  # of two at once the second has its own span of time
            await self._look()

    async def _look(self) -> None:
        try:
            accepted, before = self._accepted, self.backlog.waiting
            backlog = await self._journal.backlog()
            self._accepted -= accepted
            now = self._monotonic()
            left = before + accepted - backlog.waiting
            # After an outage the last look may be long ago.
            self.rate = max(0, left) / max(now - self._looked_at, SHORTEST_LOOK_SECONDS)
            self._looked_at = now
            self.backlog = backlog
            if self.trouble:
                # Whether it can be written again is only known by writing.
                await self._journal.put("probe", self._clock().isoformat())
                self.trouble = ""
        except NotifierError as error:
            self.trouble = str(error)

    async def _watch_clock(self) -> None:
        """What waits for its next try must not wait longer because the clock was set back."""
        ahead = self._ahead()
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            now = self._ahead()
            if (by := ahead - now) >= timedelta(seconds=SET_BACK_SECONDS):
                log.warning("clock_set_back", seconds=round(by.total_seconds(), 1))
                step = partial(_set_back, by=by, now=self._clock())
                try:
                    await self._journal.amend_all(Filter(status=_ON_THE_WAY), step)
                except NotifierError:
                    continue  # seen again at the next look
            ahead = now

    def _ahead(self) -> datetime:
        """Of a clock that nobody sets."""
        return self._clock() - timedelta(seconds=self._monotonic())

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            now = self._clock()
            with contextlib.suppress(NotifierError):
                await self.give_up_held(now)
                await self.prune(now)

    async def give_up_held(self, now: datetime) -> None:
        """End what nobody has decided on within its retention."""
        before = now - timedelta(seconds=self._settings.held_retention)
        step = partial(Delivery.undecided, now=now)
        while portion := await self._journal.give_up_held(before, step):
            for delivery in portion:
                log.warning("held_given_up", id=delivery.id, reason=delivery.reason)
                self._ended(delivery)
            await asyncio.sleep(PRUNE_PAUSE_SECONDS)

    async def prune(self, now: datetime, *, told: Callable[[int], None] | None = None) -> int:
        """
        Drop what is past its retention, in portions; how many rows that were. `told` hears
        how many it is after each portion.
        """
        dropped = 0
        while portion := await self._journal.prune(
            finished_before=now - timedelta(seconds=self._settings.retention),
            contents_before=now - timedelta(seconds=self._settings.body_retention),
            now=now,
        ):
            dropped += portion
            if told is not None:
                told(dropped)
            await asyncio.sleep(PRUNE_PAUSE_SECONDS)
        return dropped


MOVED = "clock_set_back"
SAME_JUMP = timedelta(seconds=60)  # what replicas notice within it is one jump of the clock
# What is scheduled waits for a time of day, and leaves when the clock shows it.
_ON_THE_WAY = (Status.QUEUED, Status.DEFERRED)


def _set_back(delivery: Delivery, *, by: timedelta, now: datetime) -> Delivery:
    if delivery.status not in _ON_THE_WAY or delivery.due_at <= now:
        raise WrongState("it does not wait for a time to come")
    # Each replica on a host notices; and what failed half-way is done again.
    if any(each.what == MOVED and abs(each.at - now) < SAME_JUMP for each in delivery.events[-1:]):
        raise WrongState("it has been moved already")
    moved = replace(delivery, due_at=max(now, delivery.due_at - by))
    return moved.with_event(now, MOVED, f"by {by.total_seconds():.0f} s: it is due earlier")
