"""Accepts messages: checks and composes them, and puts them into the journal before the answer."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NoReturn, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from notifier.clock import Clock
from notifier.compose import weight
from notifier.deliveries import WAITING, Delivery, Status
from notifier.errors import (
    BacklogFull,
    Draining,
    Fault,
    IdempotencyMismatch,
    InvalidMessage,
    JournalUnavailable,
    Refusal,
    Rejected,
    Unavailable,
)
from notifier.housekeeping.figures import Figures
from notifier.intake.admission import Admission, Admitted, cost
from notifier.intake.allowance import Allowance, Toll
from notifier.intake.rates import Limits, Verdict
from notifier.intake.storms import Brake
from notifier.journal import Entry, Idempotency
from notifier.keys import Key
from notifier.messages import Email, Message, Source
from notifier.preflight import Preflight
from notifier.settings import Settings
from notifier.suppressions import Suppressions
from notifier.threads import FairThreads, Turn

HEAVY = 256 * 1024  # octets: composing more than this would stall the loop
TEXT_MESSAGE = 64 * 1024  # octets; a long one by a gateway is a dozen mails
MOST_FAULTS = 2000  # of a batch that are listed
ID_OCTETS = 10  # of a message's id: so many are random
KEY_LIFETIME = timedelta(hours=24)  # of an idempotency key, after the last message is due


class IdempotencyKey(Struct, frozen=True):
    """A caller's idempotency key, and a digest of the request that it stands for."""

    key: str
    fingerprint: bytes


class Submission(Struct, frozen=True, kw_only=True):
    """
    The new deliveries of submitted messages, in order, and the answer to the request. `replayed`:
    the answer is the one that the same request got before, under its idempotency key; then there
    are no deliveries.
    """

    deliveries: Sequence[Delivery] = ()
    answer: bytes = b""
    replayed: bool = False


# Makes the answer of what became of each message: its new delivery, or the error that refused it.
Render: TypeAlias = Callable[[Sequence[Delivery | Refusal]], bytes]


