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

from notifier.attempts import Attempt, Envelope
from notifier.dates import dated_by
from notifier.errors import WrongState
from notifier.recipients import Recipient, RecipientStatus

# How often a relay's silence after the final dot, or our own death there, may be answered
# by sending again. Past it a person has to look.
MAX_UNCERTAIN = 3
# What a retried message is given at most; one that was to live for ever keeps its time.
LONGEST_SECOND_LIFE = timedelta(days=366)
# A delivery keeps its first attempts and events, and its last ones; between them the count is kept.
KEPT_FIRST = 3
KEPT_LAST = 17


class Status(StrEnum):
    """Where a delivery is in its life."""

    SCHEDULED = "scheduled"  # not due yet
    QUEUED = "queued"  # waiting for a worker
    SENDING = "sending"  # claimed by a worker
    DEFERRED = "deferred"  # waiting for its next try
    HELD = "held"  # waiting for a person
    SENT = "sent"  # a relay has taken it for at least one recipient
    FAILED = "failed"  # refused for good, for every recipient
    EXPIRED = "expired"  # too old to be of use
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # a newer one of its collapse key took its place

    @property
    def waiting(self) -> bool:
        return self in WAITING

    @property
    def final(self) -> bool:
        return self in FINAL


WAITING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.DEFERRED})
# What a person may have tried again; also one that is sent, but not to all.
RETRYABLE = frozenset({Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.HELD})
FINAL = frozenset({Status.SENT, Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.SUPERSEDED})


class Priority(IntEnum):
    """The lane a delivery waits in. The lower goes first."""

    URGENT = 0
    NORMAL = 1
    BULK = 2


class OnUncertain(StrEnum):
    """What to do when nobody can know whether the relay took the message."""

    RESEND = "resend"
    HOLD = "hold"


class Route(StrEnum):
    """Which transport carries a delivery."""

    RELAY = "relay"  # the configured SMTP relays
    GATEWAY = "gateway"  # the same relays, to a carrier's gateway, text by text
    SIMULATOR = "simulator"  # the built-in one, which makes up outcomes
    PROVIDER = "provider"  # an SMS provider by HTTP


