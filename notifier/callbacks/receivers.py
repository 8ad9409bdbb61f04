"""
The state of each application's URL that outlives a restart, and which replica sends to it: one
row for each key.

A replica sends to a URL under a lease, which it renews. When it dies, the lease runs out and
another replica takes over. Clocks of replicas may differ by less than the lease.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from notifier.journal import Journal
from notifier.journal.rows import micros, moment
from notifier.journal.statements import Statement

LEASE = timedelta(seconds=15)

TAKE = """
    INSERT INTO callback_urls (key, sender, sender_until) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE
        SET sender = excluded.sender, sender_until = excluded.sender_until
    WHERE callback_urls.sender = excluded.sender OR callback_urls.sender_until < ?
    RETURNING key
"""
RELEASE = "UPDATE callback_urls SET sender_until = 0 WHERE sender = ?"
ALL = "SELECT key, paused_at, paused_why, failing_since, trouble FROM callback_urls"
PAUSE = """
    UPDATE callback_urls SET paused_at = ?, paused_why = ? WHERE key = ? AND paused_at IS NULL
"""
RESUME = """
    UPDATE callback_urls SET paused_at = NULL, paused_why = '', failing_since = NULL, trouble = ''
    WHERE key = ?
"""
FAIL = """
    UPDATE callback_urls SET failing_since = coalesce(failing_since, ?), trouble = ? WHERE key = ?
"""
WORK = "UPDATE callback_urls SET failing_since = NULL, trouble = '' WHERE key = ?"


class Kept(Struct, frozen=True):
    """The state of a URL. None: it is not paused, or does not fail."""

    paused_at: datetime | None = None
    paused_why: str = ""
    failing_since: datetime | None = None
    trouble: str = ""  # the last failure's


class Receivers:
    """Reads and changes the state of URLs. Any call may raise JournalUnavailable."""

    def __init__(self, journal: Journal, *, us: str) -> None:
        self._journal = journal
        self._us = us  # this replica

    async def take(self, keys: Iterable[str], now: datetime) -> set[str]:
        """Take or renew the leases of these keys. Returns the keys that are ours now."""
        until = micros(now + LEASE)
        statements = [Statement(TAKE, (key, self._us, until, micros(now))) for key in keys]
        if not statements:
            return set()
        return {row[0] for rows in await self._journal.execute(*statements) for row in rows}

    async def release(self) -> None:
        """Let other replicas take over at once."""
        await self._journal.execute(Statement(RELEASE, (self._us,)))

    async def all(self) -> dict[str, Kept]:
        found = await self._journal.query(ALL)
        return {
            key: Kept(
                None if paused is None else moment(paused),
                why,
                None if failing is None else moment(failing),
                trouble,
            )
            for key, paused, why, failing, trouble in found
        }

    async def pause(self, key: str, why: str, now: datetime) -> None:
        await self._journal.execute(Statement(PAUSE, (micros(now), why, key)))

    async def resume(self, key: str, record: Statement) -> None:
        await self._journal.execute(record, Statement(RESUME, (key,)))

    async def fails(self, key: str, trouble: str, now: datetime) -> None:
        await self._journal.execute(Statement(FAIL, (micros(now), trouble, key)))

    async def works(self, key: str) -> None:
        await self._journal.execute(Statement(WORK, (key,)))


class CallbackState(Struct, frozen=True, kw_only=True):
    """The state of one application's callbacks, and how many wait."""

    key: str  # the name of the API key
    waiting: int = 0  # callbacks
    oldest: datetime | None = None  # since when the first of them waits
    paused_at: datetime | None = None  # None: it is not paused
    paused_why: str = ""
    failing_since: datetime | None = None  # None: the last try went well
    trouble: str = ""  # the last failure's
