"""PostgresJournal: the journal's contract, in SQL."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import count

from notifier.clock import Clock
from notifier.deliveries import WAITING, Delivery, Priority
from notifier.errors import JournalUnavailable, MessageNotFound, Rejected
from notifier.journal import (
    Added,
    Backlog,
    Change,
    Claim,
    Committed,
    Entry,
    Filter,
    Idempotency,
    Page,
    faults,
    nobody,
)
from notifier.journal.postgres import changes, rows, searches
from notifier.journal.postgres.additions import answer_kept
from notifier.journal.postgres.claims import Claims, first_due_of_all, next_due, waiting_queues
from notifier.journal.postgres.connection import (
    CONNECT_SECONDS,
    TROUBLE,
    Connection,
    again_if_collided,
    open_pool,
    translated,
)
from notifier.journal.postgres.erasing import ONE, Erasing
from notifier.journal.postgres.lease import Claimed, Heard, Lease, Token
from notifier.journal.postgres.writer import Writer
from notifier.journal.rows import micros, queues_of_waiting
from notifier.journal.searches import Turns
from notifier.journal.statements import Also, Bound, Row, Statement, numbered
from notifier.supervisor import Supervisor

LEASE_SECONDS = 15.0
SEARCHES = 4  # searches at a time, at most three of one caller
PORTION = 500  # deliveries in one transaction of bulk changes

# After a restart of the server all replicas first get the time to renew.
DROP_LEASES = """
    DELETE FROM leases WHERE id <> $1 AND expires_at < clock_timestamp()
        AND pg_postmaster_start_time() < clock_timestamp() - $2::interval
"""
ABANDONED = """
    SELECT seq, status, record FROM deliveries
    WHERE status = 'sending' AND NOT EXISTS (SELECT FROM leases WHERE leases.id = deliveries.lease)
    ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED
"""
UNANSWERED = """
    SELECT seq, status, record FROM deliveries
    WHERE status = 'sending' AND lease = $1 AND claim = $2 FOR UPDATE
"""
EXPIRED = """
    SELECT seq, status, record FROM deliveries
    WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""
