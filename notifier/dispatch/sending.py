"""Sends one claimed delivery, and records its outcome, whatever the journal's state."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

import structlog
from msgspec.structs import replace

from notifier.attempts import PACED, Attempt
from notifier.clock import Clock
from notifier.deliveries import WAITING, Delivery, Status
from notifier.dispatch.chained import Chained
from notifier.dispatch.transports import Transport
from notifier.errors import JournalUnavailable, Rejected
from notifier.feed import Feed
from notifier.journal import Change, Claim, Journal
from notifier.retries import RetryPolicy

JOURNAL_SECONDS = 1.0  # between two tries to write to a journal that cannot be written

Attempted: TypeAlias = Callable[[Delivery, Attempt], None]

log = structlog.get_logger()


class Screen(Protocol):
    """Removes suppressed recipients from a delivery that has waited."""

    any: bool  # whether there may be suppressions

    def looks_again(self, delivery: Delivery) -> bool: ...

    async def again(self, delivery: Delivery) -> Delivery: ...


class Sending:
    """
    Sends claimed deliveries. Each is recorded, whatever happens. While an outcome cannot be written
    nothing else is sent: after a crash no one could know whether it had been sent.
    """

    def __init__(
        self,
        journal: Journal,
        feed: Feed,
        *,
        retry: RetryPolicy,
        clock: Clock,
        expiry: Callable[[datetime], Change],
        attempted: Sequence[Attempted],
        chained: Chained | None,
        screen: Screen | None,
    ) -> None:
        self.trouble = ""  # why outcomes cannot be recorded; empty: they can
        self._journal = journal
        self._feed = feed
        self._retry = retry
        self._clock = clock
        self._expiry = expiry
        self._attempted = attempted
        self._chained = chained
        self._screen = screen
        self._working = asyncio.Event()  # outcomes can be recorded
        self._working.set()

    async def send(self, transport: Transport, claim: Claim) -> None:
        """Send a claimed delivery, and record its outcome."""
        delivery, screen = claim.delivery, self._screen
        if self.trouble:
            await self._working.wait()
        self._feed.publish(delivery)
        try:
            if delivery.expires_at <= self._clock():
                return await self._record(self._expiry(self._clock())(delivery), delivery)
            if self._journal.shared and not await self._journal.still_ours(delivery):
                log.warning("claim_lost", id=delivery.id)
                return None
            if screen is not None and screen.any and screen.looks_again(delivery):
                delivery = await screen.again(delivery)
                if delivery.status.final:
                    return await self._record(delivery, claim.delivery)
            attempts, in_parts = await self._offer(transport, delivery, claim.content)
        except JournalUnavailable:
            return await self._record(delivery.released(), delivery)
        except Exception as error:
            # A fault in the code. The message must not be retried for ever: a person decides.
            log.exception("delivery_crashed", id=delivery.id)
            return await self._record(delivery.held(f"internal error: {error!r}"), delivery)
        if not attempts or (attempts[0].failures and attempts[0].unoffered):
            # It goes when there is room, and keeps its place.
            return await self._record(self._placed(delivery.released()), delivery)
        return await self._settle(delivery, attempts, in_parts=in_parts)

    async def _offer(
        self, transport: Transport, delivery: Delivery, content: bytes | None
    ) -> tuple[list[Attempt], bool]:
        """The attempts, and whether each is of a part of the recipients, by its own chain."""
        content = content or await self._journal.content(delivery.id)
        if delivery.events:
            content = delivery.dated(content)
        chained = self._chained
        if (
            chained is not None
            and (chained.conditional or delivery.chain)
            and (parts := chained.parts(delivery)) is not None
        ):
            return await chained.send(delivery, parts, content), True
        return [await transport.send(delivery.pending, content)], False

    async def _settle(
        self, delivery: Delivery, attempts: Sequence[Attempt], *, in_parts: bool
    ) -> None:
        """Record what attempts have led to, log them, and call who listens."""
        now = retry_at = self._clock()
        if in_parts or attempts[0].failures:
            retry_at = self._retry_at(delivery, attempts, now, in_parts=in_parts)
        settled = delivery.after(*attempts, retry_at=retry_at, now=now)
        if settled.status in WAITING:
            settled = self._placed(settled)
        await self._record(settled, delivery)
        trace = {"trace_id": settled.traceparent[3:35]} if settled.traceparent else {}
        for attempt in attempts:
            sent = settled.status is Status.SENT and not attempt.failures
            (log.info if sent else log.warning)(
                "attempt",
                id=settled.id,
                status=settled.status,
                relay=attempt.relay,
                stage=attempt.stage,
                code=attempt.code,
                reply=attempt.reply,
                seconds=round(attempt.seconds, 4),
                uncertain=attempt.uncertain,
                **trace,
            )
            for listener in self._attempted:
                listener(settled, attempt)

    def _retry_at(
        self, delivery: Delivery, attempts: Sequence[Attempt], now: datetime, *, in_parts: bool
    ) -> datetime:
        """When to try again for the recipients that did not get it."""
        if in_parts and all(
            failure.final for each in attempts for failure in each.failures.values()
        ):
            return now  # those who are left have not been tried
        attempt = next((each for each in attempts if each.relay_failed), attempts[-1])
        if attempt.throttled:
            return delivery.due_at if not delivery.throttled else now
        if attempt.accepted and attempt.because(PACED):  # the relay took what its pace allows
            return delivery.due_at
        if attempt.relay_failed:
            return now + timedelta(seconds=delivery.relay_backoff)
        return self._retry.next_try(tries=delivery.tries + 1, now=now)

    def _placed(self, delivery: Delivery) -> Delivery:
        """The delivery, which waits, in the queue of the chain that is to take it next."""
        chained = self._chained
        return delivery if chained is None else chained.placed(delivery, now=self._clock())

    async def _record(self, delivery: Delivery, claimed: Delivery | None) -> None:
        """
        Record an outcome, until it is on disk. The journal has the record before the first await
        here, so a cancellation cannot undo it. A delivery that the journal refuses is held in its
        claimed state.
        """
        while True:
            try:
                ours = await self._journal.record(delivery)
            except JournalUnavailable as error:
                log.error("record_failed", id=delivery.id, reason=str(error))  # noqa: TRY400  the reason is all there is to know
                self.trouble = f"the outcome of a message cannot be recorded: {error}"
                self._working.clear()
                await asyncio.sleep(JOURNAL_SECONDS)
            except Rejected:
                log.exception("record_refused", id=delivery.id, status=delivery.status)
                if claimed is None:  # refused, too: a restart finds the delivery, as uncertain
                    ours = False
                    break
                why = f"it came out as {delivery.status}, which cannot be recorded; see the log"
                delivery = replace(claimed.held(why), uncertain=claimed.uncertain + 1)
                claimed = None
            else:
                break
        if self.trouble:
            self.trouble = ""
            self._working.set()
        if ours:
            self._feed.publish(delivery)
