"""How many deliveries there are by status."""

from datetime import datetime

from notifier.deliveries import Status
from notifier.journal.postgres.connection import Connection
from notifier.journal.rows import known_status, moment

ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('notifier.tallies'))"
SUM_UP = """
    WITH old AS (DELETE FROM tallies RETURNING status, moved)
    INSERT INTO tallies SELECT status, sum(moved) FROM old GROUP BY status
"""
BY_STATUS = "SELECT status, sum(moved)::bigint FROM tallies GROUP BY status"


async def by_status(db: Connection) -> dict[Status, int]:
    """
    The number of deliveries by status, in the caller's transaction. Only one replica at a time sums
    up the tallies.
    """
    if await db.fetchval(ALONE):
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