class Intake:
    """Once `submit` returns, the messages are on disk: only a lost disk can lose them."""

    def __init__(
        self,
        settings: Settings,
        preflight: Preflight,
        *,
        figures: Figures,
        accepted: Callable[[Delivery], None],
        clock: Clock,
        threads: FairThreads,
        suppressions: Suppressions,
    ) -> None:
        self.draining = False
        self.brake = Brake(settings)
        self._limits = Limits()
        self._most = settings.max_backlog
        self._journal = preflight.journal
        self._figures = figures
        self._accepted = accepted
        self._clock = clock
        self._admission = Admission(
            settings, templates=preflight.templates, carriers=preflight.carriers
        )
        self._threads = threads
        self._suppressions = suppressions

    async def submit(
        self,
        messages: Sequence[Message | Rejected],
        *,
        key: Key | None = None,
        idempotency: IdempotencyKey | None = None,
        render: Render = lambda _: b"",
        strict: bool = True,
        traceparent: str = "",
        by: str = "",
    ) -> Submission:
        """
        Check and compose messages, and keep them, all in one transaction, with the answer that
        `render` makes under the idempotency key. If that key has an answer already,
        nothing is added.

        Strict: one message that cannot be sent refuses all. If there is only one message, its
        Rejected is raised, else InvalidMessage with each fault under its position. Not strict: the
        other messages are accepted. `by` is who hands them in, if that is more than the key.
        Raises BacklogFull, Draining, TooMany, RecipientRate, Forbidden, JournalUnavailable,
        IdempotencyMismatch.
        A caller that keeps the messages keeps their memory in use until they are on disk.
        """
        allowance = None
        if self.brake.quota is not None or (key is not None and (key.limited or key.per_recipient)):
            allowance = Allowance(self._toll(key), self.brake.passage(key))
        scope = "" if key is None else key.name  # two callers may use the same idempotency key
        kept = False
        try:
            if self.draining or self._figures.waiting + len(messages) > self._most:
                self._refuse_all(len(messages))
            if allowance is not None:
                allowance.take(messages)
            admitted = await self._all_admitted(
                messages, key=key, strict=strict, traceparent=traceparent, by=by
            )
            del messages
            if allowance is not None:
                admitted = await allowance.held_to(admitted, strict=strict)
            entries = [each for each in admitted if isinstance(each, Admitted)]
            answer = render(
                [each.delivery if isinstance(each, Admitted) else each for each in admitted]
            )
            del admitted
            if not (entries or idempotency):
                return Submission(answer=answer)
            remembered = self._remembered(idempotency, scope, entries, answer)
            added = await self._journal.add(entries, remembered)
            kept = added.replayed is None
        except (Rejected, Unavailable) as error:
            if (before := await self._answer_before(error, scope, idempotency)) is None:
                raise
            return Submission(answer=before, replayed=True)
        finally:
            if allowance is not None and not kept:
                allowance.give_back()
        if added.replayed is not None:
            return Submission(answer=added.replayed, replayed=True)
        deliveries = [entry.delivery for entry in entries]
        self._publish(deliveries, added.superseded, allowance)
        return Submission(deliveries=deliveries, answer=answer)

    def _publish(
        self,
        deliveries: Sequence[Delivery],
        superseded: Sequence[Delivery],
        allowance: Allowance | None,
    ) -> None:
        """Count and publish what the journal has accepted, and what that supersedes."""
        waiting = 0
        for new in deliveries:
            if new.status in WAITING:
                waiting += 1
            else:  # it was accepted all the same
                self._accepted(replace(new, status=Status.QUEUED, finished_at=None, events=()))
            self._accepted(new)
        self._figures.waiting += waiting
        self._figures.trouble = ""
        if self._suppressions.any:
            self._suppressions.tally(deliveries)
        for changed in superseded:
            self._accepted(changed)
        if allowance is not None:
            allowance.keep(superseded)

    async def _answer_before(
        self, error: Rejected | Unavailable, scope: str, asked: IdempotencyKey | None
    ) -> bytes | None:
        """
        The answer that the same request got before it met this error; None where there is none. A
        rule that refuses a message today may not have held when the message was first submitted.
        """
        if isinstance(error, JournalUnavailable):
            self._figures.trouble = str(error)
        if asked is None or isinstance(error, IdempotencyMismatch):
            return None
        try:
            return await self._journal.answer(
                scope, asked.key, asked.fingerprint, now=self._clock()
            )
        except JournalUnavailable:
            return None

    def _remembered(
        self, asked: IdempotencyKey | None, scope: str, entries: Sequence[Entry], answer: bytes
    ) -> Idempotency | None:
        if asked is None:
            return None
        due = max((entry.delivery.due_at for entry in entries), default=self._clock())
        return Idempotency(
            scope=scope,
            key=asked.key,
            fingerprint=asked.fingerprint,
            answer=answer,
            expires_at=due + KEY_LIFETIME,
        )

    async def preview(self, message: Message, *, key: Key | None = None) -> Entry:
        """What would be sent. It counts against the rate. Raises what `submit` raises."""
        self.charge(key, cost(message))
        (admitted,) = await self._all_admitted((message,), key=key, strict=True)
        assert isinstance(admitted, Admitted)  # noqa: S101  else it was raised
        return admitted

    def charge(self, key: Key | None, n: int = 1) -> None:
        """Take `n` from the key's rate for work without a message. Raises what `Toll` raises."""
        if (toll := self._toll(key)) is not None:
            toll.take(n)

    def _toll(self, key: Key | None) -> Toll | None:
        return Toll(self._limits, key) if key is not None and key.limited else None

    def rate_left(self, key: Key) -> Verdict:
        """What is left of the key's rate; takes nothing."""
        return self._limits.take(key.name, rate=key.rate, daily=key.daily, n=0)

    def _refuse_all(self, count: int) -> NoReturn:
        """Raises Draining, or BacklogFull with the time until there is room for so many."""
        if self.draining:
            raise Draining("the service is stopping", retry_after=10)
        surplus = self._figures.waiting + count - self._most
        # At the rate at which messages leave now.
        wait = surplus / self._figures.rate if self._figures.rate > 0 else 60.0
        raise BacklogFull(
            f"{self._figures.waiting} messages are waiting; at most {self._most} may",
            retry_after=int(min(max(wait, 1.0), 3600.0)),
        )

    async def _all_admitted(
        self,
        messages: Sequence[Message | Rejected],
        *,
        key: Key | None,
        strict: bool,
        traceparent: str = "",
        by: str = "",
    ) -> list[Admitted | Refusal]:
        """
        Admit the messages, in turns with whatever else the loop has to do. Raises what `submit`
        raises for messages that cannot be sent.
        """
        now = self._clock()
        admitted: list[Admitted | Refusal] = []
        turn = Turn() if len(messages) > 1 else None
        for message in messages:  # each may be read only now
            if turn is not None and turn.over:
                await turn.next()
            if isinstance(message, Rejected):
                admitted.append(message)
                continue
            load = weight(message) if isinstance(message, Email) else _load(message)
            admit = partial(
                self._admission.admit,
                message,
                id=new_id(now),
                key=key,
                now=now,
                traceparent=traceparent,
                by=by,
            )
            try:
                if message.template is None and load <= HEAVY:
                    admitted.append(admit())
                else:
                    admitted.append(await self._threads.run(key.name if key else "", admit))
            except Rejected as error:
                admitted.append(error.bare())
        if strict and (refused := [each for each in admitted if isinstance(each, Rejected)]):
            try:
                raise refused[0] if len(messages) == 1 else _together(admitted)
            finally:
                # Its traceback holds this frame: with these in it the message would stay in memory
                # until the garbage collector finds them.
                del admitted, refused, message
        return await self._screened(admitted) if self._suppressions.any else admitted

    async def _screened(self, admitted: Sequence[Admitted | Refusal]) -> list[Admitted | Refusal]:
        """The same without suppressed recipients, after one look-up for all."""
        new = [each.delivery for each in admitted if isinstance(each, Admitted)]
        screened = iter(await self._suppressions.screened(new))
        return [
            each.of(next(screened)) if isinstance(each, Admitted) else each for each in admitted
        ]


