"""What happens too often for a record each: who did it how often, by the hour."""

from collections import Counter
from datetime import datetime

from notifier.audit.records import Record, added
from notifier.journal.statements import Statement


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
        """These could not be written."""
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
