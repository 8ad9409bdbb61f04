"""Takes reports from all sources."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeAlias

import structlog
from msgspec.structs import replace

from notifier.clock import Clock, utc_now
from notifier.deliveries import Delivery
from notifier.errors import BeingSent, MessageNotFound, WrongState
from notifier.feed import Feed
from notifier.journal import Journal
from notifier.journal.shared_secret import RETURN_PATHS, shared_secret
from notifier.later import reported
from notifier.recipients import Later, Recipient
from notifier.reports.classes import class_of
from notifier.reports.matching import Subject, has_token, recipient_of, subject_of
from notifier.reports.report import Finding, Report, Result, Taken
from notifier.threads import FairThreads
from notifier.verp import Verp

# How long a report waits for the outcome of an attempt that is under way.
OUTCOME_SECONDS = 5.0
LONGEST_TEXT = 500

# Called once for each report that was taken, when it is on disk; must be quick.
Listener: TypeAlias = Callable[[Delivery, Recipient, Later], None]

log = structlog.get_logger()


class Reports:
    """
    Takes reports. A report that was taken is on disk; the same report twice counts once.

    Each call raises Unavailable if the same report should be brought again: JournalUnavailable, or
    BeingSent while its message is being sent.
    """

    def __init__(
        self,
        journal: Journal,
        feed: Feed,
        threads: FairThreads,
        *,
        clock: Clock = utc_now,
        outcome_seconds: float = OUTCOME_SECONDS,
    ) -> None:
        self._journal = journal
        self._feed = feed
        self._threads = threads
        self._clock = clock
        self._outcome_seconds = outcome_seconds
        self._verp: Verp | None = None
        self._listeners: list[Listener] = []
        # Those taken since the process started, by state and class.
        self.counts: Counter[tuple[str, str]] = Counter()

    def listen(self, listener: Listener) -> None:
        """Set a listener that gets the delivery and recipient after each report that was taken."""
        self._listeners.append(listener)

    async def is_ours(self, address: str) -> bool:
        """Whether the address has a token of ours."""
        return has_token((address,), await self._tokens())

    async def take(self, mail: bytes, road: str, *, to: Sequence[str] = ()) -> Taken:
        """
        Take a mail that may be a report, of one recipient or of several. `to`: the recipients of
        its envelope, if the source knows them; it is read once, and taken for each of them.
        """
        from notifier.reports.parsing import read_reports

        verp = await self._tokens()
        read = partial(read_reports, mail, road, to, ours=partial(has_token, verp=verp))
        reports = await self._threads.run(f"reports:{road}", read)
        envelope: list[tuple[str, ...]] = [(each,) for each in to] or [()]
        findings = [
            await self._take(replace(each, paths=(*address, *each.paths)))
            for address in envelope
            for each in reports
        ]
        return Taken(tuple(findings) or (Finding(Result.IGNORED, "the mail is not a report"),))

    async def take_event(self, event: Report) -> Taken:
        """Take a report that has been read already, such as a provider's event."""
        return Taken((await self._take(event),))

    async def _take(self, report: Report) -> Finding:
        subject = subject_of(report, await self._tokens())
        if subject is None:
            return Finding(Result.UNKNOWN, "the report names no message of this service")
        try:
            return await self._apply(report, subject)
        except MessageNotFound:
            why = "the report is about a message that this service no longer has, or never had"
            return Finding(Result.UNKNOWN, why, subject.id)
        except WrongState as error:
            return Finding(Result.UNKNOWN, str(error), subject.id)

    async def _apply(self, report: Report, subject: Subject) -> Finding:
        step = _Step(report, subject, self._clock())
        with self._feed.subscribe(subject.id) as changes:
            try:
                async with asyncio.timeout(self._outcome_seconds):
                    while True:
                        try:
                            after = await self._journal.amend(subject.id, step.change)
                            break
                        except BeingSent:
                            if await changes.next() is None:  # the service is stopping
                                raise
            except TimeoutError:
                raise BeingSent(subject.id) from None
        before, recipient, later = step.found
        if after is before:
            return Finding(Result.REPEATED, "", after.id, recipient.address, recipient.later)
        self._publish(before, after, recipient, later)
        return Finding(Result.TAKEN, "", after.id, recipient.address, later)

    def _publish(
        self, before: Delivery, after: Delivery, recipient: Recipient, later: Later
    ) -> None:
        log.info(
            "reported",
            id=after.id,
            recipient=recipient.address,
            state=later.state,
            code=later.code,
            text=later.text,
            road=later.road,
            status=after.status,
        )
        if before.finished_at is not None:
            self._feed.forward(after)  # the end of the delivery was counted before
        else:
            self._feed.publish(after)
        self.counts[later.state.value, class_of(later).value] += 1
        now = next(each for each in after.recipients if each.address == recipient.address)
        for listener in self._listeners:
            listener(after, now, later)

    async def _tokens(self) -> Verp:
        if self._verp is None:
            self._verp = Verp(await shared_secret(self._journal, RETURN_PATHS))
        return self._verp


class _Step:
    """The change of a delivery by one report, and what the last call of it has found."""

    def __init__(self, report: Report, subject: Subject, now: datetime) -> None:
        self._report = report
        self._subject = subject
        self._now = now
        self.found: tuple[Delivery, Recipient, Later]

    def change(self, delivery: Delivery) -> Delivery:
        report, now = self._report, self._now
        recipient = recipient_of(delivery, self._subject, report)
        if recipient is None:
            raise WrongState("the report names none of the message's recipients")
        at = now if report.at is None else min(max(report.at, delivery.created_at), now)
        text = " ".join(report.text.split())[:LONGEST_TEXT]
        later = Later(report.state, at, report.code, text, report.road)
        self.found = delivery, recipient, later
        return reported(delivery, recipient.address, later, now=now)
