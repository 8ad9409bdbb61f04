"""What was accepted, sent and given up, minute by minute over the last day."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self

from msgspec import Struct

from notifier.clock import Clock
from notifier.deliveries import Delivery, Status
from notifier.errors import NotifierError
from notifier.journal import Journal
from notifier.supervisor import Supervisor

KEPT_MINUTES = 24 * 60
SAVE_SECONDS = 10.0  # what a kill may cost, of figures alone
MINUTE_SECONDS = 60
WORD = "minute:"  # before its place in the ring, in the words that the journal keeps

# Bound once: Python 3.11 takes a tenth of a microsecond to find a member in its enum.
QUEUED, SCHEDULED, SENDING = Status.QUEUED, Status.SCHEDULED, Status.SENDING
SENT, FAILED, EXPIRED = Status.SENT, Status.FAILED, Status.EXPIRED


class Minute(Struct):
    """One minute's figures. `waiting` is how many did at its end, or do now."""

    at: datetime
    accepted: int = 0
    sent: int = 0
    failed: int = 0
    waiting: int = 0


class History(contextlib.AbstractAsyncContextManager["History"]):
    """
    Counts while it is open, and outlives a restart: each minute is a word in the journal, and
    the word of a minute a day ago is written over, so that it never grows.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        waiting: Callable[[], int],
        supervisor: Supervisor | None = None,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._supervisor = supervisor or Supervisor()
        self._waiting = waiting
        self._clock = clock
        self._minutes: dict[int, Minute] = {}  # by minutes since 1970
        self._unsaved: set[int] = set()

    async def __aenter__(self) -> Self:
        for word, value in (await self._journal.kept()).items():
            if word.startswith(WORD):
                number, *figures = map(int, value.split())
                self._minutes[number] = Minute(_moment(number), *figures)
        self._forget()
        self._saving = self._supervisor.start("history", self._keep_saving)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._saving.cancel()
        await asyncio.gather(self._saving, return_exceptions=True)
        with contextlib.suppress(NotifierError):
            await self.save()

    def count(self, delivery: Delivery) -> None:
        """Take note of one step in a delivery's life. Called for each, so it is quick."""
        status = delivery.status
        if status is SENDING:
            return
        if status is QUEUED or status is SCHEDULED:
            if not delivery.attempts and not delivery.events:
                self._now().accepted += 1
        elif status is SENT:
            self._now().sent += 1
        elif status is FAILED or status is EXPIRED:
            self._now().failed += 1

    def last(self, minutes: int) -> list[Minute]:
        """So many, the oldest first, also those in which nothing happened."""
        now = self._number()
        found, waiting = [], 0
        for number in range(now - KEPT_MINUTES, now + 1):
            if minute := self._minutes.get(number):
                waiting = minute.waiting
            found.append(minute or Minute(_moment(number), waiting=waiting))
        found[-1].waiting = self._waiting()
        return found[-minutes:]

    def sent_today(self) -> int:
        """Since midnight, UTC."""
        midnight = self._clock().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return sum(each.sent for each in self._minutes.values() if each.at >= midnight)

    async def save(self) -> None:
        """Keep what is new on disk. Raises JournalUnavailable."""
        while self._unsaved:
            number = self._unsaved.pop()
            each = self._minutes[number]
            if number == self._number():
                each.waiting = self._waiting()
            figures = f"{number} {each.accepted} {each.sent} {each.failed} {each.waiting}"
            try:
                await self._journal.put(f"{WORD}{number % KEPT_MINUTES}", figures)
            except BaseException:
                self._unsaved.add(number)
                raise

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            with contextlib.suppress(NotifierError):
                await self.save()
            self._forget()

    def _now(self) -> Minute:
        number = self._number()
        self._unsaved.add(number)
        if (minute := self._minutes.get(number)) is None:
            minute = self._minutes[number] = Minute(_moment(number))
        return minute

    def _number(self) -> int:
        return int(self._clock().timestamp()) // MINUTE_SECONDS

    def _forget(self) -> None:
        oldest = self._number() - KEPT_MINUTES
        for number in [each for each in self._minutes if each < oldest]:
            del self._minutes[number]
            self._unsaved.discard(number)


def _moment(number: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
