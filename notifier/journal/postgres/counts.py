"""Figures: how many deliveries there are by status, and what each process counted in a minute."""

from collections.abc import Sequence
from datetime import datetime

from notifier.deliveries import Status
from notifier.journal import Minute
from notifier.journal.postgres import rows
from notifier.journal.postgres.connection import Connection
from notifier.journal.rows import known_status, minute_number, minute_of, minute_row, moment

ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('notifier.tallies'))"
SUM_UP = """
    WITH old AS (DELETE FROM tallies RETURNING status, moved)
    INSERT INTO tallies SELECT status, sum(moved) FROM old GROUP BY status
"""
BY_STATUS = "SELECT status, sum(moved)::bigint FROM tallies GROUP BY status"
KEEP = """
    INSERT INTO minutes SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[],
        $5::bigint[], $6::bigint[], $7::bigint[])
    ON CONFLICT (minute, process) DO UPDATE SET accepted = excluded.accepted,
        sent = excluded.sent, failed = excluded.failed, waiting = excluded.waiting,
        bounced = excluded.bounced
"""
SUMMED = """
    SELECT minute, sum(accepted)::bigint, sum(sent)::bigint, sum(failed)::bigint, max(waiting),
        sum(bounced)::bigint
    FROM minutes WHERE minute >= $1 AND process <> $2 GROUP BY minute ORDER BY minute
"""


async def by_status(db: Connection) -> dict[Status, int]:
    """
    How many deliveries there are by status, in the caller's transaction. One replica at a time sums
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
    """Since when the first of the held deliveries is held."""
    at = await db.fetchval("SELECT min(held_at) FROM deliveries WHERE held_at IS NOT NULL")
    return None if at is None else moment(at)


async def keep_minutes(
    db: Connection, process: str, minutes: Sequence[Minute], *, forget_before: datetime
) -> None:
    """Keep what the process has counted in these minutes, in place of its earlier counts."""
    kept = [minute_row(process, each) for each in minutes]
    await db.execute(KEEP, *rows.turned(kept, 7))
    await db.execute("DELETE FROM minutes WHERE minute < $1", minute_number(forget_before))


async def minutes(db: Connection, since: datetime, *, but: str) -> list[Minute]:
    """The sums over all processes but one."""
    return [minute_of(*row) for row in await db.fetch(SUMMED, minute_number(since), but)]
