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

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

# How often a relay's silence after the final dot, or our own death there, may be answered
# by sending again. Past it a person has to look.
MAX_UNCERTAIN = 3
# A delivery keeps its first attempts and its last ones; between them the count is kept.
ATTEMPTS_KEPT_FIRST = 3
ATTEMPTS_KEPT_LAST = 17


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
    SIMULATOR = "simulator"  # the built-in one, which makes up outcomes
    PROVIDER = "provider"  # an SMS provider by HTTP


class Stage(StrEnum):
    """How far a conversation with a relay has come. RFC 5321, section 3."""

    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Scope(StrEnum):
    """What a failure says something about, and so what it may be blamed on."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    RELAY = "relay"


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt did not reach a recipient."""

    scope: Scope
    permanent: bool
    stage: Stage
    reply: str  # the relay's own words, or ours where it said nothing
    code: int | None = None  # the SMTP reply code, RFC 5321, section 4.2
    name: str = ""  # of the fault, where the operator can look it up: `starttls_required`

    @property
    def final(self) -> bool:
        """Whether a recipient is lost. A relay's trouble never loses one."""
        return self.permanent and self.scope is not Scope.RELAY


class Envelope(Struct, frozen=True, omit_defaults=True):
    """Who sends, and who is to receive: what SMTP is told, as against the headers."""

    sender: str
    recipients: tuple[str, ...]
    smtputf8: bool = False  # an address needs RFC 6531


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at one relay: how far it came, and what was said."""

    relay: str
    started_at: datetime
    seconds: float
    stage: Stage
    reply: str
    code: int | None = None
    accepted: tuple[str, ...] = ()
    failures: dict[str, Failure] = {}
    uncertain: bool = False  # the final dot was sent, and nothing came back
    conversation: tuple[
        str, ...
    ] = ()  # lines, `C: ` ours and `S: ` the relay's, secrets struck out

    @property
    def relay_failed(self) -> bool:
        """Whether this is the relay's fault, so that the message is not charged with it."""
        return not self.uncertain and any(
            failure.scope is Scope.RELAY for failure in self.failures.values()
        )

    @property
    def charged(self) -> bool:
        return not self.relay_failed


