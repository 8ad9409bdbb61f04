"""Delivery <-> row."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from notifier.deliveries import Delivery, Status
from notifier.journal import records
from notifier.journal.postgres.opening import Connection
from notifier.journal.records import Unreadable

Value: TypeAlias = str | int | bytes | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALL = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}

# What changes in the course of a delivery's life, with the types that arrays of them have.
CHANGING = {
    "status": "text",
    "relay": "text",
    "due_at": "bigint",
    "expires_at": "bigint",
    "collapse_key": "text",
    "finished_at": "bigint",
    "held_at": "bigint",
    "said": "text",
    "record": "bytea",
}
COLUMNS = """
    SELECT id, key, route, priority, channel, created_at FROM deliveries WHERE seq = $1
"""
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
        micros(delivery.held_at) if status is Status.HELD else None,
        _said(delivery),
        records.encode(delivery),
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


async def delivery(db: Connection, seq: int, status: str, record: bytes) -> Delivery:
    """For people to see: what can be shown, where the record cannot be read."""
    try:
        return records.decode(status, record)
    except Unreadable as why:
        return await salvaged(db, seq, status, record, why)


async def salvaged(
    db: Connection, seq: int, status: str, record: bytes, why: Unreadable
) -> Delivery:
    id, key, route, priority, channel, created_at = await db.fetchrow(COLUMNS, seq)
    return records.salvaged(
        why, status, record, id=id, key=key, route=route, priority=priority, channel=channel,
        created_at=moment(created_at),
    )  # fmt: skip


async def with_conversations(db: Connection, seq: int, delivery: Delivery) -> Delivery:
    said = await db.fetch("SELECT number, lines FROM conversations WHERE seq = $1", seq)
    return records.with_conversations(delivery, dict(said))


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
