"""Deletes all that is kept of a delivery, and has the database clear the freed space."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from notifier.deliveries import Delivery
from notifier.errors import MessageNotFound
from notifier.journal import Arrived, Change
from notifier.journal.postgres import rows
from notifier.journal.postgres.changes import (
    DROP_CONTENTS,
    DROP_CONVERSATIONS,
    DROP_TERMS,
    Found,
    update,
)
from notifier.journal.postgres.connection import SESSION, Connection
from notifier.journal.postgres.lease import Lease
from notifier.journal.rows import queues_of_waiting, terms
from notifier.journal.statements import Also

ONE = "SELECT seq, status, record FROM deliveries WHERE id = $1"
REPLICAS = "SELECT count(*) FROM leases WHERE expires_at > clock_timestamp()"
ADD_TERMS = "INSERT INTO terms SELECT * FROM unnest($1::text[], $2::bigint[])"
STRIP = "UPDATE deliveries SET stripped = TRUE WHERE seq = $1"
TABLES = (
    "deliveries", "contents", "conversations", "terms", "idempotency", "words", "suppressions",
    "suppression_strikes", "callbacks", "callback_urls", "audit", "erasures",
)  # fmt: skip
VACUUM_SECONDS = 3600.0
LEFT = (
    "old versions of rows that PostgreSQL has not overwritten yet: in its data files,"
    " its WAL, its replicas and its backups"
)


class Erasing(ABC):
    """The part of the journal that deletes deliveries for good."""

    arrived: Arrived
    _lease: Lease

    @abstractmethod
    def _connection(self) -> AbstractAsyncContextManager[Connection]: ...

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[Connection]: ...

    @abstractmethod
    async def _finish(
        self,
        db: Connection,
        changed: Sequence[Delivery],
        values: bool = False,
        *,
        also: Also | None = None,
    ) -> None: ...

    async def erase(self, id: str, change: Change, *, also: Also | None = None) -> Delivery:
        async with self._transaction() as db:
            row = await _locked(db, id)
            after = await _erased(db, row, change)
            if after.status.value != row["status"]:
                await self._finish(db, [after], also=also)
            else:
                await rows.run_all(db, also([after]) if also else ())
                await self._lease.tell(db, [after])
        self.arrived(queues_of_waiting([after]))
        return after

    async def overwrite(self) -> str:
        """Have the space of deleted rows reused. Returns the places that this does not reach."""
        async with self._connection() as db:
            await db.execute("SET statement_timeout = 0")
            try:
                for table in TABLES:
                    await db.execute(f"VACUUM {table}", timeout=VACUUM_SECONDS)
            finally:
                await db.execute(f"SET statement_timeout = '{SESSION['statement_timeout']}'")
        return LEFT

    async def replicas(self) -> int:
        async with self._connection() as db:
            return int(await db.fetchval(REPLICAS))


async def _locked(db: Connection, id: str) -> Found:
    """The row of one delivery, locked. Raises MessageNotFound."""
    row = await db.fetchrow(f"{ONE} FOR UPDATE", id)
    if row is None:
        raise MessageNotFound(id)
    return row


async def _erased(db: Connection, row: Found, change: Change) -> Delivery:
    """Change a delivery, and delete what is kept beside its record. Raises what `change` raises."""
    seq = row["seq"]
    before = await rows.delivery(db, seq, row["status"], row["record"])
    after = change(before)
    if after is before:
        return after
    await db.execute(DROP_CONVERSATIONS, [seq])
    was, now = ([(term, seq) for term in terms(each)] for each in (before, after))
    await db.execute(DROP_TERMS, *rows.turned(was, 2))
    await db.execute(ADD_TERMS, *rows.turned(now, 2))
    await update(db, [(seq, after)])
    if after.status.final:
        await db.execute(STRIP, seq)
        await db.fetch(DROP_CONTENTS, [seq])
    return after
