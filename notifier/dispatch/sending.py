"""Sends one claimed delivery, and records its outcome, whatever the journal's state."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

import structlog
from msgspec.structs import replace

from notifier.attempts import PACED, Attempt, Transport
from notifier.clock import Clock
from notifier.deliveries import SENT, WAITING, Delivery
from notifier.dispatch.chained import Chained
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
        self._log = log.bind()  # once: it costs more than a microsecond each time
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
        """Send a claimed delivery, record its outcome, and tell those who listen."""
        claimed = claim.delivery
        if self.trouble:
            await self._working.wait()
        self._feed.publish(claimed)
        delivery, attempts = await self._offer(transport, claimed, claim.content)
        if delivery is None:
            log.warning("claim_lost", id=claimed.id)
            return
        try:
            # The journal has it before the first await, so a cancellation cannot undo it.
            ours = await self._journal.record(delivery)
        except (JournalUnavailable, Rejected) as error:
            delivery, ours = await self._record(delivery, claimed, error)
        if self.trouble:
            self.trouble = ""
            self._working.set()
        if ours:
            self._feed.publish(delivery)
        for attempt in attempts:
            sent = not attempt.failures and delivery.status is SENT
            trace = {"trace_id": delivery.traceparent[3:35]} if delivery.traceparent else {}
            (self._log.info if sent else self._log.warning)(
                "attempt",
                id=delivery.id,
                status=delivery.status,
                relay=attempt.relay,
                stage=attempt.stage,
                code=attempt.code,
                reply=attempt.reply,
                seconds=round(attempt.seconds, 4),
                uncertain=attempt.uncertain,
                **trace,
            )
            for listener in self._attempted:
                listener(delivery, attempt)

    async def _offer(
        self, transport: Transport, delivery: Delivery, content: bytes | None
    ) -> tuple[Delivery | None, Sequence[Attempt]]:
        """What a delivery is after it was offered, and the attempts. None: another has it now."""
        screen, chained, parts, now = self._screen, self._chained, None, self._clock()
        try:
            if delivery.expires_at <= now:
                return self._expiry(now)(delivery), ()
            if self._journal.shared and not await self._journal.still_ours(delivery):
                return None, ()
            if screen is not None and screen.any and screen.looks_again(delivery):
                delivery = await screen.again(delivery)
                if delivery.status.final:
                    return delivery, ()
            content = content or await self._journal.content(delivery.id)
            if delivery.events:
                content = delivery.dated(content)
            if chained is not None and (chained.conditional or delivery.chain):
                parts = chained.parts(delivery)
            if chained is None or parts is None:
                attempts = [await transport.send(delivery.pending, content)]
            else:
                attempts = await chained.send(delivery, parts, content)
        except JournalUnavailable:
            return delivery.released(), ()
        except Exception as error:
            # A fault in the code. The message must not be retried for ever: a person decides.
            log.exception("delivery_crashed", id=delivery.id)
            return delivery.held(f"internal error: {error!r}"), ()
        return self._after(delivery, attempts, in_parts=parts is not None)

    def _after(
        self, delivery: Delivery, attempts: Sequence[Attempt], *, in_parts: bool
    ) -> tuple[Delivery, Sequence[Attempt]]:
        """
        What a delivery is after attempts, and those that count. `in_parts`: each is for some of
        the recipients, by their own chain.
        """
        if not attempts or (attempts[0].failures and attempts[0].unoffered):
            # It goes when there is room, and keeps its place.
            return self._placed(delivery.released()), ()
        now = retry_at = self._clock()
        if in_parts or attempts[0].failures:
            retry_at = self._retry_at(delivery, attempts, now, in_parts=in_parts)
        after = delivery.after(*attempts, retry_at=retry_at, now=now)
        return (self._placed(after) if after.status in WAITING else after), attempts

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

    async def _record(
        self, delivery: Delivery, claimed: Delivery, error: JournalUnavailable | Rejected
    ) -> tuple[Delivery, bool]:
        """
        Record an outcome that could not be written, as soon as that is possible. A delivery that
        the journal refuses is held in its claimed state. Returns what was recorded, and whether it
        was still claimed here.
        """
        refused = False
        while True:
            if isinstance(error, JournalUnavailable):
                log.error("record_failed", id=delivery.id, reason=str(error))
                self.trouble = f"the outcome of a message cannot be recorded: {error}"
                self._working.clear()
                await asyncio.sleep(JOURNAL_SECONDS)
            else:
                log.error("record_refused", id=delivery.id, status=delivery.status, exc_info=error)
                if refused:  # a restart finds the delivery, as uncertain
                    return delivery, False
                refused = True
                why = f"it came out as {delivery.status}, which cannot be recorded; see the log"
                delivery = replace(claimed.held(why), uncertain=claimed.uncertain + 1)
            try:
                return delivery, await self._journal.record(delivery)
            except (JournalUnavailable, Rejected) as again:
                error = again
