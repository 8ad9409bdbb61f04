"""PostgresJournal: what is asked of a journal, in SQL."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from itertools import count

import structlog

from notifier.clock import Clock
from notifier.deliveries import Delivery, Priority, Route, Status
from notifier.errors import JournalUnavailable, MessageNotFound, Rejected
from notifier.journal import (
    Added,
    Backlog,
    Claim,
    Entry,
    Filter,
    Idempotency,
    Minute,
    News,
    Page,
    Step,
)
from notifier.journal.commits import Commits
from notifier.journal.postgres import counts, prunes, rows, searches, steps
from notifier.journal.postgres.additions import Addition
from notifier.journal.postgres.additions import answer as kept_answer
from notifier.journal.postgres.claims import HEADS, Claims
from notifier.journal.postgres.faults import TROUBLE, told
from notifier.journal.postgres.holdings import Holdings
from notifier.journal.postgres.lease import Lease
from notifier.journal.postgres.opening import CONNECT_SECONDS, Connection, opened
from notifier.journal.postgres.rows import micros, moment
from notifier.journal.postgres.writer import Held, Piece, Record, Word, Writer
from notifier.journal.turns import Turns
from notifier.supervisor import Supervisor

LEASE_SECONDS = 15.0
SEARCHES = 4  # at a time, of which one caller has three
PORTION = 500  # deliveries in one transaction of those that touch many
NEWS_KEPT = 1_000  # ids; whoever reads the news later than that has missed some

# Not while all have been kept from renewing by the server itself: they get their time first.
DROP_LEASES = """
    DELETE FROM leases WHERE id <> $1 AND expires_at < clock_timestamp()
        AND pg_postmaster_start_time() < clock_timestamp() - $2::interval
"""
ABANDONED = """
    SELECT seq, status, record FROM deliveries
    WHERE status = 'sending'
        AND NOT EXISTS (SELECT FROM leases WHERE leases.id = deliveries.lease)
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
OLDEST_HELD = "SELECT min(held_at) FROM deliveries WHERE held_at IS NOT NULL"
ONE = "SELECT seq, status, record FROM deliveries WHERE id = $1"
CONTENT = "SELECT content FROM deliveries JOIN contents USING (seq) WHERE id = $1"
NAMED = "hashtext('notifier.' || $1)"  # an advisory lock
SUM_UP = """
    WITH old AS (DELETE FROM tallies RETURNING status, moved)
    INSERT INTO tallies SELECT status, sum(moved) FROM old GROUP BY status
"""

log = structlog.get_logger()


