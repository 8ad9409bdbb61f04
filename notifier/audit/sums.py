"""
Sums of acts that happen too often for single records, by caller and hour; and failed sign-ins, with
which an attacker must not fill the disk.
"""

from collections import Counter
from datetime import datetime, timedelta

from notifier.audit.records import Record, added
from notifier.journal.statements import Statement

MOST = 30  # that are recorded one by one in an hour
HOUR = timedelta(hours=1)
WHAT = "sign-in-refused"


class Sums:
    """
    Counts in memory, because a record for each message would cost more than the message. Each
    message and each report is kept with what tells who handed it in; the sums outlive them.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, by: str, what: str, number: int = 1) -> None:
        """Count something."""
        self._counts[by, what] += number

    def taken(self) -> Counter[tuple[str, str]]:
        """What was counted since the last call."""
        counts, self._counts = self._counts, Counter()
        return counts

    def give_back(self, counts: Counter[tuple[str, str]]) -> None:
        """Take back counts that could not be written."""
        self._counts.update(counts)


def statements(counts: Counter[tuple[str, str]], now: datetime) -> list[Statement]:
    """
    Add the counts to those of the hour. Several replicas add to the same records, in the same
    order, so that none waits for another for ever.
    """
    hour = f"{now:%Y-%m-%d %H:00}"
    detail = f"in the hour from {hour} UTC, counted every few seconds"
    return [
        added(Record(now, by, what, "", number, detail), once=f"{what} {by} {hour}")
        for (by, what), number in sorted(counts.items())
    ]


class RefusedSignIns:
    """Records the first failed sign-ins of each hour, and the number of the others."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._count = 0

    def records(self, at: datetime, *, on: str, detail: str) -> list[Record]:
        """The records of a failed sign-in from this address."""
        records = []
        if self._since is None or at - self._since >= HOUR:
            records = self.rest(at)
            self._since, self._count = at, 0
        self._count += 1
        if self._count <= MOST:
            records.append(Record(at, "anonymous", WHAT, on, 1, detail))
        return records

    def rest(self, at: datetime) -> list[Record]:
        """A record of the failed sign-ins that have none of their own, once the hour is over."""
        more = self._count - MOST
        if self._since is None or more <= 0 or at - self._since < HOUR:
            return []
        since, self._since, self._count = self._since, None, 0
        detail = f"more since {since:%Y-%m-%d %H:%M} UTC, not recorded one by one"
        return [Record(at, "anonymous", WHAT, "", more, detail)]
