"""Where messages are handed in: judged, composed, and kept before anybody is told so."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from notifier.clock import Clock
from notifier.compose import weight
from notifier.deliveries import Delivery
from notifier.errors import (
    BacklogFull,
    Draining,
    Fault,
    Forbidden,
    IdempotencyMismatch,
    InvalidMessage,
    JournalUnavailable,
    Rejected,
    TooMany,
    Unavailable,
)
from notifier.housekeeping.upkeep import Upkeep
from notifier.intake.admission import Admission, Admitted, cost
from notifier.intake.rates import Limits
from notifier.journal import Entry, Idempotency, Journal
from notifier.keys import Key
from notifier.messages import Email, Message
from notifier.preflight import Preflight
from notifier.settings import Settings
from notifier.threads import FairThreads

HEAVY = 256 * 1024  # octets: composing more than this would stall the loop
PORTION = 512 * 1024  # octets of a batch that are composed in one turn of the loop
# What a message, and a recipient, costs whatever it holds, as so many octets.
MESSAGE, RECIPIENT = 4096, 512
TEXT_MESSAGE = 64 * 1024  # a long one by a gateway is a dozen mails
KEY_LIFETIME = timedelta(hours=24)  # of an idempotency key, after the last message is due


class Idempotent(Struct, frozen=True):
    """A caller's idempotency key, what it stands for, and how the answer to keep is written."""

    key: str
    fingerprint: bytes
    render: Callable[[Sequence[Delivery | Rejected]], bytes]


class Receipt(Struct, frozen=True):
    """
    What became of a submission: for each message in order its new delivery, or why it was
    turned down; or the answer that was given before under the idempotency key.
    """

    results: tuple[Delivery | Rejected, ...] = ()
    replayed: bytes | None = None

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """Those that were accepted."""
        return tuple(each for each in self.results if isinstance(each, Delivery))


class Intake:
    """
    Once `submit` returns, only a lost disk can lose what it accepted. Raises BacklogFull,
    Draining, JournalUnavailable, TooMany; IdempotencyMismatch, Forbidden.
    """

    def __init__(
        self,
        settings: Settings,
        preflight: Preflight,
        *,
        journal: Journal,
        upkeep: Upkeep,
        accepted: Callable[[Delivery], None],
        zero_configuration: bool,
        clock: Clock,
        threads: FairThreads,
    ) -> None:
        self.draining = False
        self.limits = Limits()
        self.templates = preflight.templates
        self.carriers = preflight.carriers
        self._most = settings.max_backlog
        self._journal = journal
        self._upkeep = upkeep
        self._accepted = accepted
        self._clock = clock
        self._admission = Admission(
            settings,
            templates=self.templates,
            carriers=self.carriers,
            zero_configuration=zero_configuration,
        )
        self._threads = threads

    async def submit(
        self,
        messages: Sequence[Message | Rejected],
        *,
        key: Key | None = None,
        idempotent: Idempotent | None = None,
        strict: bool = True,
        traceparent: str = "",
        by: str = "",
    ) -> Receipt:
        """
        Take charge of messages, all of them in one transaction. Strict: one that cannot be
        sent turns down all, and the first such Rejected is raised if there is but one message,
        else InvalidMessage with each fault under its position. Otherwise the others go.
        `by` is who does it, where that is more than the key.
        """
        marks = {name: value for name, value in (("traceparent", traceparent), ("by", by)) if value}
        try:
            return await self._submit(messages, key, idempotent, strict, marks)
        except IdempotencyMismatch:
            raise
        except (Rejected, Unavailable):
            # What forbids it today may not have stood against it when it was handed in first.
            if idempotent is None or (kept := await self._answered(idempotent, key)) is None:
                raise
            return Receipt(replayed=kept)

    async def _submit(
        self,
        messages: Sequence[Message | Rejected],
        key: Key | None,
        idempotent: Idempotent | None,
        strict: bool,
        marks: Mapping[str, str],
    ) -> Receipt:
        self._admit(len(messages))
        if key is None or (key.rate is None and key.daily is None):
            return await self._accept(messages, key, idempotent, strict, marks)
        with Toll(self.limits, key) as toll:
            toll.take(sum(map(cost, messages)))
            return await self._accept(messages, key, idempotent, strict, marks, toll)

    async def _answered(self, idempotent: Idempotent, key: Key | None) -> bytes | None:
        """The answer that the same request was given before; None: it was not."""
        try:
            return await self._journal.answer(
                _scope(key), idempotent.key, idempotent.fingerprint, now=self._clock()
            )
        except JournalUnavailable:
            return None

    async def _accept(
        self,
        messages: Sequence[Message | Rejected],
        key: Key | None,
        idempotent: Idempotent | None,
        strict: bool,
        marks: Mapping[str, str],
        toll: "Toll | None" = None,
    ) -> Receipt:
        now = self._clock()
        admitted = await self._all_admitted(messages, key, now)
        entries = [each.entry if isinstance(each, Admitted) else each for each in admitted]
        if marks:
            entries = [_marked(each, marks) for each in entries]
        refused = [each for each in entries if isinstance(each, Rejected)]
        if strict and refused:
            raise refused[0] if len(messages) == 1 else _together(entries)
        results = tuple(each.delivery if isinstance(each, Entry) else each for each in entries)
        kept = [each for each in entries if isinstance(each, Entry)]
        if toll is not None:
            price = sum(each.cost for each in admitted if isinstance(each, Admitted))
            toll.take(price)
        replayed = await self._keep(kept, _key_for(idempotent, key, results, now))
        if replayed is not None:
            return Receipt(replayed=replayed)
        if toll is not None:
            toll.spent = price
        return Receipt(results)

    async def preview(self, message: Message, *, key: Key | None = None) -> Entry:
        """What would be sent; it counts as if it were. Raises as `submit` does."""
        self.charge(key, cost(message))
        admitted = await self._admitted(message, key, self._clock())
        if isinstance(admitted, Rejected):
            raise admitted
        return admitted.entry

    def charge(self, key: Key | None, n: int = 1) -> None:
        """Take so much of the key's rate, for work that ends in no message. Raises as `Toll`."""
        if key is not None and (key.rate is not None or key.daily is not None):
            with Toll(self.limits, key) as toll:
                toll.take(n)
                toll.spent = n

    def _admit(self, count: int) -> None:
        if self.draining:
            raise Draining("the service is stopping", retry_after=10)
        surplus = self._upkeep.waiting + count - self._most
        if surplus > 0:
            # As long as it takes, at the rate at which messages leave now, to make room.
            wait = surplus / self._upkeep.rate if self._upkeep.rate > 0 else 60.0
            raise BacklogFull(
                f"{self._upkeep.waiting} messages are waiting, and {self._most} may",
                retry_after=int(min(max(wait, 1.0), 3600.0)),
            )

    async def _all_admitted(
        self, messages: Sequence[Message | Rejected], key: Key | None, now: datetime
    ) -> list[Admitted | Rejected]:
        """In portions, so that a batch holds up nobody however its weight is spread over it."""
        admitted: list[Admitted | Rejected] = []
        load = 0
        for message in messages:
            load += (its := _load(message))
            if load > PORTION and admitted:
                await asyncio.sleep(0)
                load = its
            admitted.append(await self._admitted(message, key, now))
        return admitted

    async def _admitted(
        self, message: Message | Rejected, key: Key | None, now: datetime
    ) -> Admitted | Rejected:
        if isinstance(message, Rejected):
            return message
        id = new_id(now)
        try:
            if message.template is None and (
                not isinstance(message, Email) or weight(message) <= HEAVY
            ):
                return self._admission.admit(message, id=id, key=key, now=now)
            return await self._threads.run(
                _scope(key), lambda: self._admission.admit(message, id=id, key=key, now=now)
            )
        except Rejected as error:
            return error.bare()

    async def _keep(self, entries: list[Entry], kept: Idempotency | None) -> bytes | None:
        if not entries and kept is None:
            return None
        try:
            added = await self._journal.add(entries, kept)
        except JournalUnavailable as error:
            self._upkeep.trouble = str(error)
            raise
        if added.replayed is not None:
            return added.replayed
        self._upkeep.count(len(entries))
        for entry in entries:
            self._accepted(entry.delivery)
        for superseded in added.superseded:
            self._accepted(superseded)
        return None


