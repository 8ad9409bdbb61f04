"""The figures of each minute, which each process keeps for itself."""

from collections.abc import Sequence
from datetime import datetime

from notifier.journal import Minute
from notifier.journal.minutes import minute_number, minute_of, minute_row
from notifier.journal.postgres import rows
from notifier.journal.postgres.opening import Connection

KEEP = """
    INSERT INTO minutes SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[],
        $5::bigint[], $6::bigint[])
    ON CONFLICT (minute, process) DO UPDATE SET accepted = excluded.accepted,
        sent = excluded.sent, failed = excluded.failed, waiting = excluded.waiting
"""
SUMMED = """
    SELECT minute, sum(accepted)::bigint, sum(sent)::bigint, sum(failed)::bigint, max(waiting)
    FROM minutes WHERE minute >= $1 AND process <> $2 GROUP BY minute ORDER BY minute
"""


async def keep(
    db: Connection, process: str, minutes: Sequence[Minute], *, forget_before: datetime
) -> None:
    """In place of what the process has said of them before."""
    kept = [minute_row(process, each) for each in minutes]
    await db.execute(KEEP, *rows.turned(kept, 6))
    await db.execute("DELETE FROM minutes WHERE minute < $1", minute_number(forget_before))


async def summed(db: Connection, since: datetime, *, but: str) -> list[Minute]:
    """Over all processes but one."""
    return [minute_of(*row) for row in await db.fetch(SUMMED, minute_number(since), but)]