class Event(Struct, frozen=True, omit_defaults=True):
    """Something that happened to a delivery other than an attempt."""

    at: datetime
    what: str
    detail: str = ""
    by: str = ""  # who did it: `key:shop`, `monitor:shop`, `cli:root`; empty: the service


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message's way to its recipients, and how far it has come."""

    id: str
    channel: str
    subject: str
    sender: str
    recipients: tuple[Recipient, ...]
    size: int  # octets of the composed mail
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    send_at: datetime | None = None  # when it was to leave; None: at once
    status: Status = Status.QUEUED
    route: Route = Route.RELAY
    priority: Priority = Priority.NORMAL
    on_uncertain: OnUncertain = OnUncertain.RESEND
    smtputf8: bool = False
    tries: int = 0  # attempts that were charged
    uncertain: int = 0  # times that nobody could know whether the relay took it
    attempts: tuple[Attempt, ...] = ()
    attempts_dropped: int = 0  # left out between the first and the last that are kept
    events: tuple[Event, ...] = ()
    events_dropped: int = 0
    finished_at: datetime | None = None
    reason: str = ""  # why it is held or ended as it did
    handed_to: str = ""  # "gateway": a carrier's; nobody knows what came of it there
    warnings: tuple[str, ...] = ()
    key: str = ""  # name of the API key that sent it; empty: anonymous
    by: str = ""  # who sent it, where that is more than the key: `monitor:shop`
    user_id: str = ""
    reference: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    collapse_key: str = ""
    traceparent: str = ""  # W3C Trace Context of the request

    @property
    def accepted_by(self) -> str:
        """Who handed it in, as an event's `by` has it."""
        return self.by or (f"key:{self.key}" if self.key else "anonymous")

    @property
    def pending(self) -> Envelope:
        """The envelope for the next try: whoever was neither reached nor lost."""
        return Envelope(
            self.sender,
            tuple(
                recipient.address
                for recipient in self.recipients
                if recipient.status is RecipientStatus.PENDING
            ),
            self.smtputf8,
        )

    @property
    def wanted_at(self) -> datetime:
        """Since when it should leave: its acceptance, its `send_at`, or a person's word."""
        retried = [event.at for event in self.events if event.what == "retried"]
        if retried:
            return max(retried)
        if self.send_at is None:
            return self.created_at
        hurried = (event.at for event in self.events if event.what == "hurried")
        return min((self.send_at, *hurried))

    @property
    def partial(self) -> bool:
        """Whether some recipients have it and others never will."""
        states = {recipient.status for recipient in self.recipients}
        return self.status is Status.SENT and RecipientStatus.REFUSED in states

    @property
    def relay_backoff(self) -> float:
        """
        Seconds to leave a message alone after one more failure of its relay: the relay's
        breaker sets the pace, this only keeps one message from being tried in a circle.
        """
        failures = 0
        for attempt in reversed(self.attempts):
            if not attempt.relay_failed:
                break
            failures += 1
        return float(min(2**failures, 60))

    @property
    def held_at(self) -> datetime:
        """Since when it is held, where it is: the last that happened to it."""
        ended = (each.started_at + timedelta(seconds=each.seconds) for each in self.attempts[-1:])
        return max((self.due_at, *ended, *(each.at for each in self.events[-1:])))

    def after(self, attempt: Attempt, *, retry_at: datetime, now: datetime) -> "Delivery":
        """The delivery once an attempt has been made, tried again at `retry_at` if need be."""
        tried = replace(
            self._with(attempt),
            recipients=tuple(recipient.after(attempt) for recipient in self.recipients),
            tries=self.tries + attempt.charged,
            uncertain=self.uncertain + attempt.uncertain,
        )
        if attempt.uncertain and (held := tried.doubt):
            return replace(tried, status=Status.HELD, reason=held)
        if not any(each.status is RecipientStatus.PENDING for each in tried.recipients):
            return tried.settled(now, attempt.reply)
        if retry_at >= self.expires_at:
            return tried.expired(now)
        pending = (each for each in tried.recipients if each.status is RecipientStatus.PENDING)
        reason = next(pending).reply or attempt.reply  # what one has who is still to get it
        return replace(tried, status=Status.DEFERRED, due_at=retry_at, reason=reason)

    def expired(self, now: datetime, trouble: str = "") -> "Delivery":
        """
        The delivery when it is too old, because of `trouble` if it was never tried. Recipients
        that have it already make it `sent`.
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
        """The delivery given back unsent by a worker that had claimed it."""
        return replace(self, status=Status.DEFERRED if self.attempts else Status.QUEUED)

    def recovered(self, now: datetime) -> "Delivery":
        """The delivery found `sending` after a crash: nobody knows whether it left."""
        found = replace(self, uncertain=self.uncertain + 1).with_event(
            now, "recovered", "the process died while it sent the message"
        )
        if held := found.doubt:
            return replace(found, status=Status.HELD, reason=held)
        return replace(found, status=Status.QUEUED, due_at=now)

    def held(self, reason: str) -> "Delivery":
        """The delivery set aside until a person has looked at it."""
        return replace(self, status=Status.HELD, reason=reason)

    def retried(self, now: datetime, by: str = "") -> "Delivery":
        """
        The delivery put back in the queue by a person, its lost recipients forgiven.
        Raises WrongState unless it has ended without reaching everybody, or is held.
        """
        if self.status not in RETRYABLE and not self.partial:
            raise WrongState(f"a message that is {self.status} cannot be retried")
        forgiven = tuple(
            each if each.status is RecipientStatus.ACCEPTED else Recipient(each.address)
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
        """The delivery made due at once by a person. Raises WrongState unless it waits."""
        if not self.status.waiting:
            raise WrongState(f"a message that is {self.status} cannot be sent now")
        return replace(self, status=Status.QUEUED, due_at=now).with_event(now, "hurried", by=by)

    def dated(self, content: bytes) -> bytes:
        """
        The content as it leaves. A scheduled mail's Date is when it was to be sent; where a
        person has had it sent before, it is that time: the future is no date for a mail.
        """
        if not self.events or self.channel != "email":
            return content
        hurried = next((each.at for each in self.events if each.what == "hurried"), None)
        return content if hurried is None else dated_by(content, hurried)

    def undecided(self, now: datetime) -> "Delivery":
        """The delivery when it was held for so long that nobody will decide any more."""
        given_up = replace(self.expired(now), reason=f"held, and nobody decided: {self.reason}")
        return given_up.with_event(now, "given_up", "held for NOTIFIER_HELD_RETENTION")

    def cancelled(self, now: datetime, by: str = "") -> "Delivery":
        """The delivery called off before it is sent. Raises WrongState once it is on its way."""
        if not self.status.waiting and self.status is not Status.HELD:
            raise WrongState(f"a message that is {self.status} cannot be cancelled")
        return replace(
            self, status=Status.CANCELLED, reason="cancelled", finished_at=now
        ).with_event(now, "cancelled", by=by)

    def superseded(self, now: datetime, by: str) -> "Delivery":
        """The delivery made pointless by a newer one with the same collapse key."""
        return replace(
            self, status=Status.SUPERSEDED, reason=f"superseded by {by}", finished_at=now
        )

    def with_event(self, at: datetime, what: str, detail: str = "", *, by: str = "") -> "Delivery":
        """The delivery, and in its timeline that this happened to it."""
        events, dropped = _kept((*self.events, Event(at, what, detail, by)))
        return replace(self, events=events, events_dropped=self.events_dropped + dropped)

    def _with(self, attempt: Attempt) -> "Delivery":
        attempts, dropped = _kept((*self.attempts, attempt))
        return replace(self, attempts=attempts, attempts_dropped=self.attempts_dropped + dropped)

    @property
    def doubt(self) -> str:
        """Why it must not be sent again without a person's word; empty if it may be."""
        if self.on_uncertain is OnUncertain.HOLD:
            return "the relay may already have the message, and on_uncertain is hold"
        if self.uncertain >= MAX_UNCERTAIN:
            return f"the outcome was uncertain {self.uncertain} times"
        return ""

    def settled(self, now: datetime, reply: str) -> "Delivery":
        """The delivery once nobody is left to be tried."""
        reached = any(each.status is RecipientStatus.ACCEPTED for each in self.recipients)
        return replace(
            self,
            status=Status.SENT if reached else Status.FAILED,
            reason="" if reached else reply,
            finished_at=now,
        )


T = TypeVar("T")


def _kept(all_of_them: tuple[T, ...]) -> tuple[tuple[T, ...], int]:
    """The first and the last ones, and how many between them are dropped."""
    dropped = len(all_of_them) - KEPT_FIRST - KEPT_LAST
    if dropped <= 0:
        return all_of_them, 0
    return all_of_them[:KEPT_FIRST] + all_of_them[KEPT_FIRST + dropped :], dropped