def _load(message: Message | Rejected) -> int:
    """About what it costs to compose, in octets gone through."""
    if not isinstance(message, Email):
        return TEXT_MESSAGE
    crowd = len(message.to) + len(message.cc) + len(message.bcc)
    return MESSAGE + weight(message) + crowd * RECIPIENT


class Toll:
    """
    What one submission takes of its key's rate. When it is left, all that was not spent is
    given back.
    """

    def __init__(self, limits: Limits, key: Key) -> None:
        self.spent = 0
        self._taken = 0
        self._limits = limits
        self._key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limits.refund(self._key.name, self._taken - self.spent)

    def take(self, n: int) -> None:
        """
        Take so much in all, if it is more than was taken before. Raises TooMany; Forbidden
        where to wait would be no use.
        """
        if n <= self._taken:
            return
        key = self._key
        self._limits.refund(key.name, self._taken)
        self._taken = 0
        verdict = self._limits.take(key.name, rate=key.rate, daily=key.daily, n=n)
        if verdict.allowed:
            self._taken = n
        elif verdict.possible:
            raise TooMany(
                verdict.reason, retry_after=verdict.retry_after, headers=verdict.headers()
            )
        else:
            raise Forbidden(verdict.reason)


def _marked(entry: Entry | Rejected, marks: Mapping[str, str]) -> Entry | Rejected:
    if isinstance(entry, Rejected):
        return entry
    return replace(entry, delivery=replace(entry.delivery, **marks))


def new_id(now: datetime) -> str:
    """A public id that sorts by time and cannot be guessed."""
    return f"{int(now.timestamp() * 1000):012x}{os.urandom(10).hex()}"


def _scope(key: Key | None) -> str:
    """Whose idempotency keys they are: two callers may use the same one."""
    return "" if key is None else key.name


def _key_for(
    idempotent: Idempotent | None,
    key: Key | None,
    results: Sequence[Delivery | Rejected],
    now: datetime,
) -> Idempotency | None:
    if idempotent is None:
        return None
    due = max((each.due_at for each in results if isinstance(each, Delivery)), default=now)
    return Idempotency(
        scope=_scope(key),
        key=idempotent.key,
        fingerprint=idempotent.fingerprint,
        answer=idempotent.render(results),
        expires_at=due + KEY_LIFETIME,
    )


def _together(entries: Sequence[Entry | Rejected]) -> InvalidMessage:
    """Every fault of a batch, each under its message's position."""
    faults = []
    for position, entry in enumerate(entries):
        if isinstance(entry, InvalidMessage):
            faults += [fault.within(position) for fault in entry.faults]
        elif isinstance(entry, Rejected):
            faults.append(Fault(f"/{position}", str(entry)))
    return InvalidMessage(*faults)