def _load(message: Message) -> int:
    """As `weight` does, for a message that is no Email."""
    return len(message.body) if isinstance(message, Source) else TEXT_MESSAGE


_random: list[str] = []  # ten random octets each, as digits, for the next ids


def new_id(now: datetime) -> str:
    """A public id that sorts by time and cannot be guessed."""
    if not _random:
        # To ask the system for each id costs ten times as much, because that gives up the
        # interpreter's lock, and the journal's threads take it.
        drawn = os.urandom(ID_OCTETS * 256).hex()
        _random.extend(drawn[at : at + 2 * ID_OCTETS] for at in range(0, len(drawn), 2 * ID_OCTETS))
    return f"{int(now.timestamp() * 1000):012x}{_random.pop()}"


def _together(admitted: Sequence[Admitted | Refusal]) -> InvalidMessage:
    """The faults of all messages of a batch, each under its message's position."""
    faults: list[Fault] = []
    unlisted = 0
    for position, each in enumerate(admitted):
        if isinstance(each, InvalidMessage):
            found: Sequence[Fault] = each.faults
        elif isinstance(each, Rejected):
            found = (Fault("", str(each)),)
        else:
            continue
        listed = found[: MOST_FAULTS - len(faults)]
        faults += [fault.within(position) for fault in listed]
        unlisted += len(found) - len(listed)
    if unlisted:
        faults.append(Fault("", f"and {unlisted} faults more"))
    return InvalidMessage(*faults)
