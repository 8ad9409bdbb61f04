"""
Accepted, sent and failed messages by the minute over the last day, which each process keeps for
itself in the journal.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from notifier.clock import Clock
from notifier.deliveries import Delivery
from notifier.errors import NotifierError
from notifier.housekeeping.health import Trouble
from notifier.journal import Journal
from notifier.journal.statements import Statement
from notifier.metrics import Tally
from notifier.recipients import Later, LaterState, Recipient
from notifier.supervisor import Background, Supervisor

KEPT_MINUTES = 24 * 60
SAVE_SECONDS = 10.0  # the figures that a kill may lose
# Bounces within an hour of which a person must know: so many, and such a share of what was sent.
BURST, BURST_SHARE = 20, 0.05
LATE_MINUTES = 15  # how late another replica's figures of a minute may be
KEEP = """
    INSERT INTO minutes (minute, process, accepted, sent, failed, waiting, bounced)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (minute, process) DO UPDATE SET accepted = excluded.accepted,
        sent = excluded.sent, failed = excluded.failed, waiting = excluded.waiting,
        bounced = excluded.bounced
"""
FORGET = "DELETE FROM minutes WHERE minute < ?"
SUMMED = """
    SELECT minute, CAST(sum(accepted) AS BIGINT), CAST(sum(sent) AS BIGINT),
        CAST(sum(failed) AS BIGINT), max(waiting), CAST(sum(bounced) AS BIGINT)
    FROM minutes WHERE minute >= ? AND process <> ? GROUP BY minute ORDER BY minute
"""


class Minute(Struct):
    """One minute's figures. `waiting` is how many messages waited at its end, or wait now."""

    at: datetime
    accepted: int = 0
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    bounced: int = 0  # recipients of messages that were sent, perhaps long before


async def keep(
    journal: Journal, process: str, minutes: Sequence[Minute], *, forget_before: datetime
) -> None:
    """
    Keep what the process has counted in each of these minutes, in place of what it had counted so
    far. Minutes before `forget_before` are dropped.
    """
    kept = (
        (minute_of(m.at), process, m.accepted, m.sent, m.failed, m.waiting, m.bounced)
        for m in minutes
    )
    forget = Statement(FORGET, (minute_of(forget_before),))
    await journal.execute(*(Statement(KEEP, values) for values in kept), forget)


async def summed(journal: Journal, since: datetime, *, but: str) -> list[Minute]:
    """The sums over all processes but one, for the minutes that have any."""
    rows = await journal.query(SUMMED, minute_of(since), but)
    return [Minute(start_of(minute), *figures) for minute, *figures in rows]


def minute_of(at: datetime) -> int:
    """Minutes since 1970, UTC."""
    return int(at.timestamp()) // 60


def start_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


