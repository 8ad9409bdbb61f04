"""Delivery <-> row."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from notifier.deliveries import Delivery, Status

Value: TypeAlias = str | int | bytes | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS = {status.value: status for status in Status}
_SMALL = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}
_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Delivery).decode

# What changes in the course of a delivery's life, with the types that arrays of them have.
CHANGING = {
    "status": "text",
    "relay": "text",
    "due_at": "bigint",
    "expires_at": "bigint",
    "collapse_key": "text",
    "finished_at": "bigint",
    "said": "text",
    "record": "bytea",
}
LASTING = {
    "id": "text",
    "key": "text",
    "route": "text",
    "priority": "smallint",
    "channel": "text",
    "created_at": "bigint",
}
SET = ", ".join(f"{name} = changed.{name}" for name in CHANGING) + ", lease = NULL, claim = NULL"


def arrays(*columns: dict[str, str], first: int = 1) -> tuple[str, str]:
    """Parameters `$first` and on as arrays of these types; and the names, in the same order."""
    named = [pair for some in columns for pair in some.items()]
    types = ", ".join(f"${number}::{type}[]" for number, (_, type) in enumerate(named, first))
    return types, ", ".join(name for name, _ in named)


def turned(rows: Sequence[Sequence[Value]], width: int) -> list[list[Value]]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return round(at.timestamp() * 1e6)


def moment(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)


def changed(delivery: Delivery) -> tuple[Value, ...]:
    """The values of CHANGING."""
    status = delivery.status
    waits = status.waiting
    finished_at = delivery.finished_at
    return (
        status.value,
        delivery.attempts[-1].relay or None if delivery.attempts else None,
        micros(delivery.due_at) if waits else None,
        micros(delivery.expires_at) if waits else None,
        (delivery.collapse_key or None) if waits else None,
        None if finished_at is None else micros(finished_at),
        _said(delivery),
        _encode(delivery),
    )


def lasting(delivery: Delivery) -> tuple[Value, ...]:
    """The values of LASTING."""
    return (
        delivery.id,
        delivery.key,
        delivery.route.value,
        int(delivery.priority),
        delivery.channel,
        micros(delivery.created_at),
    )


def delivery(status: str, record: bytes) -> Delivery:
    """The column is the truth about the status: a claim does not rewrite the record."""
    kept = decode(record)
    true = _STATUS[status]
    return kept if kept.status is true else replace(kept, status=true)


def terms(delivery: Delivery) -> set[str]:
    """What it can be found by."""
    found = {f"to:{recipient.address.lower()}" for recipient in delivery.recipients}
    found.update(f"tag:{tag}" for tag in delivery.tags)
    if delivery.user_id:
        found.add(f"user_id:{delivery.user_id}")
    if delivery.reference:
        found.add(f"reference:{delivery.reference}")
    return found


def small(text: str) -> str:
    """A to Z made small; other letters as they are, as in the other journal."""
    return text.translate(_SMALL)


def _said(delivery: Delivery) -> str:
    texts = (
        delivery.subject,
        delivery.sender,
        delivery.reference,
        delivery.user_id,
        delivery.reason,
        delivery.id,
        *(recipient.address for recipient in delivery.recipients),
        *delivery.tags,
    )
    # PostgreSQL's text holds no NUL; a relay's reply may.
    return small("\n".join(texts)).replace("\0", " ")
