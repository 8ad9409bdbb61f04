"""The service: every part of it, put together, with no web in sight."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self

import structlog
from msgspec import Struct

from notifier.capture import Capture, Mailbox
from notifier.compose import Composed, compose, weight
from notifier.deliveries import Delivery, Recipient, Route, Status
from notifier.dispatch import Clock, Dispatcher, utc_now
from notifier.errors import BacklogFull, Draining, JournalUnavailable, NotifierError
from notifier.feed import Feed
from notifier.journal import Backlog, Entry, Idempotency, journal_at
from notifier.messages import Email
from notifier.relayspec import RelaySpec
from notifier.retries import RetryPolicy
from notifier.settings import CAPTURE, Settings
from notifier.smtp import Relay, Relays, RelayState

HEAVY = 256 * 1024  # octets: composing more than this would stall the loop
REFRESH_SECONDS = 2.0  # how old the backlog's figures may be
KEY_LIFETIME = timedelta(hours=24)  # of an idempotency key, after the message is due

log = structlog.get_logger()


class Idempotent(Struct, frozen=True):
    """A caller's idempotency key, what it stands for, and how the answer to keep is written."""

    key: str
    fingerprint: bytes
    render: Callable[[Delivery], bytes]


class Receipt(Struct, frozen=True):
    """What became of a submission: a new delivery, or the answer that was given before."""

    delivery: Delivery | None = None
    replayed: bytes | None = None


class Health(Struct, frozen=True):
    """Whether the service can accept messages, and how it fares."""

    ready: bool
    reasons: tuple[str, ...]
    relays: tuple[RelayState, ...]
    counts: dict[Status, int]
    oldest_due_at: datetime | None
    paused: bool


