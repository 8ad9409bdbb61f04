"""Move due times when the wall clock is set back; look for what is due when it is set forward."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog
from msgspec.structs import replace

from notifier.clock import Clock
from notifier.deliveries import Delivery, Route, Status
from notifier.errors import NotifierError, WrongState
from notifier.journal import Filter, Journal
from notifier.supervisor import Background, Supervisor

CLOCK_SECONDS = 5.0  # between two looks at the clock
SHORTEST_JUMP = timedelta(seconds=2)  # a smaller one moves nothing
SAME_JUMP = timedelta(seconds=60)  # jumps that replicas notice within this time are one jump
MOVED = "clock_set_back"
# A scheduled message waits for a time of day, so its due time stays.
PUT_OFF = (Status.QUEUED, Status.DEFERRED)

log = structlog.get_logger()


class SetBack(Background):
    """
    Watches the clock between entering and leaving. A message that waits for its next attempt must
    not wait longer because the clock was set back, and what becomes due because it was set forward
    is sent at once.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        supervisor: Supervisor,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        super().__init__(supervisor, {"clock": self._watch})
        self._clock = clock
        self._monotonic = monotonic  # seconds, by a clock that nobody sets

    async def _watch(self) -> None:
        ahead = self._ahead()
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            now = self._ahead()
            if now - ahead >= SHORTEST_JUMP:
                self._journal.arrived(Route)
            if (by := ahead - now) >= SHORTEST_JUMP:
                log.warning("clock_set_back", seconds=round(by.total_seconds(), 1))
                step = partial(_moved, by=by, now=self._clock())
                try:
                    await self._journal.amend_all(Filter(status=PUT_OFF), step)
                except NotifierError:
                    continue  # the next look sees the jump again
            ahead = now

    def _ahead(self) -> datetime:
        """How far the wall clock is ahead of the monotonic clock."""
        return self._clock() - timedelta(seconds=self._monotonic())


def _moved(delivery: Delivery, *, by: timedelta, now: datetime) -> Delivery:
    if delivery.status not in PUT_OFF or delivery.due_at <= now:
        raise WrongState("the delivery does not wait for a point in time")
    # Each replica on a host notices the jump, and a change that failed half-way is done again.
    if any(each.what == MOVED and abs(each.at - now) < SAME_JUMP for each in delivery.events[-1:]):
        raise WrongState("the delivery was moved before")
    moved = replace(delivery, due_at=max(now, delivery.due_at - by))
    return moved.with_event(
        now, MOVED, f"by {by.total_seconds():.0f} s: the message is due earlier"
    )
