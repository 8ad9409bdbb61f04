"""Failed sign-ins: an attacker must not fill the disk with them."""

from datetime import datetime, timedelta

from notifier.audit.records import Record

MOST = 30  # that are told one by one in an hour
HOUR = timedelta(hours=1)
WHAT = "sign-in-refused"


class Vain:
    """Tells of the first failed sign-ins of each hour, and how many more there were."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._count = 0

    def told(self, at: datetime, *, on: str, detail: str) -> list[Record]:
        """What is to be written of a failed sign-in from this address."""
        records = []
        if self._since is None or at - self._since >= HOUR:
            records = self.rest(at)
            self._since, self._count = at, 0
        self._count += 1
        if self._count <= MOST:
            records.append(Record(at, "anonymous", WHAT, on, 1, detail))
        return records

    def rest(self, at: datetime) -> list[Record]:
        """What is to be written of those that were not told one by one, once the hour is over."""
        more = self._count - MOST
        if self._since is None or more <= 0 or at - self._since < HOUR:
            return []
        since, self._since, self._count = self._since, None, 0
        detail = f"more since {since:%Y-%m-%d %H:%M} UTC, not told one by one"
        return [Record(at, "anonymous", WHAT, "", more, detail)]
