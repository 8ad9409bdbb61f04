"""Messages as the service shows them. Fields that a later service adds are left out."""

from datetime import datetime
from typing import Any

from msgspec import Struct, field

FINAL = frozenset({"sent", "failed", "expired", "cancelled", "superseded"})


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt at one relay."""

    relay: str
    stage: str
    code: int | None  # the SMTP reply code
    reply: str
    started_at: datetime
    seconds: float
    charged: bool
    uncertain: bool


class Later(Struct, frozen=True, kw_only=True):
    """What was reported about a recipient after a relay took the message."""

    state: str  # `delivered`, `relayed`, `delayed`, `bounced` or `complained`
    at: datetime
    code: str = ""  # the enhanced status code, such as `5.1.1`
    text: str = ""
    road: str = ""  # how the report came in
    kind: str = field(name="class", default="")  # why it came back or waits


class Recipient(Struct, frozen=True, kw_only=True):
    """One address, and the last reply of a relay about it."""

    address: str
    status: str
    code: int | None = None
    reply: str = ""
    later: Later | None = None


class Happening(Struct, frozen=True, kw_only=True):
    """One line of a message's history."""

    at: datetime
    what: str
    detail: str = ""
    by: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """A message, and what has become of it."""

    id: str
    status: str  # `queued`, `scheduled`, `sending`, `deferred`, `held`, or one of FINAL
    channel: str
    subject: str
    sender: str = field(name="from")
    recipients: tuple[Recipient, ...]
    attempts: tuple[Attempt, ...] = ()
    uncertain: int = 0  # attempts after which it is unknown whether the relay took the message
    partial: bool = False
    handed_to: str | None = None
    bounced: bool = False
    warnings: tuple[str, ...] = ()
    reason: str | None = None
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    finished_at: datetime | None = None
    key: str | None = None
    reference: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    user_id: str | None = None
    traceparent: str | None = None
    copy_of: str | None = None
    timeline: tuple[Happening, ...] = ()

    @property
    def sent(self) -> bool:
        """A relay has taken it for at least one recipient."""
        return self.status == "sent"

    @property
    def final(self) -> bool:
        """Nothing more will happen to it by itself."""
        return self.status in FINAL

    @property
    def settled(self) -> bool:
        """It is final, or waits for a person in `held`."""
        return self.final or self.status == "held"