class Notifier(contextlib.AbstractAsyncContextManager["Notifier"]):
    """
    Takes messages, keeps them, delivers them. Open it before use. Once `submit` returns,
    only a lost disk can lose the message.
    """

    def __init__(self, settings: Settings, *, clock: Clock = utc_now) -> None:
        self.settings = settings
        self.feed = Feed()
        self.journal = journal_at(settings.journal, data_dir=settings.data_dir)
        self.draining = False
        self._draining: asyncio.Task[None] | None = None
        self.mailbox: Mailbox | None = None
        self._clock = clock
        self._parts = contextlib.AsyncExitStack()
        self._composers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compose")
        self._backlog = Backlog(counts={}, oldest_due_at=None)
        self._accepted = 0  # since the backlog's figures were read
        self._rate = 0.0  # messages leaving the backlog, a second
        self._trouble = ""  # why the journal cannot be written; empty: it can

    async def __aenter__(self) -> Self:
        settings = self.settings
        async with contextlib.AsyncExitStack() as parts:
            parts.callback(self._composers.shutdown, wait=False)
            await self.journal.open()
            parts.push_async_callback(self.journal.close)
            self.relays = await self._open_relays(parts)
            self.dispatcher = Dispatcher(
                journal=self.journal,
                transports={Route.RELAY: self.relays},
                retry=RetryPolicy(schedule=settings.retry_schedule),
                feed=self.feed,
                workers=settings.workers,
                window=settings.queue_size,
                clock=self._clock,
            )
            await self._recover()
            self._backlog = await self.journal.backlog()
            self.dispatcher.start()
            parts.push_async_callback(self._stop)
            refreshing = asyncio.create_task(self._refresh(), name="refresh")
            parts.callback(refreshing.cancel)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._parts.aclose()

    async def _open_relays(self, parts: contextlib.AsyncExitStack) -> Relays:
        specs: tuple[RelaySpec, ...] = self.settings.relays or (CAPTURE,)
        if CAPTURE in specs:
            capture = Capture(Path(self.settings.data_dir) / "inbox")
            await parts.enter_async_context(capture)
            self.mailbox = capture.mailbox
            specs = tuple(capture.spec if spec == CAPTURE else spec for spec in specs)
        relays = Relays([Relay(spec) for spec in specs])
        parts.push_async_callback(relays.close)
        return relays

    async def _recover(self) -> None:
        now = self._clock()
        for delivery in await self.journal.recover(partial(Delivery.recovered, now=now)):
            log.warning(
                "recovered_uncertain",
                id=delivery.id,
                status=delivery.status,
                uncertain=delivery.uncertain,
            )

    async def _stop(self) -> None:
        self.drain()
        if self._draining is not None:
            await self._draining

    def drain(self) -> None:
        """Accept nothing more, send nothing more, and let whoever follows the feed go."""
        if not self.draining:
            self.draining = True
            self.feed.close()
            stopping = self.dispatcher.stop(grace=self.settings.grace)
            self._draining = asyncio.create_task(stopping, name="drain")

    async def failed(self) -> BaseException:
        """Wait until the journal is lost for good, and say why."""
        return await self.journal.failed()

    async def submit(
        self, message: Email, *, key: str = "", idempotent: Idempotent | None = None
    ) -> Receipt:
        """
        Take charge of a message. Raises InvalidMessage, IdempotencyMismatch; BacklogFull,
        Draining, JournalUnavailable.
        """
        self._admit()
        now = self._clock()
        id = new_id(now)
        composed = await self._compose(message, id, now)
        delivery = self._delivery(message, composed, id=id, key=key, now=now)
        kept = None
        if idempotent is not None:
            kept = Idempotency(
                scope=key,
                key=idempotent.key,
                fingerprint=idempotent.fingerprint,
                answer=idempotent.render(delivery),
                expires_at=delivery.due_at + KEY_LIFETIME,
            )
        try:
            added = await self.journal.add((Entry(delivery, composed.content),), kept)
        except JournalUnavailable as error:
            self._trouble = str(error)
            raise
        self._trouble = ""
        if added.replayed is not None:
            return Receipt(replayed=added.replayed)
        self._accepted += 1
        self.dispatcher.wake(delivery.route)
        self.feed.publish(delivery)
        for superseded in added.superseded:
            self.feed.publish(superseded)
        return Receipt(delivery)

    def _admit(self) -> None:
        if self.draining:
            raise Draining("the service is stopping", retry_after=10)
        surplus = self._backlog.waiting + self._accepted - self.settings.max_backlog
        if surplus >= 0:
            # As long as it takes, at the rate at which messages leave now, to make room.
            wait = (surplus + 1) / self._rate if self._rate > 0 else 60.0
            raise BacklogFull(
                f"{self.settings.max_backlog} messages are waiting",
                retry_after=int(min(max(wait, 1.0), 3600.0)),
            )

    async def _compose(self, message: Email, id: str, now: datetime) -> Composed:
        sender = self.settings.default_from
        if sender is None and self.mailbox is not None:
            sender = "notifier@localhost"  # so that a first try needs nothing configured
        if weight(message) <= HEAVY:
            return compose(message, id=id, sender=sender, now=now)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._composers, lambda: compose(message, id=id, sender=sender, now=now)
        )

    def _delivery(
        self, message: Email, composed: Composed, *, id: str, key: str, now: datetime
    ) -> Delivery:
        envelope = composed.envelope
        return Delivery(
            id=id,
            channel="email",
            subject=composed.subject,
            sender=envelope.sender,
            recipients=tuple(map(Recipient, envelope.recipients)),
            size=len(composed.content),
            smtputf8=envelope.smtputf8,
            created_at=now,
            due_at=now,
            expires_at=now + timedelta(seconds=self.settings.expire_after),
            on_uncertain=message.on_uncertain,
            warnings=composed.warnings,
            key=key,
            user_id="" if message.user_id is None else str(message.user_id),
            reference=message.reference or "",
            tags=message.tags,
            metadata=message.metadata,
        )

    async def outcome(self, id: str, *, timeout: float) -> Delivery:
        """The delivery once it is final or held, or as it is after `timeout` seconds."""
        with self.feed.subscribe(id) as news, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                delivery: Delivery | None = await self.journal.get(id)
                while delivery is not None and not _at_rest(delivery):
                    delivery = await news.next()
        return await self.journal.get(id)

    async def cancel(self, id: str) -> Delivery:
        """Call off a message that waits. Raises MessageNotFound, WrongState."""
        return await self._amend(id, partial(Delivery.cancelled, now=self._clock()))

    async def retry(self, id: str) -> Delivery:
        """Try again what did not reach everybody. Raises MessageNotFound, WrongState."""
        return await self._amend(id, partial(Delivery.again, now=self._clock()))

    async def send_now(self, id: str) -> Delivery:
        """Make a message that waits due at once. Raises MessageNotFound, WrongState."""
        return await self._amend(id, partial(Delivery.hurried, now=self._clock()))

    async def _amend(self, id: str, step: Callable[[Delivery], Delivery]) -> Delivery:
        delivery = await self.journal.amend(id, step)
        self.feed.publish(delivery)
        self.dispatcher.wake(delivery.route)
        return delivery

    def health(self) -> Health:
        reasons = tuple(
            reason for reason in ("draining" if self.draining else "", self._trouble) if reason
        )
        return Health(
            ready=not reasons,
            reasons=reasons,
            relays=tuple(self.relays.states()),
            counts=self._backlog.counts,
            oldest_due_at=self._backlog.oldest_due_at,
            paused=self.dispatcher.paused,
        )

    async def _refresh(self) -> None:
        """Keep the figures fresh, and find out when a journal in trouble can be written again."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                accepted, before = self._accepted, self._backlog.waiting
                backlog = await self.journal.backlog()
                self._accepted -= accepted
                left = before + accepted - backlog.waiting
                self._rate = max(0.0, left / REFRESH_SECONDS)
                self._backlog = backlog
                if self._trouble:
                    await self.journal.put("probe", self._clock().isoformat())
                    self._trouble = ""
            except NotifierError as error:
                self._trouble = str(error)


def new_id(now: datetime) -> str:
    """A public id that sorts by time and cannot be guessed."""
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def _at_rest(delivery: Delivery) -> bool:
    return delivery.status.final or delivery.status is Status.HELD
