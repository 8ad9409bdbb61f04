"""The figures of each minute, which each process keeps for itself."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from notifier.journal import Minute
from notifier.journal.minutes import minute_number, minute_of, minute_row

KEEP = "INSERT OR REPLACE INTO minutes VALUES (?, ?, ?, ?, ?, ?)"
SUMMED = """
    SELECT minute, sum(accepted), sum(sent), sum(failed), max(waiting) FROM minutes
    WHERE minute >= ? AND process <> ? GROUP BY minute ORDER BY minute
"""


def keep(
    db: sqlite3.Connection, process: str, minutes: Sequence[Minute], *, forget_before: datetime
) -> None:
    """In place of what the process has said of them before."""
    db.executemany(KEEP, [minute_row(process, each) for each in minutes])
    db.execute("DELETE FROM minutes WHERE minute < ?", (minute_number(forget_before),))


def summed(db: sqlite3.Connection, since: datetime, *, but: str) -> list[Minute]:
    """Over all processes but one."""
    return [minute_of(*row) for row in db.execute(SUMMED, (minute_number(since), but))]