HELD = """
    SELECT seq, status, record FROM deliveries
    WHERE held_at <= $1 ORDER BY held_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""
CONTENT = "SELECT content FROM deliveries JOIN contents USING (seq) WHERE id = $1"
VALUES = "SELECT name, value FROM words"  # the table has this name since version 1
NAMED = "hashtext('notifier.' || $1)"  # an advisory lock


class PostgresJournal(Erasing):
    """
    A journal for several replicas.

    Calls that add and record at the same time share one transaction. Claims stand as long as the
    lease is renewed in time. After that other replicas take the deliveries over, and records of the
    old claims are refused.
    """

    shared = True

    def __init__(
        self, url: str, *, lease: float = LEASE_SECONDS, supervisor: Supervisor | None = None
    ) -> None:
        self._url = url
        self._supervisor = supervisor or Supervisor()
        self.committed: Committed = nobody
        self.arrived = nobody
        self._lease_seconds = lease
        self._claims = Claims()
        self._calls = count(time.time_ns())  # so that each claim has a number of its own
        self._claimed = Claimed()
        self._unanswered: list[Token] = []  # the database may or may not have made these claims
        self._heard = Heard()
        self.news = self._heard.next
        self._turns = Turns(range(SEARCHES))
        self._also: list[Also] = []
        self._closed = True

    async def open(self) -> None:
        self._pool = await open_pool(self._url)
        self._lease = Lease(
            self._url,
            self._pool,
            seconds=self._lease_seconds,
            hear=self._heard.add,
            supervisor=self._supervisor,
        )
        try:
            with translated():
                await self._lease.open()
        except BaseException:  # also if the start is cancelled
            self._pool.terminate()
            raise
        start = partial(
            Writer,
            self._pool,
            finish=self._finish,
            committed=self.committed,
            supervisor=self._supervisor,
        )
        self._writer = start()
        # Apart, because a change may wait for a row that another replica has locked.
        self._amender = start()
        self._closed = False

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._writer.close()
            await self._amender.close()
            await self._lease.close()
            with contextlib.suppress(TimeoutError, *TROUBLE):
                await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)

    async def failed(self) -> BaseException:
        await asyncio.get_running_loop().create_future()  # a database may come back
        raise AssertionError

    async def add(self, entries: Sequence[Entry], idempotency: Idempotency | None = None) -> Added:
        self._check()
        added = await self._writer.add(entries, idempotency)
        self.arrived([entry.delivery.queue for entry in entries])
        return added

    async def answer(
        self, scope: str, key: str, fingerprint: bytes, *, now: datetime
    ) -> bytes | None:
        async with self._connection() as db:
            return await answer_kept(db, (scope, key), fingerprint, now)

    async def claim(
        self, queue: str, limit: int, *, now: Clock, slowest: Priority = Priority.BULK
    ) -> list[Claim]:
        await self._give_back()
        token = Token(self._lease.id, next(self._calls))
        try:
            async with self._connection() as db:
                claims = await self._claims.take(db, queue, limit, micros(now()), slowest, token)
        except BaseException:
            self._unanswered.append(token)
            raise
        self._claimed.add(claims, token)
        return claims

    async def still_ours(self, delivery: Delivery) -> bool:
        if not self._lease.fresh:
            with translated():
                await self._lease.renew()
        token = self._claimed.token(delivery)
        if token is not None and token.lease == self._lease.id:
            return True
        self._claimed.take(delivery)
        return False

    async def record(self, delivery: Delivery) -> bool:
        token = self._claimed.take(delivery)
        if token is None:
            return False
        try:
            ours = await asyncio.shield(self._writer.record(delivery, token))
        except JournalUnavailable:
            self._claimed.unanswered(delivery, token)
            raise
        except Rejected:
            self._claimed.put_back(delivery, token)
            raise
        if ours and delivery.status in WAITING:
            self.arrived([delivery.queue])
        return ours

    def accompany(self, also: Also) -> None:
        self._also.append(also)

    async def amend(self, id: str, change: Change, *, also: Also | None = None) -> Delivery:
        self._check()
        after = await self._amender.amend(id, change, also)
        self.arrived(queues_of_waiting([after]))
        return after

    async def amend_all(self, which: Filter, change: Change, *, also: Also | None = None) -> int:
        changed, before = 0, None

        async def portion() -> tuple[int | None, list[Delivery]]:
            async with self._transaction() as db:
                found = await searches.matching(db, which, limit=PORTION, before=before, lock=True)
                after = await changes.change_all(db, found, change, hold=False)
                await self._finish(db, after, also=also)
            return found[-1]["seq"] if len(found) == PORTION else None, after

        while True:
            before, after = await again_if_collided(portion)
            changed += len(after)
            self.arrived(queues_of_waiting(after))
            if before is None:
                return changed

    async def recover(self, change: Change) -> list[Delivery]:
        recovered: list[Delivery] = []
        async with self._connection() as db:
            await db.execute(DROP_LEASES, self._lease.id, timedelta(seconds=self._lease_seconds))
        while True:
            portion = await self._changed(ABANDONED, (PORTION,), change)
            self.arrived(queues_of_waiting(portion))
            recovered += portion
            if len(portion) < PORTION:
                return recovered

    async def expire(self, now: datetime, change: Change, *, limit: int = 500) -> list[Delivery]:
        return await self._changed(EXPIRED, (micros(now), limit), change)

    async def expire_held(
        self, before: datetime, change: Change, *, limit: int = 500
    ) -> list[Delivery]:
        return await self._changed(HELD, (micros(before), limit), change)

    async def next_due(self, queue: str, *, slowest: Priority = Priority.BULK) -> datetime | None:
        async with self._connection() as db:
            return await next_due(db, queue, slowest)

    async def get(self, id: str, *, conversations: bool = False) -> Delivery:
        async with self._connection() as db:
            row = await db.fetchrow(ONE, id)
            if row is None:
                raise MessageNotFound(id)
            delivery = await rows.delivery(db, row["seq"], row["status"], row["record"])
            if conversations:
                return await rows.with_conversations(db, row["seq"], delivery)
            return delivery

    async def content(self, id: str) -> bytes:
        async with self._connection() as db:
            content: bytes | None = await db.fetchval(CONTENT, id)
        if content is None:
            raise MessageNotFound(id)
        return content

    async def find(
        self, which: Filter, *, limit: int = 50, cursor: str | None = None, by: str = ""
    ) -> Page:
        async with self._turn(by), self._connection() as db:
            return await searches.find(db, which, limit=limit, cursor=cursor)

    async def count(self, which: Filter, *, most: int, by: str = "") -> int:
        async with self._turn(by), self._connection() as db:
            return await searches.count(db, which, most=most)

    @contextlib.asynccontextmanager
    async def _turn(self, by: str) -> AsyncIterator[None]:
        """
        Wait for a place for a search. Searches never take all connections, because claims and
        records need some.
        """
        place = await self._turns.take(by)
        try:
            yield
        finally:
            self._turns.give_back(by, place)

    async def queues(self) -> list[str]:
        async with self._connection() as db:
            return await waiting_queues(db)

    async def backlog(self) -> Backlog:
        async with self._transaction() as db:
            counts = await rows.counts_by_status(db)
            return Backlog(counts, await first_due_of_all(db), await rows.held_since(db))

    async def query(self, sql: str, *values: Bound) -> list[Row]:
        async with self._connection() as db:
            return [tuple(row) for row in await db.fetch(numbered(sql), *values)]

    async def execute(self, *statements: Statement) -> list[list[Row]]:
        return await again_if_collided(lambda: self._executed(statements))

    async def _executed(self, statements: Sequence[Statement]) -> list[list[Row]]:
        async with self._transaction() as db:
            return await rows.run(db, statements)

    async def put(self, name: str, value: str, *also: Statement) -> None:
        self._check()
        await self._writer.put(name, value, also)

    async def values(self) -> dict[str, str]:
        async with self._connection() as db:
            return dict(await db.fetch(VALUES))

    async def value(self, name: str) -> str | None:
        async with self._connection() as db:
            value: str | None = await db.fetchval(f"{VALUES} WHERE name = $1", name, column=1)
            return value

    async def forget(self, names: Sequence[str], *also: Statement) -> None:
        async with self._transaction() as db:
            await db.execute("DELETE FROM words WHERE name = ANY($1)", list(names))
            await rows.run(db, also)
            await self._lease.tell(db, (), values=True)

    @contextlib.asynccontextmanager
    async def try_lock(self, name: str) -> AsyncIterator[bool]:
        async with self._connection() as db:  # if it breaks, the lock is gone, too
            alone = await db.fetchval(f"SELECT pg_try_advisory_lock({NAMED})", name)
            try:
                yield alone
            finally:
                if alone:
                    await db.execute(f"SELECT pg_advisory_unlock({NAMED})", name)

    async def prune(
        self,
        *,
        finished_before: datetime,
        contents_before: datetime,
        now: datetime,
        limit: int = 500,
    ) -> int:
        times = map(micros, (finished_before, contents_before, now))
        async with self._transaction() as db:
            return await changes.prune(db, limit, *times)

    async def _finish(
        self,
        db: Connection,
        changed: Sequence[Delivery],
        values: bool = False,
        *,
        also: Also | None = None,
    ) -> None:
        """End a transaction: write what goes with changed deliveries, and notify the replicas."""
        for each in (*self._also, also) if changed else ():
            if each is not None:
                await rows.run_all(db, each(changed))
        await self._lease.tell(db, changed, values=values)

    async def _give_back(self) -> None:
        """
        Release claims whose call got no answer: nothing of them has been sent. Several routes may
        do this at once, so each takes a token off the list before it awaits anything.
        """
        while self._unanswered:
            token = self._unanswered.pop()
            values = token.lease, token.claim
            try:
                found = await self._changed(UNANSWERED, values, Delivery.released)
            except BaseException:
                self._unanswered.append(token)
                raise
            self.arrived(queues_of_waiting(found))  # a claim may have found nothing meanwhile

    async def _changed(self, sql: str, values: tuple[int, ...], change: Change) -> list[Delivery]:
        async with self._transaction() as db:
            after = await changes.change_all(db, await db.fetch(sql, *values), change, hold=True)
            await self._finish(db, after)
            return after

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        self._check()
        with translated():
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as db:
                yield db

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._connection() as db, db.transaction():
            yield db

    def _check(self) -> None:
        if self._closed:
            raise faults.closed()