class PostgresJournal:
    """
    For several replicas. What is added and recorded at the same time shares one transaction.
    What is claimed is ours as long as our lease is renewed in time: after that the others
    take it over, and what we record of it is refused.
    """

    def __init__(
        self, url: str, *, lease: float = LEASE_SECONDS, supervisor: Supervisor | None = None
    ) -> None:
        self._url = url
        self._supervisor = supervisor or Supervisor()
        self.commits = Commits()
        self.arriving: Callable[[Route], None] = lambda _: None
        self._lease_seconds = lease
        self._claims = Claims()
        self._calls = count(time.time_ns())  # so that each claim has a number of its own
        self._held = Holdings()
        self._unanswered: list[Held] = []  # claims of which we do not know whether they are made
        self._news = News()
        self._turns = Turns(range(SEARCHES))
        self._closed = True

    async def open(self) -> None:
        self._stir = asyncio.Event()
        self._pool = await opened(self._url)
        self._lease = Lease(
            self._url,
            self._pool,
            seconds=self._lease_seconds,
            hear=self._hear,
            supervisor=self._supervisor,
        )
        try:
            with told():
                await self._lease.open()
        except BaseException:  # also where the start is broken off
            self._pool.terminate()
            raise
        self._writer = Writer(
            self._pool, tell=self._tell, commits=self.commits, supervisor=self._supervisor
        )
        self._closed = False

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._writer.close()
            await self._lease.close()
            with contextlib.suppress(TimeoutError, *TROUBLE):
                await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)

    async def failed(self) -> BaseException:
        await asyncio.get_running_loop().create_future()  # a database may come back
        raise AssertionError

    async def add(self, entries: Sequence[Entry], idempotency: Idempotency | None = None) -> Added:
        self._check()
        added = await self._writer.add(entries, idempotency)
        for route in {entry.delivery.route for entry in entries}:
            self.arriving(route)
        return added

    async def answer(
        self, scope: str, key: str, fingerprint: bytes, *, now: datetime
    ) -> bytes | None:
        async with self._connection() as db:
            return await kept_answer(db, (scope, key), fingerprint, now)

    async def claim(
        self, route: Route, limit: int, *, now: Clock, slowest: Priority = Priority.BULK
    ) -> list[Claim]:
        await self._give_back()
        held = Held(self._lease.id, next(self._calls))
        try:
            async with self._connection() as db:
                claims = await self._claims.take(db, route, limit, micros(now()), slowest, held)
        except BaseException:
            self._unanswered.append(held)
            raise
        self._held.take(claims, held)
        return claims

    async def holds(self, delivery: Delivery) -> bool:
        if not self._lease.fresh:
            with told():
                await self._lease.renew()
        held = self._held.under(delivery)
        if held is not None and held.lease == self._lease.id:
            return True
        self._held.let_go(delivery)
        return False

    async def record(self, delivery: Delivery) -> bool:
        held = self._held.let_go(delivery)
        if held is None:
            return False
        try:
            return await asyncio.shield(self._writer.record(delivery, held))
        except JournalUnavailable:
            self._held.unanswered(delivery, held)
            raise
        except Rejected:
            self._held.refused(delivery, held)
            raise

    async def amend(self, id: str, step: Step) -> Delivery:
        async with self._transaction() as db:
            row = await db.fetchrow(f"{ONE} FOR UPDATE", id)
            if row is None:
                raise MessageNotFound(id)
            after = await steps.step_one(db, row, step)
            await self._lease.tell(db, [after])
            return after

    async def amend_all(self, which: Filter, step: Step) -> int:
        changed, before = 0, None
        while True:
            async with self._transaction() as db:
                found = await searches.matching(db, which, limit=PORTION, before=before, lock=True)
                after = await steps.step_all(db, found, step, hold=False)
                await self._lease.tell(db, after)
            changed += len(after)
            if len(found) < PORTION:
                return changed
            before = found[-1]["seq"]

    async def recover(self, step: Step) -> list[Delivery]:
        recovered: list[Delivery] = []
        lease = timedelta(seconds=self._lease_seconds)
        async with self._connection() as db:
            await db.execute(DROP_LEASES, self._lease.id, lease)
        while True:
            portion = await self._stepped(ABANDONED, (PORTION,), step)
            recovered += portion
            if len(portion) < PORTION:
                return recovered

    async def expire(self, now: datetime, step: Step, *, limit: int = 500) -> list[Delivery]:
        return await self._stepped(EXPIRED, (micros(now), limit), step)

    async def give_up_held(
        self, before: datetime, step: Step, *, limit: int = 500
    ) -> list[Delivery]:
        return await self._stepped(HELD, (micros(before), limit), step)

    async def next_due(self, route: Route, *, slowest: Priority = Priority.BULK) -> datetime | None:
        async with self._connection() as db:
            heads = await db.fetch(HEADS, route.value)
        due = [head["due_at"] for head in heads if head["priority"] <= slowest]
        return moment(min(due)) if due else None

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
        """A search holds one of the connections, of which claims and records need some, too."""
        place = await self._turns.take(by)
        try:
            yield
        finally:
            self._turns.give_back(by, place)

    async def backlog(self) -> Backlog:
        async with self._transaction() as db:
            if await db.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('notifier.tallies'))"):
                await db.execute(SUM_UP)
            found = await db.fetch("SELECT status, sum(moved)::bigint FROM tallies GROUP BY status")
            known = {str(status): status for status in Status}  # a newer notifier may have more
            counts = dict.fromkeys(Status, 0) | {
                known[status]: moved for status, moved in found if status in known
            }
            held = await db.fetchval(OLDEST_HELD)
            heads = [head for route in Route for head in await db.fetch(HEADS, route.value)]
        oldest = min((head["due_at"] for head in heads), default=None)
        return Backlog(
            counts,
            None if oldest is None else moment(oldest),
            None if held is None else moment(held),
        )

    async def put(self, name: str, value: str) -> None:
        self._check()
        await self._writer.put(name, value)

    async def count_minutes(
        self, by: str, minutes: Sequence[Minute], *, forget_before: datetime
    ) -> None:
        async with self._transaction() as db:
            await counts.keep(db, by, minutes, forget_before=forget_before)

    async def minutes(self, since: datetime, *, but: str) -> list[Minute]:
        async with self._connection() as db:
            return await counts.summed(db, since, but=but)

    async def kept(self) -> dict[str, str]:
        async with self._connection() as db:
            return dict(await db.fetch("SELECT name, value FROM words"))

    async def word(self, name: str) -> str | None:
        async with self._connection() as db:
            value: str | None = await db.fetchval("SELECT value FROM words WHERE name = $1", name)
            return value

    async def forget(self, names: Sequence[str]) -> None:
        async with self._transaction() as db:
            await db.execute("DELETE FROM words WHERE name = ANY($1)", list(names))
            await self._lease.tell(db, (), words=True)

    @contextlib.asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        async with self._connection() as db:  # whose end is the lock's, too
            alone = await db.fetchval(f"SELECT pg_try_advisory_lock({NAMED})", name)
            try:
                yield alone
            finally:
                if alone:
                    await db.execute(f"SELECT pg_advisory_unlock({NAMED})", name)

    async def prune(
        self, *, finished_before: datetime, bodies_before: datetime, now: datetime, limit: int = 500
    ) -> int:
        times = map(micros, (finished_before, bodies_before, now))
        async with self._transaction() as db:
            return await prunes.prune(db, limit, *times)

    async def news(self) -> News:
        await self._stir.wait()
        self._stir.clear()
        news, self._news = self._news, News()
        return news

    def _hear(self, said: News) -> None:
        before = self._news
        changed = (*before.changed, *said.changed)
        self._news = News(
            routes=tuple({*before.routes, *said.routes}),
            changed=changed[:NEWS_KEPT],
            words=before.words or said.words,
            missed=before.missed or said.missed or len(changed) > NEWS_KEPT,
        )
        self._stir.set()

    async def _tell(self, db: Connection, batch: Sequence[Piece]) -> None:
        changed = [each.delivery for each in batch if isinstance(each, Record)]
        for each in batch:
            if isinstance(each, Addition):
                changed += (entry.delivery for entry in each.entries)
        words = any(isinstance(each, Word) for each in batch)
        await self._lease.tell(db, changed, words=words)

    async def _give_back(self) -> None:
        """
        What was claimed by a call that was never answered has not been sent. Several routes may
        do this at once: each takes a claim off the list before it awaits anything.
        """
        while self._unanswered:
            held = self._unanswered.pop()
            try:
                found = await self._stepped(UNANSWERED, (held.lease, held.claim), Delivery.released)
            except BaseException:
                self._unanswered.append(held)
                raise
            for route in {each.route for each in found}:  # which may have looked in vain meanwhile
                self.arriving(route)

    async def _stepped(self, sql: str, values: tuple[int, ...], step: Step) -> list[Delivery]:
        async with self._transaction() as db:
            after = await steps.step_all(db, await db.fetch(sql, *values), step, hold=True)
            await self._lease.tell(db, after)
            return after

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        self._check()
        with told():
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as db:
                yield db

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._connection() as db, db.transaction():
            yield db

    def _check(self) -> None:
        if self._closed:
            raise JournalUnavailable("the journal is closed")