class History(Background):
    """
    Keeps by the minute what the tally counts between entering and leaving; it survives restarts.

    Each process keeps its own minutes in the journal, so that replicas do not overwrite each other.
    The figures shown are the sum over all processes, as new as their last write.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        tally: Tally,
        waiting: Callable[[], int],
        supervisor: Supervisor | None = None,
        clock: Clock,
    ) -> None:
        self._journal = journal
        super().__init__(supervisor or Supervisor(), {"history": self._keep_saving})
        self._tally = tally
        self._noted = tally.totals  # what is in a minute already
        self._waiting = waiting
        self._clock = clock
        self._process = secrets.token_hex(8)  # identifies this process's counts
        self._own: dict[int, Minute] = {}  # by minutes since 1970
        self._others: dict[
            int, Minute
        ] = {}  # including what this process name counted before a restart
        self._unsaved: set[int] = set()
        self._bursting = False

    async def __aenter__(self) -> Self:
        await self._look(minute_of(self._clock()) - KEPT_MINUTES)
        return await super().__aenter__()

    async def __aexit__(self, *exc_info: object) -> None:
        await super().__aexit__(*exc_info)
        with contextlib.suppress(NotifierError):
            await self.save()

    def note(self, number: int) -> None:
        """What the tally has counted since the last look belongs to this minute."""
        totals = self._tally.totals
        if totals != self._noted:
            minute = self._minute(number)
            minute.accepted += totals[0] - self._noted[0]
            minute.sent += totals[1] - self._noted[1]
            minute.failed += totals[2] - self._noted[2]
            self._noted = totals

    def count_report(self, _: Delivery, __: Recipient, later: Later) -> None:
        """Count what was reported of a recipient."""
        if later.state is LaterState.BOUNCED:
            self._minute(minute_of(self._clock())).bounced += 1

    def last(self, minutes: int) -> list[Minute]:
        """The last minutes, oldest first, including minutes in which nothing happened."""
        now = minute_of(self._clock())
        self.note(now)
        first = now - min(minutes - 1, KEPT_MINUTES)
        earlier = max((n for n in {*self._own, *self._others} if n < first), default=None)
        waiting = 0 if earlier is None else self._sum(earlier).waiting
        found = []
        for number in range(first, now + 1):
            minute = self._sum(number)
            if number in self._own or number in self._others:
                waiting = minute.waiting
            minute.waiting = waiting
            found.append(minute)
        found[-1].waiting = self._waiting()
        return found

    def bounced(self) -> int:
        """Recipients that bounced within the last hour."""
        return sum(each.bounced for each in self.last(60))

    def troubles(self) -> tuple[Trouble, ...]:
        """A burst of bounces, as an alert: many within an hour, beside what was sent in it."""
        hour = self.last(60)
        bounced, sent = sum(each.bounced for each in hour), sum(each.sent for each in hour)
        least = max(BURST, sent * BURST_SHARE)
        # It is over at half of that, so that the alert does not come and go.
        self._bursting = bounced >= (least / 2 if self._bursting else least)
        if not self._bursting:
            return ()
        since = next(each.at for each in hour if each.bounced)
        text = f"{bounced} recipients bounced within an hour in which {sent} messages were sent"
        return (Trouble("bounces", "recipients", since, text),)

    def sent_today(self) -> int:
        """Messages sent since midnight, UTC."""
        self.note(minute_of(self._clock()))
        midnight = self._clock().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        both = (*self._own.values(), *self._others.values())
        return sum(each.sent for each in both if each.at >= midnight)

    async def save(self) -> None:
        """
        Write what is new to the journal in one write, and read what other processes counted. What
        is counted meanwhile is written next time. Raises JournalUnavailable.
        """
        now = minute_of(self._clock())
        self.note(now)
        unsaved, self._unsaved = self._unsaved, set()
        if now in unsaved:
            self._own[now].waiting = self._waiting()
        if unsaved:
            minutes = [replace(self._own[number]) for number in sorted(unsaved)]
            oldest = start_of(now - KEPT_MINUTES)
            try:
                await keep(self._journal, self._process, minutes, forget_before=oldest)
            except BaseException:
                self._unsaved |= unsaved
                raise
        await self._look(now - LATE_MINUTES)

    async def _keep_saving(self) -> None:
        while True:
            now = self._clock().timestamp()
            await asyncio.sleep(min(SAVE_SECONDS, 60 - now % 60))
            self.note(int(now) // 60)
            with contextlib.suppress(NotifierError):
                await self.save()
            self._forget()

    async def _look(self, since: int) -> None:
        found = await summed(self._journal, start_of(since), but=self._process)
        self._others.update((minute_of(each.at), each) for each in found)

    def _minute(self, number: int) -> Minute:
        self._unsaved.add(number)
        if (minute := self._own.get(number)) is None:
            minute = self._own[number] = Minute(start_of(number))
        return minute

    def _sum(self, number: int) -> Minute:
        total = Minute(start_of(number))
        for each in (self._own.get(number), self._others.get(number)):
            if each is not None:
                total.accepted += each.accepted
                total.sent += each.sent
                total.failed += each.failed
                total.bounced += each.bounced
                total.waiting = max(total.waiting, each.waiting)
        return total

    def _forget(self) -> None:
        oldest = minute_of(self._clock()) - KEPT_MINUTES
        for minutes in (self._own, self._others):
            for number in [each for each in minutes if each < oldest]:
                del minutes[number]
                self._unsaved.discard(number)
