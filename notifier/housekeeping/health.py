"""The state of the service at a glance."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from notifier.callbacks import CallbackState
from notifier.deliveries import Status
from notifier.smtp import RelayState


class Trouble(Struct, frozen=True):
    """What a part of the service found, and a person must know of: `kind` is the alert's name."""

    kind: str
    subject: str
    since: datetime
    text: str  # one sentence, without a full stop


class Health(Struct, frozen=True):
    """Whether the service accepts messages, and its figures."""

    ready: bool
    reasons: tuple[str, ...]
    relays: tuple[RelayState, ...]
    counts: Mapping[Status, int]
    oldest_due_at: datetime | None
    paused: bool
    warnings: tuple[str, ...] = ()  # what a person should repair, although messages are accepted
    held_since: datetime | None = None  # since when the oldest held message waits
    waiting: int = 0  # messages
    rate: float = 0.0  # messages that leave the backlog, a second
    troubles: tuple[Trouble, ...] = ()  # what else a person must know of
    trouble: str = ""  # why the journal cannot be written; empty: it can
    callbacks: tuple[CallbackState, ...] = ()
