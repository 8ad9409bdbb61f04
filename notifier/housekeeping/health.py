"""How the service fares, at a glance."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from notifier.deliveries import Status
from notifier.smtp import RelayState


class Health(Struct, frozen=True):
    """Whether the service can accept messages, and how it fares."""

    ready: bool
    reasons: tuple[str, ...]
    relays: tuple[RelayState, ...]
    counts: Mapping[Status, int]
    oldest_due_at: datetime | None
    paused: bool
    warnings: tuple[str, ...] = ()  # what a person should mend, although it accepts messages
    held_since: datetime | None = None  # the oldest that waits for a person
    waiting: int = 0  # messages
    rate: float = 0.0  # messages that leave the backlog, a second
    trouble: str = ""  # why the journal cannot be written; empty: it can