class RecipientStatus(StrEnum):
    """What has become of one recipient."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Recipient(Struct, frozen=True, omit_defaults=True):
    """One address of the envelope, and the last that a relay said about it."""

    address: str
    status: RecipientStatus = RecipientStatus.PENDING
    code: int | None = None
    reply: str = ""


class Event(Struct, frozen=True, omit_defaults=True):
    """Something that happened to a delivery other than an attempt."""

    at: datetime
    what: str
    detail: str = ""


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
    finished_at: datetime | None = None
    reason: str = ""  # why it is held or ended as it did
    handed_to: str = ""  # "gateway": a carrier's; nobody knows what came of it there
    warnings: tuple[str, ...] = ()
    key: str = ""  # name of the API key that sent it; empty: anonymous
    user_id: str = ""
    reference: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    collapse_key: str = ""
    traceparent: str = ""  # W3C Trace Context of the request

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
    def partial(self) -> bool:
        """Whether some recipients have it and others never will."""
        states = {recipient.status for recipient in self.recipients}
        return self.status is Status.SENT and RecipientStatus.REFUSED in states

    @property
    def patience(self) -> float:
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

    def after(self, attempt: Attempt, *, retry_at: datetime, now: datetime) -> "Delivery":
        """The delivery once an attempt has been made, tried again at `retry_at` if need be."""
        tried = replace(
            self._with(attempt),
            recipients=tuple(_answered(recipient, attempt) for recipient in self.recipients),
            tries=self.tries + attempt.charged,
            uncertain=self.uncertain + attempt.uncertain,
        )
        if attempt.uncertain and (held := tried.doubt):
            return replace(tried, status=Status.HELD, reason=held)
        if not any(each.status is RecipientStatus.PENDING for each in tried.recipients):
            return tried.settled(now, attempt.reply)
        if retry_at >= self.expires_at:
            return tried.expired(now)
        return replace(tried, status=Status.DEFERRED, due_at=retry_at, reason=attempt.reply)

    def expired(self, now: datetime) -> "Delivery":
        """The delivery when it is too old. Recipients that have it already make it `sent`."""
        reason = "expired before a relay took it"
        if self.attempts:
            reason = f"{reason}; last reply: {self.attempts[-1].reply}"
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
        if self.attempts:
            return replace(self, status=Status.DEFERRED)
        return replace(self, status=Status.QUEUED)

    def recovered(self, now: datetime) -> "Delivery":
        """The delivery found `sending` after a crash: nobody knows whether it left."""
        found = replace(
            self,
            uncertain=self.uncertain + 1,
            events=(*self.events, Event(now, "recovered", "the process died while sending it")),
        )
        if held := found.doubt:
            return replace(found, status=Status.HELD, reason=held)
        return replace(found, status=Status.QUEUED, due_at=now)

    def held(self, reason: str) -> "Delivery":
        """The delivery set aside until a person has looked at it."""
        return replace(self, status=Status.HELD, reason=reason)

    def again(self, now: datetime) -> "Delivery":
        """The delivery put back in the queue by a person, its lost recipients forgiven."""
        forgiven = tuple(
            each if each.status is RecipientStatus.ACCEPTED else Recipient(each.address)
            for each in self.recipients
        )
        lifetime = self.expires_at - self.created_at
        return replace(
            self,
            status=Status.QUEUED,
            due_at=now,
            expires_at=max(self.expires_at, now + lifetime),
            recipients=forgiven,
            tries=0,
            reason="",
            finished_at=None,
            events=(*self.events, Event(now, "retried")),
        )

    def hurried(self, now: datetime) -> "Delivery":
        """The delivery made due at once by a person."""
        return replace(
            self, status=Status.QUEUED, due_at=now, events=(*self.events, Event(now, "hurried"))
        )

    def cancelled(self, now: datetime) -> "Delivery":
        """The delivery called off before it was sent."""
        return replace(
            self,
            status=Status.CANCELLED,
            reason="cancelled",
            finished_at=now,
            events=(*self.events, Event(now, "cancelled")),
        )

    def superseded(self, now: datetime, by: str) -> "Delivery":
        """The delivery made pointless by a newer one with the same collapse key."""
        return replace(
            self, status=Status.SUPERSEDED, reason=f"superseded by {by}", finished_at=now
        )

    def _with(self, attempt: Attempt) -> "Delivery":
        attempts = (*self.attempts, attempt)
        surplus = len(attempts) - ATTEMPTS_KEPT_FIRST - ATTEMPTS_KEPT_LAST
        if surplus <= 0:
            return replace(self, attempts=attempts)
        kept = attempts[:ATTEMPTS_KEPT_FIRST] + attempts[ATTEMPTS_KEPT_FIRST + surplus :]
        return replace(self, attempts=kept, attempts_dropped=self.attempts_dropped + surplus)

    @property
    def doubt(self) -> str:
        """Why it must not be sent again without a person's word; empty if it may be."""
        if self.on_uncertain is OnUncertain.HOLD:
            return "the relay may have it already, and on_uncertain is hold"
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


def _answered(recipient: Recipient, attempt: Attempt) -> Recipient:
    if recipient.status is not RecipientStatus.PENDING:
        return recipient
    if failure := attempt.failures.get(recipient.address):
        status = RecipientStatus.REFUSED if failure.final else RecipientStatus.PENDING
        return Recipient(recipient.address, status, failure.code, failure.reply)
    if recipient.address in attempt.accepted:
        return Recipient(recipient.address, RecipientStatus.ACCEPTED, attempt.code, attempt.reply)
    return recipient
