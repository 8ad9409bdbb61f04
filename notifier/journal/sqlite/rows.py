"""Delivery <-> row."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from notifier.deliveries import Delivery, Status
from notifier.journal import Entry, records
from notifier.journal.records import Unreadable

Value: TypeAlias = str | int | bytes | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

BUCKET_BITS = 10  # see schema.sql
NUMBER_BITS = 20  # see schema_2.sql

INTO = """
    INSERT INTO deliveries (
        status, relay, due_at, expires_at, collapse_key, finished_at, held_at, record,
        id, key, route, priority, channel, created_at, seq
    )
"""
# What changes in the course of a delivery's life; `row` begins with it.
SET = """
    UPDATE deliveries SET
        status = ?, relay = ?, due_at = ?, expires_at = ?, collapse_key = ?, finished_at = ?,
        held_at = ?, record = ?
"""
WIDTH = 8  # the values of SET
UPDATE = f"{SET} WHERE seq = ?"
RECORD = f"{SET} WHERE id = ? AND status = 'sending'"
# The same for many: `settled` has the values of RECORD, a row for each.
RECORD_ALL = """
    UPDATE deliveries SET
        status = column1, relay = column2, due_at = column3, expires_at = column4,
        collapse_key = column5, finished_at = column6, held_at = column7, record = column8
    FROM (VALUES {}) AS settled
    WHERE deliveries.id = column9 AND deliveries.status = 'sending'
"""
# The same columns without the record, which cannot be read and is left as it is.
MARK = """
    UPDATE deliveries SET
        status = ?, due_at = NULL, expires_at = NULL, collapse_key = NULL, finished_at = ?,
        held_at = ?
    WHERE seq = ?
"""
COLUMNS = """
    SELECT id, key, route, priority, channel, created_at FROM deliveries WHERE seq = ?
"""
SAID = "SELECT place, lines FROM conversations WHERE place >= ? AND place < ?"
SAY = "INSERT OR REPLACE INTO conversations"
FORGET = "DELETE FROM conversations WHERE place >= ? AND place < ?"


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
        micros(delivery.held_at) if status is Status.HELD else None,
        records.encode(delivery),
    )


def delivery(db: sqlite3.Connection, seq: int, status: str, record: bytes) -> Delivery:
    """For people to see: what can be shown, where the record cannot be read."""
    try:
        return records.decode(status, record)
    except Unreadable as why:
        return salvaged(db, seq, status, record, why)


def salvaged(
    db: sqlite3.Connection, seq: int, status: str, record: bytes, why: Unreadable
) -> Delivery:
    id, key, route, priority, channel, created_at = db.execute(COLUMNS, (seq,)).fetchone()
    return records.salvaged(
        why, status, record, id=id, key=key, route=route, priority=priority, channel=channel,
        created_at=moment(created_at),
    )  # fmt: skip


def places(seq: int) -> tuple[int, int]:
    """Of a delivery's conversations: the first, and the first of the next delivery."""
    return seq << NUMBER_BITS, (seq + 1) << NUMBER_BITS


def with_conversations(db: sqlite3.Connection, seq: int, delivery: Delivery) -> Delivery:
    first, past = places(seq)
    said = db.execute(SAID, (first, past)).fetchall()
    return records.with_conversations(delivery, {place - first: lines for place, lines in said})


def conversations(delivery: Delivery, seq: int) -> list[tuple[int, bytes]]:
    """As rows."""
    first = seq << NUMBER_BITS
    return [(first + number, lines) for number, lines in records.conversations(delivery)]


def update(db: sqlite3.Connection, seq: int, delivery: Delivery) -> None:
    """Write what has become of a delivery."""
    db.execute(UPDATE, (*changed(delivery), seq))
    for row in conversations(delivery, seq):  # of a record as version 1 has written it
        db.execute(f"{SAY} VALUES (?, ?)", row)


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


Span: TypeAlias = tuple[int, int, int]  # bucket, first and last time of creation
SPAN = """
    INSERT INTO spans VALUES (?, ?, ?) ON CONFLICT (bucket) DO UPDATE
    SET first = min(first, excluded.first), last = max(last, excluded.last)
    WHERE excluded.first < first OR excluded.last > last
"""


def spans(entries: Sequence[Entry], seq: int) -> list[Span]:
    """Of new entries, of which the first gets this number."""
    created = (micros(entry.delivery.created_at) for entry in entries)
    return joined((number >> BUCKET_BITS, at, at) for number, at in enumerate(created, seq))


def joined(spans: Iterable[Span]) -> list[Span]:
    """One for each bucket."""
    found: dict[int, Span] = {}
    for bucket, first, last in spans:
        if (known := found.get(bucket)) is not None:
            first, last = min(first, known[1]), max(last, known[2])
        found[bucket] = bucket, first, last
    return list(found.values())
