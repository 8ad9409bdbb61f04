"""
Figures: how many deliveries there are by status, and what each process counted in a minute. Beside
them, which deliveries a transaction has changed.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from notifier.deliveries import WAITING, Delivery, Status
from notifier.journal import Minute
from notifier.journal.rows import known_status, micros, minute_number, minute_of, minute_row

KEEP = "INSERT OR REPLACE INTO minutes VALUES (?, ?, ?, ?, ?, ?, ?)"
SUMMED = """
    SELECT minute, sum(accepted), sum(sent), sum(failed), max(waiting), sum(bounced) FROM minutes
    WHERE minute >= ? AND process <> ? GROUP BY minute ORDER BY minute
"""


class StatusCounts:
    """
    How many deliveries there are by status, as of the last commit; and, if `keep_changed` is set,
    which deliveries the transaction has added or changed.

    `first_due` has, for queues of which it is known, a time before which nothing in it is due: of
    the first delivery that waits there, or earlier.
    """

    def __init__(self) -> None:
        self.counts: Counter[Status] = Counter()
        self.keep_changed = False
        self.changed: list[Delivery] = []
        self.first_due: dict[str, int] = {}
        self._moves: Counter[Status] = Counter()

    def load(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT status, count(*) FROM deliveries GROUP BY status")
        known = ((known_status(status), count) for status, count in rows)
        self.counts = Counter({status: count for status, count in known if status is not None})

    def move(self, before: Status | None, after: Status | None, count: int = 1) -> None:
        if before is not None:
            self._moves[before] -= count
        if after is not None:
            self._moves[after] += count

    def change(self, before: Status | None, after: Delivery) -> None:
        """Count a delivery that was added (`before` is None) or changed."""
        self.move(before, after.status)
        if self.keep_changed:
            self.changed.append(after)
        if after.status in WAITING and (known := self.first_due.get(after.queue)) is not None:
            self.first_due[after.queue] = min(known, micros(after.due_at))

    def add_claimed(self, new: Delivery) -> None:
        """Count a delivery that was claimed as it was added: it never waits."""
        self.move(None, Status.SENDING)
        if self.keep_changed:
            self.changed.append(new)

    def commit(self) -> None:
        self.changed.clear()
        if self._moves:
            counts = self.counts.copy()  # replaced as a whole, because other threads read it
            counts.update(self._moves)
            self.counts = counts
            self._moves.clear()

    def roll_back(self) -> None:
        self.changed.clear()
        self.first_due.clear()  # what was claimed is due again
        self._moves.clear()


def keep_minutes(
    db: sqlite3.Connection, process: str, minutes: Sequence[Minute], *, forget_before: datetime
) -> None:
    """Keep what the process has counted in these minutes, in place of its earlier counts."""
    db.executemany(KEEP, [minute_row(process, each) for each in minutes])
    db.execute("DELETE FROM minutes WHERE minute < ?", (minute_number(forget_before),))


def minutes(db: sqlite3.Connection, since: datetime, *, but: str) -> list[Minute]:
    """The sums over all processes but one."""
    return [minute_of(*row) for row in db.execute(SUMMED, (minute_number(since), but))]
