"""Deliveries as rows in SQL, many rows as arrays of their columns, and how many rows there are."""

from collections.abc import Sequence
from datetime import datetime

from notifier.deliveries import Delivery, Status
from notifier.journal import rows
from notifier.journal.postgres.connection import Connection
from notifier.journal.rows import CHANGING, LASTING, Unreadable, Value, known_status, moment, stored
from notifier.journal.statements import Row, Statement, by_sql, numbered

_SMALL = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}

# The types of the columns' arrays. `said` is the text that searches read, see below.
CHANGING_TYPES = dict.fromkeys(CHANGING, "text") | {
    **dict.fromkeys(("due_at", "expires_at", "finished_at", "held_at"), "bigint"),
    "bounced": "smallint",
    "record": "bytea",
    "said": "text",
}
LASTING_TYPES = dict.fromkeys(LASTING, "text") | {"priority": "smallint", "created_at": "bigint"}
COLUMNS = "SELECT id, key, route, priority, channel, created_at FROM deliveries WHERE seq = $1"
SET = (
    ", ".join(f"{name} = {stored(name, f'changed.{name}')}" for name in CHANGING_TYPES)
    + ", lease = NULL, claim = NULL"
)

SUMS_UP_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('notifier.tallies'))"
SUM_UP = """
    WITH old AS (DELETE FROM tallies RETURNING status, moved)
    INSERT INTO tallies SELECT status, sum(moved) FROM old GROUP BY status
"""
BY_STATUS = "SELECT status, sum(moved)::bigint FROM tallies GROUP BY status"


def arrays(*columns: dict[str, str]) -> tuple[str, str]:
    """Parameters from `$1` on as arrays of these types; and the names, in the same order."""
    named = [pair for some in columns for pair in some.items()]
    types = ", ".join(f"${number}::{type}[]" for number, (_, type) in enumerate(named, 1))
    return types, ", ".join(name for name, _ in named)


def turned(rows: Sequence[Sequence[Value]], width: int) -> list[list[Value]]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def changing(delivery: Delivery) -> tuple[Value, ...]:
    """The values of CHANGING_TYPES."""
    return (*rows.changing(delivery), _searchable(delivery))


async def run(db: Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    """Carry out the statements. Returns the rows that each has returned."""
    return [
        [tuple(row) for row in await db.fetch(numbered(each.sql), *each.values)]
        for each in statements
    ]


async def run_all(db: Connection, statements: Sequence[Statement]) -> None:
    """Carry out statements that return nothing, those with the same SQL together."""
    for sql, values in by_sql(statements):
        await db.executemany(numbered(sql), values)


async def delivery(db: Connection, seq: int, status: str, record: bytes) -> Delivery:
    """The delivery, as far as its record can be read."""
    try:
        return rows.decode(status, record)
    except Unreadable as why:
        return await salvaged(db, seq, status, record, why)


async def salvaged(
    db: Connection, seq: int, status: str, record: bytes, why: Unreadable
) -> Delivery:
    id, key, route, priority, channel, created_at = await db.fetchrow(COLUMNS, seq)
    return rows.salvaged(
        why, status, record, id=id, key=key, route=route, priority=priority, channel=channel,
        created_at=created_at,
    )  # fmt: skip


async def with_conversations(db: Connection, seq: int, delivery: Delivery) -> Delivery:
    found = await db.fetch("SELECT number, lines FROM conversations WHERE seq = $1", seq)
    return rows.with_conversations(delivery, dict(found))


def small(text: str) -> str:
    """Lower-case A to Z only, as the SQLite journal does."""
    return text.translate(_SMALL)


def _searchable(delivery: Delivery) -> str:
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
    # PostgreSQL's text cannot hold NUL, but a relay's reply may have one.
    return small("\n".join(texts)).replace("\0", " ")


async def counts_by_status(db: Connection) -> dict[Status, int]:
    """
    The number of deliveries by status, in the caller's transaction. Only one replica at a time sums
    up the tallies.
    """
    if await db.fetchval(SUMS_UP_ALONE):
        await db.execute(SUM_UP)
    counts = dict.fromkeys(Status, 0)
    for name, count in await db.fetch(BY_STATUS):
        if (status := known_status(name)) is not None:
            counts[status] = count
    return counts


async def held_since(db: Connection) -> datetime | None:
    """When the delivery that was held first was held."""
    at = await db.fetchval("SELECT min(held_at) FROM deliveries WHERE held_at IS NOT NULL")
    return None if at is None else moment(at)
