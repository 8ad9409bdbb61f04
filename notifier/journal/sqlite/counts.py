"""What the writer knows without asking: how many deliveries there are, and what it has changed."""

import sqlite3
from collections import Counter

from notifier.deliveries import WAITING, Delivery, Status
from notifier.journal.rows import known_status, micros


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
        if before is not None:
            self._moves[before] -= 1
        self._moves[after.status] += 1
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
