"""
The life of one delivery.

    scheduled ─┐
    queued ────┴─> sending ──> sent
      ^              │ ├─────> failed
      │              │ └─────> held ──(a person)──> queued
      └── deferred <─┘
    and from wherever it waits: expired, cancelled, superseded

Everything here is a value: a step in a delivery's life makes a new `Delivery`
from the old one, and touches neither clock, network nor disk.
"""

from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from notifier.attempts import USUAL_REPORTS, Attempt, Envelope, Notify
from notifier.dates import dated_by
from notifier.errors import WrongState
from notifier.recipients import Recipient, RecipientStatus

# How often a delivery with an unknown outcome (silence after the final dot, or a crash there)
# is sent again. After that a person decides.
MAX_UNCERTAIN = 3
# The longest life of a retried message. One without an end keeps its time.
LONGEST_SECOND_LIFE = timedelta(days=366)
# A delivery keeps its first attempts and events, and its last ones; between them the count is kept.
KEPT_FIRST = 3
KEPT_LAST = 17


class Status(StrEnum):
    """The states of a delivery."""

    SCHEDULED = "scheduled"  # not due yet
    QUEUED = "queued"  # waiting for a worker
    SENDING = "sending"  # claimed by a worker
    DEFERRED = "deferred"  # waiting for its next try
    HELD = "held"  # waiting for a person
    SENT = "sent"  # a relay has taken it for at least one recipient
    FAILED = "failed"  # refused for good, for every recipient
    EXPIRED = "expired"  # not sent before `expires_at`
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # a newer one of its collapse key took its place

    @property
    def final(self) -> bool:
        return self in FINAL


# Bound once: Python 3.11 takes a tenth of a microsecond to find a member in its enum.
PENDING, ACCEPTED = RecipientStatus.PENDING, RecipientStatus.ACCEPTED
SENT = Status.SENT
WAITING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.DEFERRED})
# What a person can retry; also a delivery that was sent to some recipients only.
RETRYABLE = frozenset({Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.HELD})
FINAL = frozenset({Status.SENT, Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.SUPERSEDED})


class Priority(IntEnum):
    """Which deliveries are claimed first: those with the lower value."""

    URGENT = 0
    NORMAL = 1
    BULK = 2


class OnUncertain(StrEnum):
    """What to do when it is unknown whether the relay accepted the message."""

    RESEND = "resend"
    HOLD = "hold"


class Route(StrEnum):
    """Which transport carries a delivery."""

    RELAY = "relay"  # the configured SMTP relays
    GATEWAY = "gateway"  # the same relays, to a carrier's gateway, text by text
    SIMULATOR = "simulator"  # the built-in simulator of outcomes
    PROVIDER = "provider"  # an SMS provider by HTTP


