"""Dropping what nobody asks for any more, a little at a time; several replicas may at once."""

from datetime import UTC, datetime

from notifier.deliveries import Delivery
from notifier.journal import records
from notifier.journal.postgres import rows
from notifier.journal.postgres.opening import Connection
from notifier.journal.records import Unreadable

ENDED = """
    DELETE FROM deliveries WHERE seq IN (
        SELECT seq FROM deliveries WHERE finished_at < $1
        ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING seq, status, record
"""
TERMS = """
    DELETE FROM terms USING unnest($1::text[], $2::bigint[]) AS gone (term, seq)
    WHERE terms.term = gone.term AND terms.seq = gone.seq
"""
STRIP = """
    UPDATE deliveries SET stripped = TRUE WHERE seq IN (
        SELECT seq FROM deliveries WHERE finished_at < $1 AND NOT stripped
        ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING seq
"""
CONTENTS = "DELETE FROM contents WHERE seq = ANY ($1::bigint[]) RETURNING seq"
CONVERSATIONS = "DELETE FROM conversations WHERE seq = ANY ($1::bigint[])"
KEYS = """
    DELETE FROM idempotency WHERE (scope, key) IN (
        SELECT scope, key FROM idempotency WHERE expires_at <= $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING scope
"""


def _readable(status: str, record: bytes) -> Delivery:
    """With what can be read of it, if not all can."""
    try:
        return records.decode(status, record)
    except Unreadable as why:
        now = datetime.now(UTC)
        return records.salvaged(
            why, status, record, id="", key="", route="", priority=0, channel="", created_at=now
        )


async def prune(
    db: Connection, limit: int, finished_before: int, bodies_before: int, now: int
) -> int:
    """How many rows went, in the caller's transaction. Times in microseconds."""
    ended = await db.fetch(ENDED, finished_before, limit)
    if ended:
        terms = [
            (term, row["seq"])
            for row in ended
            for term in rows.terms(_readable(row["status"], row["record"]))
        ]
        await db.execute(TERMS, *rows.turned(terms, 2))
        await db.fetch(CONTENTS, [row["seq"] for row in ended])
        await db.execute(CONVERSATIONS, [row["seq"] for row in ended])
    stripped = await db.fetch(STRIP, bodies_before, limit)
    contents = await db.fetch(CONTENTS, [row["seq"] for row in stripped])
    keys = await db.fetch(KEYS, now, limit)
    return len(ended) + len(contents) + len(keys)
