"""Deliveries claimed for sending, in fair shares."""

from datetime import datetime
from typing import Any, TypeAlias

from msgspec.structs import replace

from notifier.deliveries import Priority, Status
from notifier.journal import Claim
from notifier.journal.fairness import (
    AHEAD_BYTES,
    Fairness,
    Line,
    by_priority,
    first_due,
    portions,
)
from notifier.journal.postgres.changes import hold_unreadable
from notifier.journal.postgres.connection import Connection
from notifier.journal.postgres.lease import Token
from notifier.journal.rows import Unreadable, decode

# The earliest due time of every (priority, key) of a queue: one index seek for each, however
# many rows wait behind it.
HEADS = """
    WITH RECURSIVE head AS (
        (
            SELECT priority, key, due_at FROM deliveries
            WHERE route = $1 AND due_at IS NOT NULL ORDER BY priority, key, due_at LIMIT 1
        )
        UNION ALL
        SELECT next.priority, next.key, next.due_at FROM head CROSS JOIN LATERAL (
            SELECT priority, key, due_at FROM deliveries
            WHERE route = $1 AND due_at IS NOT NULL AND (priority, key) > (head.priority, head.key)
            ORDER BY priority, key, due_at LIMIT 1
        ) AS next
    )
    SELECT priority, key, due_at FROM head
"""
# The queues in which deliveries wait: one index seek for each, however many wait in it.
QUEUES = """
    WITH RECURSIVE found (queue) AS (
        SELECT (SELECT min(route) FROM deliveries WHERE due_at IS NOT NULL)
        UNION ALL
        SELECT (SELECT min(route) FROM deliveries WHERE due_at IS NOT NULL AND route > found.queue)
        FROM found WHERE found.queue IS NOT NULL
    )
    SELECT queue FROM found WHERE queue IS NOT NULL
"""
# Rows that another replica is claiming just now are skipped.
TAKE = f"""
    WITH due AS MATERIALIZED (
        SELECT found.seq, found.status FROM unnest($4::text[], $5::bigint[]) AS turn (key, places)
        CROSS JOIN LATERAL (
            SELECT seq, status FROM deliveries
            WHERE route = $1 AND priority = $2 AND key = turn.key AND due_at <= $3
            ORDER BY due_at, seq LIMIT turn.places FOR UPDATE SKIP LOCKED
        ) AS found
    )
    UPDATE deliveries SET status = 'sending', due_at = NULL, expires_at = NULL,
        collapse_key = NULL, lease = $6, claim = $7
    FROM due LEFT JOIN contents USING (seq)
    WHERE deliveries.seq = due.seq
    RETURNING deliveries.seq, deliveries.key, due.status, deliveries.record,
        CASE WHEN octet_length(content) <= {AHEAD_BYTES} THEN content END AS content
"""  # noqa: S608  constant

Found: TypeAlias = tuple[
    int, Claim
]  # deliveries that are due at the same time go in the order of seq


class Claims:
    """Claims what is due, in fair shares."""

    def __init__(self) -> None:
        self._fairness = Fairness()

    async def take(
        self, db: Connection, queue: str, limit: int, now: int, slowest: Priority, token: Token
    ) -> list[Claim]:
        """
        Claim due deliveries. Each statement is a transaction of its own, so its claims stand
        whatever happens next.
        """
        heads = await db.fetch(HEADS, queue)
        claims: list[Claim] = []
        for line, keys, share in self._fairness.shares(queue, limit, heads, now, slowest):
            if places := min(share, limit - len(claims)):
                claims += await self._due(db, line, keys, places, now, token)
        claims.sort(key=by_priority)  # stable: within a priority the order of turns stays
        return claims

    async def _due(
        self,
        db: Connection,
        line: Line,
        keys: list[str],
        places: int,
        now: int,
        token: Token,
    ) -> list[Claim]:
        waiting = keys.copy()
        found: dict[str, list[Found]] = {key: [] for key in waiting}
        while places and waiting:
            asked = portions(waiting, places)
            taken = await _take(db, line, now, asked, token)
            for key, share in asked.items():
                some = taken.get(key, [])
                found[key] += some
                places -= len(some)
                if len(some) < share:
                    waiting.remove(key)
        for each in found.values():
            each.sort(key=_order)
        return [claim for _, claim in self._fairness.in_turns(line, found)]


async def waiting_queues(db: Connection) -> list[str]:
    """The queues in which deliveries wait."""
    return [queue for (queue,) in await db.fetch(QUEUES)]


async def next_due(db: Connection, queue: str, slowest: Priority) -> datetime | None:
    """When the first delivery of this queue is due."""
    return first_due(await db.fetch(HEADS, queue), slowest)


async def first_due_of_all(db: Connection) -> datetime | None:
    """When the first delivery of any queue is due."""
    queues = await waiting_queues(db)
    return first_due([head for queue in queues for head in await db.fetch(HEADS, queue)])


async def _take(
    db: Connection, line: Line, now: int, asked: dict[str, int], token: Token
) -> dict[str, list[Found]]:
    queue, priority = line
    keys, shares = list(asked), list(asked.values())
    rows = await db.fetch(TAKE, queue, priority, now, keys, shares, token.lease, token.claim)
    taken: dict[str, list[Found]] = {}
    for row in rows:
        try:
            delivery = replace(decode(row["status"], row["record"]), status=Status.SENDING)
        except Unreadable as why:  # it is held, so that the others go on
            await hold_unreadable(db, row, why)
        else:
            claim = Claim(delivery, row["content"])
            taken.setdefault(row["key"], []).append((row["seq"], claim))
    return taken


def _order(found: Found) -> tuple[Any, int]:
    seq, claim = found
    return claim.delivery.due_at, seq
