"""Which alerts were delivered on a channel, so that each alert and its end are delivered once."""

import contextlib
from collections.abc import Iterator
from datetime import datetime

from notifier.alerts.conditions import SHARED, Name
from notifier.errors import NotifierError
from notifier.journal import Journal

# The names of the journal's values: this prefix, the owner, the channel, the alert's name.
PREFIX = "alert:"
ALL = "all"


class Ledger:
    """
    The alerts that are raised on one channel, with the time since when.

    They are kept in the journal. While the journal cannot be written they are kept in memory and
    written later. `us` names this replica; it is empty if there are no replicas.
    """

    def __init__(self, journal: Journal, channel: str, *, us: str) -> None:
        self._journal = journal
        self._channel = channel
        self._us = us or ALL
        self._since: dict[Name, datetime] = {}
        self._unsaved: dict[Name, datetime | None] = {}
        self._known = False

    async def refresh(self) -> bool:
        """
        Read the ledger again, because other replicas write it, too. False: it was never readable
        yet.
        """
        with contextlib.suppress(NotifierError):
            for name, since in list(self._unsaved.items()):
                await self._save(name, since)
            self._since = dict(_found(await self._journal.values(), self._channel, self._us))
            self._known = True
        return self._known

    def since(self, name: Name) -> datetime | None:
        return self._since.get(name)

    def all(self) -> list[tuple[Name, datetime]]:
        return list(self._since.items())

    async def note(self, name: Name, since: datetime | None) -> None:
        """Note that an alert was delivered. None: that its end was delivered."""
        if since is None:
            self._since.pop(name, None)
        else:
            self._since[name] = since
        self._unsaved[name] = since
        with contextlib.suppress(NotifierError):
            await self._save(name, since)

    async def _save(self, name: Name, since: datetime | None) -> None:
        owner = ALL if name[0] in SHARED else self._us
        key = f"{PREFIX}{owner} {self._channel} {' '.join(name)}"
        await self._journal.put(key, since.isoformat() if since else "")
        self._unsaved.pop(name, None)


def _found(values: dict[str, str], channel: str, us: str) -> Iterator[tuple[Name, datetime]]:
    for key, value in values.items():
        if value and key.startswith(PREFIX):
            owner, on, kind, subject = key.removeprefix(PREFIX).split(" ", 3)
            if on == channel and owner in (us, ALL):
                yield (kind, subject), datetime.fromisoformat(value)