class Event(Struct, frozen=True, omit_defaults=True):
    """Something that happened to a delivery other than an attempt."""

    at: datetime
    what: str
    detail: str = ""
    by: str = ""  # who did it: `key:shop`, `monitor:shop`, `cli:root`; empty: the service


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message on its way to its recipients."""

    id: str
    channel: str
    subject: str
    sender: str
    recipients: tuple[Recipient, ...]
    size: int  # octets of the composed mail
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    send_at: datetime | None = None  # when the caller wanted it sent; None: at once
    status: Status = Status.QUEUED
    route: Route = Route.RELAY
    chain: str = ""  # the relays that take it, see `chains`; empty: those without conditions
    priority: Priority = Priority.NORMAL
    on_uncertain: OnUncertain = OnUncertain.RESEND
    smtputf8: bool = False
    eight_bit: bool = False  # its content is not ASCII: a mail that was submitted as a whole
    return_path: str = ""  # the key's or the service's; empty: reports go to the sender
    notify: tuple[Notify, ...] = USUAL_REPORTS  # what the relay is asked to report; empty: nothing
    tries: int = 0  # attempts that count against the message
    uncertain: int = 0  # attempts with an unknown outcome
    attempts: tuple[Attempt, ...] = ()
    attempts_dropped: int = 0  # left out between the first and the last that are kept
    events: tuple[Event, ...] = ()
    events_dropped: int = 0
    finished_at: datetime | None = None
    reason: str = ""  # why it is held or ended as it did
    handed_to: str = ""  # "gateway": a carrier's gateway, which does not report delivery
    warnings: tuple[str, ...] = ()
    key: str = ""  # name of the API key that sent it; empty: anonymous
    by: str = ""  # who sent it, if that is not the key alone: `monitor:shop`
    user_id: str = ""
    reference: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    collapse_key: str = ""
    copy_of: str = ""  # the id of the message whose content it has
    traceparent: str = ""  # W3C Trace Context of the request
    despite_suppression: bool = False  # it is sent to suppressed recipients, too

    @property
    def queue(self) -> str:
        """Where it waits, apart from what goes another way."""
        route = self.route._value_  # `value` calls Python, and a message asks five times
        return f"{route}:{self.chain}" if self.chain else route

    @property
    def accepted_by(self) -> str:
        """Who sent the message, in the form of an event's `by`."""
        return self.by or (f"key:{self.key}" if self.key else "anonymous")

    @property
    def pending(self) -> Envelope:
        """The envelope of the next attempt: recipients neither accepted nor refused."""
        return Envelope(
            self.sender,
            tuple(
                [each.address for each in self.recipients if each.status is PENDING]  # no generator
            ),
            self.smtputf8,
            self.id,
            self.return_path,
            self.notify,
            self.eight_bit,
        )

    @property
    def wanted_at(self) -> datetime:
        """The time from which delivery is wanted: acceptance, `send_at`, or a person's send-now."""
        retried = [event.at for event in self.events if event.what == "retried"]
        if retried:
            return max(retried)
        if self.send_at is None:
            return self.created_at
        hurried = (event.at for event in self.events if event.what == "hurried")
        return min((self.send_at, *hurried))

    @property
    def partial(self) -> bool:
        """Whether some recipients were accepted, and others were refused or are suppressed."""
        states = {recipient.status for recipient in self.recipients}
        missed = {RecipientStatus.REFUSED, RecipientStatus.SUPPRESSED}
        return self.status is Status.SENT and not states.isdisjoint(missed)

    @property
    def throttled(self) -> bool:
        """Whether the last relay that was asked wanted fewer messages."""
        return bool(self.attempts) and self.attempts[-1].throttled

    @property
    def relay_backoff(self) -> float:
        """
        Seconds before this message is tried again after its relay failed. The breaker decides when
        the relay may be used; this only keeps one message from spinning.
        """
        failures = 0
        for attempt in reversed(self.attempts):
            if not attempt.relay_failed:
                break
            failures += 1
        return float(min(2**failures, 60))

    @property
    def held_at(self) -> datetime:
        """
        Since when the delivery is held: the time of the event that says so, else of its last event.
        What is held before it is due has such an event, and its `due_at` may be days ahead.
        """
        turns = (each for each in reversed(self.events) if each.what in {"held", "retried"})
        if (turn := next(turns, None)) and turn.what == "held":
            return turn.at
        ended = (each.started_at + timedelta(seconds=each.seconds) for each in self.attempts[-1:])
        return max((self.due_at, *ended, *(each.at for each in self.events[-1:])))

    def after(self, *attempts: Attempt, retry_at: datetime, now: datetime) -> "Delivery":
        """
        The delivery after an attempt, or after attempts at the same time for different recipients.
        It is tried again at `retry_at` if any are pending.
        """
        recipients, tries, uncertain = self.recipients, 0, False
        for attempt in attempts:
            recipients = tuple([_tried(each, attempt) for each in recipients])
            tries |= not attempt.failures or attempt.charged
            uncertain |= attempt.uncertain
        kept, dropped = (*self.attempts, *attempts), self.attempts_dropped
        if len(kept) > KEPT_FIRST + KEPT_LAST:
            kept, more = _kept(kept)
            dropped += more
        tried = replace(
            self,
            recipients=recipients,
            tries=self.tries + tries,
            uncertain=self.uncertain + uncertain,
            attempts=kept,
            attempts_dropped=dropped,
        )
        if uncertain and (held := tried.doubt):
            return replace(tried, status=Status.HELD, reason=held)
        if not [each for each in recipients if each.status is PENDING]:
            return tried.settled(now, attempt.reply)
        if retry_at >= self.expires_at:
            return tried.expired(now)
        pending = (each for each in tried.recipients if each.status is RecipientStatus.PENDING)
        # What one has who is still to get it.
        reason = next(pending).reply or (attempt.reply if attempt.failures else "")
        return replace(tried, status=Status.DEFERRED, due_at=retry_at, reason=reason)

    def expired(self, now: datetime, trouble: str = "") -> "Delivery":
        """
        The delivery when its time is over; `trouble` is the reason if it was never tried. If some
        recipients were accepted, it becomes `sent`.
        """
        reason = "expired before a relay took it"
        if self.attempts:
            reason = f"{reason}; last reply: {self.attempts[-1].reply}"
        elif trouble:
            reason = f"{reason}: {trouble}"
        given_up = tuple(
            replace(each, status=RecipientStatus.REFUSED, reply=each.reply or reason)
            if each.status is RecipientStatus.PENDING
            else each
            for each in self.recipients
        )
        reached = any(each.status is RecipientStatus.ACCEPTED for each in self.recipients)
        return replace(
            self,
            recipients=given_up,
            status=Status.SENT if reached else Status.EXPIRED,
            reason=reason,
            finished_at=now,
        )

    def released(self) -> "Delivery":
        """The delivery, given back unsent by the worker that had claimed it."""
        return replace(self, status=Status.DEFERRED if self.attempts else Status.QUEUED)

    def recovered(self, now: datetime) -> "Delivery":
        """The delivery, found as `sending` after a crash: it is unknown whether it was sent."""
        found = replace(self, uncertain=self.uncertain + 1).with_event(
            now, "recovered", "the process died while it sent the message"
        )
        if held := found.doubt:
            return replace(found, status=Status.HELD, reason=held)
        return replace(found, status=Status.QUEUED, due_at=now)

    def held(self, reason: str) -> "Delivery":
        """The delivery, set aside until a person decides."""
        return replace(self, status=Status.HELD, reason=reason)

    def retried(self, now: datetime, by: str = "") -> "Delivery":
        """
        The delivery, put back in the queue by a person. Refused recipients are pending again.
        Raises WrongState unless the delivery is held, or ended without reaching all recipients.
        """
        if self.status not in RETRYABLE and not self.partial:
            raise WrongState(f"a message that is {self.status} cannot be retried")
        if self.finished_at is not None and any(each.what == "erased" for each in self.events):
            raise WrongState("the content of this message has been erased")
        forgiven = tuple(
            each
            if each.status is RecipientStatus.ACCEPTED or each.erased
            else Recipient(each.address)
            for each in self.recipients
        )
        begun = max((e.at for e in self.events if e.what == "retried"), default=self.created_at)
        lifetime = min(self.expires_at - begun, LONGEST_SECOND_LIFE)
        return replace(
            self,
            status=Status.QUEUED,
            due_at=now,
            expires_at=max(self.expires_at, now + lifetime),
            recipients=forgiven,
            tries=0,
            reason="",
            finished_at=None,
        ).with_event(now, "retried", by=by)

    def hurried(self, now: datetime, by: str = "") -> "Delivery":
        """The delivery, made due at once by a person. Raises WrongState unless it waits."""
        if self.status not in WAITING:
            raise WrongState(f"a message that is {self.status} cannot be sent now")
        return replace(self, status=Status.QUEUED, due_at=now).with_event(now, "hurried", by=by)

    def dated(self, content: bytes) -> bytes:
        """
        The content with the right Date: a scheduled mail has the time when it was to be sent, or
        the time of an earlier send-now, because a mail should not have a Date in the future.
        """
        if not self.events or self.channel != "email":
            return content
        hurried = next((each.at for each in self.events if each.what == "hurried"), None)
        return content if hurried is None else dated_by(content, hurried)

    def undecided(self, now: datetime) -> "Delivery":
        """The delivery, expired because nobody decided while it was held."""
        given_up = replace(self.expired(now), reason=f"held, and no one decided: {self.reason}")
        return given_up.with_event(now, "given_up", "held for NOTIFIER_HELD_RETENTION")

    def cancelled(self, now: datetime, by: str = "") -> "Delivery":
        """The delivery, cancelled before it was sent. Raises WrongState once it is being sent."""
        if self.status not in WAITING and self.status is not Status.HELD:
            raise WrongState(f"a message that is {self.status} cannot be cancelled")
        return replace(
            self, status=Status.CANCELLED, reason="cancelled", finished_at=now
        ).with_event(now, "cancelled", by=by)

    def superseded(self, now: datetime, by: str) -> "Delivery":
        """The delivery, replaced by a newer one with the same collapse key."""
        return replace(
            self, status=Status.SUPERSEDED, reason=f"superseded by {by}", finished_at=now
        )

    def with_event(self, at: datetime, what: str, detail: str = "", *, by: str = "") -> "Delivery":
        """The delivery with another event in its timeline."""
        events, dropped = _kept((*self.events, Event(at, what, detail, by)))
        return replace(self, events=events, events_dropped=self.events_dropped + dropped)

    @property
    def doubt(self) -> str:
        """Why only a person may have the delivery sent again; empty: it may be sent again."""
        if self.on_uncertain is OnUncertain.HOLD:
            return "the relay may already have the message, and on_uncertain is hold"
        if self.uncertain >= MAX_UNCERTAIN:
            return f"the outcome was uncertain {self.uncertain} times"
        return ""

    def settled(self, now: datetime, reply: str) -> "Delivery":
        """The delivery with its final status if no recipient is pending."""
        reached = [each for each in self.recipients if each.status is ACCEPTED]
        return replace(
            self,
            status=SENT if reached else Status.FAILED,
            reason="" if reached else reply,
            finished_at=now,
        )


def _tried(recipient: Recipient, attempt: Attempt) -> Recipient:
    """The recipient after an attempt. Only a pending recipient changes."""
    if recipient.status is not PENDING:
        return recipient
    address = recipient.address
    if address in attempt.accepted:
        taken = attempt.acceptances.get(address) or attempt
        return Recipient(address, ACCEPTED, taken.code, taken.reply)
    if failure := attempt.failures.get(address):
        status = RecipientStatus.REFUSED if failure.final else PENDING
        return Recipient(address, status, failure.code, failure.reply)
    return recipient


T = TypeVar("T")


def _kept(all_of_them: tuple[T, ...]) -> tuple[tuple[T, ...], int]:
    """The first and last items, and how many items between them are dropped."""
    dropped = len(all_of_them) - KEPT_FIRST - KEPT_LAST
    if dropped <= 0:
        return all_of_them, 0
    return all_of_them[:KEPT_FIRST] + all_of_them[KEPT_FIRST + dropped :], dropped
