"""The figures of each minute, which each process keeps for itself in the journal."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from notifier.journal import Journal
from notifier.journal.statements import Statement

KEEP = """
    INSERT INTO minutes (minute, process, accepted, sent, failed, waiting, bounced)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (minute, process) DO UPDATE SET accepted = excluded.accepted,
        sent = excluded.sent, failed = excluded.failed, waiting = excluded.waiting,
        bounced = excluded.bounced
"""
FORGET = "DELETE FROM minutes WHERE minute < ?"
SUMMED = """
    SELECT minute, CAST(sum(accepted) AS BIGINT), CAST(sum(sent) AS BIGINT),
        CAST(sum(failed) AS BIGINT), max(waiting), CAST(sum(bounced) AS BIGINT)
    FROM minutes WHERE minute >= ? AND process <> ? GROUP BY minute ORDER BY minute
"""


class Minute(Struct):
    """One minute's figures. `waiting` is how many messages waited at its end, or wait now."""

    at: datetime
    accepted: int = 0
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    bounced: int = 0  # recipients of messages that were sent, perhaps long before


async def keep(
    journal: Journal, process: str, minutes: Sequence[Minute], *, forget_before: datetime
) -> None:
    """
    Keep what the process has counted in each of these minutes, in place of what it had counted so
    far. Minutes before `forget_before` are dropped.
    """
    kept = (
        (minute_of(m.at), process, m.accepted, m.sent, m.failed, m.waiting, m.bounced)
        for m in minutes
    )
    forget = Statement(FORGET, (minute_of(forget_before),))
    await journal.execute(*(Statement(KEEP, values) for values in kept), forget)


async def summed(journal: Journal, since: datetime, *, but: str) -> list[Minute]:
    """The sums over all processes but one, for the minutes that have any."""
    rows = await journal.query(SUMMED, minute_of(since), but)
    return [Minute(start_of(minute), *figures) for minute, *figures in rows]


def minute_of(at: datetime) -> int:
    """Minutes since 1970, UTC."""
    return int(at.timestamp()) // 60


def start_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
