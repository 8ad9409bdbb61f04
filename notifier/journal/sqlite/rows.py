"""Delivery <-> row."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from notifier.deliveries import Delivery, Status

Value: TypeAlias = str | int | bytes | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS = {status.value: status for status in Status}
_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Delivery).decode

BUCKET_BITS = 10  # see schema.sql

INTO = """
    INSERT INTO deliveries (
        status, relay, due_at, expires_at, collapse_key, finished_at, record,
        id, key, route, priority, channel, created_at, seq
    )
"""
# What changes in the course of a delivery's life; `row` begins with it.
SET = """
    UPDATE deliveries SET
        status = ?, relay = ?, due_at = ?, expires_at = ?, collapse_key = ?, finished_at = ?,
        record = ?
"""
UPDATE = f"{SET} WHERE seq = ?"
RECORD = f"{SET} WHERE id = ? AND status = 'sending'"
# The same for many: `settled` has the values of RECORD, a row for each.
RECORD_ALL = """
    UPDATE deliveries SET
        status = column1, relay = column2, due_at = column3, expires_at = column4,
        collapse_key = column5, finished_at = column6, record = column7
    FROM (VALUES {}) AS settled
    WHERE deliveries.id = column8 AND deliveries.status = 'sending'
"""


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return round(at.timestamp() * 1e6)


def moment(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)


def inserted(delivery: Delivery, seq: int) -> tuple[Value, ...]:
    """The values for INTO."""
    return (
        *changed(delivery),
        delivery.id,
        delivery.key,
        delivery.route.value,
        int(delivery.priority),
        delivery.channel,
        micros(delivery.created_at),
        seq,
    )


def changed(delivery: Delivery) -> tuple[Value, ...]:
    """The values of SET."""
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
        _encode(delivery),
    )


def delivery(status: str, record: bytes) -> Delivery:
    """The column is the truth about the status: a claim does not rewrite the record."""
    kept = decode(record)
    true = _STATUS[status]
    return kept if kept.status is true else replace(kept, status=true)


def terms(delivery: Delivery, seq: int) -> list[tuple[int, str, int]]:
    """What it can be found by, as rows."""
    bucket = seq >> BUCKET_BITS
    found = {f"to:{recipient.address.lower()}" for recipient in delivery.recipients}
    found.update(f"tag:{tag}" for tag in delivery.tags)
    if delivery.user_id:
        found.add(f"user_id:{delivery.user_id}")
    if delivery.reference:
        found.add(f"reference:{delivery.reference}")
    return [(bucket, term, seq) for term in found]
