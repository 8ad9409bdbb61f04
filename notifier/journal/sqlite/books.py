"""How many deliveries there are by status, without counting them."""

import sqlite3
from collections import Counter

from notifier.deliveries import Status

_STATUS = {status.value: status for status in Status}


class Books:
    """How many deliveries there are by status, true to what has been committed."""

    def __init__(self) -> None:
        self.counts: Counter[Status] = Counter()
        self._moves: Counter[Status] = Counter()

    def load(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT status, count(*) FROM deliveries GROUP BY status")
        known = ((self.known(status), count) for status, count in rows)
        self.counts = Counter({status: count for status, count in known if status is not None})

    def known(self, status: str) -> Status | None:
        """None: a newer notifier's."""
        return _STATUS.get(status)

    def move(self, before: Status | None, after: Status | None, count: int = 1) -> None:
        if before is not None:
            self._moves[before] -= count
        if after is not None:
            self._moves[after] += count

    def keep(self) -> None:
        if self._moves:
            counts = self.counts.copy()  # replaced whole: others read it meanwhile
            counts.update(self._moves)
            self.counts = counts
            self._moves.clear()

    def forget(self) -> None:
        self._moves.clear()
