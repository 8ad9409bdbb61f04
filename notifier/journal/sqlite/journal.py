"""SqliteJournal: what is asked of a journal, in SQL."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from notifier.clock import Clock
from notifier.deliveries import WAITING, Delivery, Priority, Route, Status
from notifier.journal import (
    Added,
    Arrived,
    Backlog,
    Change,
    Claim,
    Entry,
    Filter,
    Idempotency,
    News,
    Page,
    faults,
    nobody,
)
from notifier.journal.fairness import Fairness, first_due
from notifier.journal.rows import changing, micros, moment, queues_of_waiting
from notifier.journal.searches import Turns
from notifier.journal.sqlite import changes, contents, erasing, opening, rows, searches
from notifier.journal.sqlite.additions import Addition, answer_kept
from notifier.journal.sqlite.claims import HEADS, NEVER, QUEUES, Claiming, Recording
from notifier.journal.sqlite.disk import UNBINDABLE, Disk, explained, failure
from notifier.journal.sqlite.rows import StatusCounts
from notifier.journal.sqlite.thread import JournalThread, serve_reads
from notifier.journal.sqlite.writer import Commit, Writer, commit
from notifier.journal.statements import Also, Bound, Row, Statement

BATCH = 1000  # pieces of work in one transaction
SEARCHES = 3  # at a time, of which one caller has two
PORTION = 500  # deliveries in one transaction of bulk changes
MIN_FREE_BYTES = 64 * 1024 * 1024
MOUNTS = Path("/proc/self/mountinfo")

T = TypeVar("T")

OLDEST_HELD = """
    SELECT min(held_at) FROM deliveries INDEXED BY deliveries_held WHERE held_at IS NOT NULL
"""
RECOVERABLE = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_status
    WHERE status = 'sending' AND seq > ? ORDER BY seq LIMIT ?
"""
EXPIRED = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_expiry
    WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
HELD = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_held
    WHERE held_at <= ? ORDER BY held_at LIMIT ?
"""
VALUES = "SELECT name, value FROM words"  # the table has this name since version 1
log = structlog.get_logger()


class SqliteJournal:
    """
    A journal for one process.

    Writes that are asked for at the same time share one transaction and one fsync. Reads have
    threads of their own, so that a search delays no other call.
    """

    shared = False

    def __init__(
        self,
        path: str,
        *,
        min_free: int = MIN_FREE_BYTES,
        commit: Commit = commit,
        mounts: Path = MOUNTS,
    ) -> None:
        self._path = Path(path)
        self._mounts = mounts
        self._lock = opening.Lock(self._path.with_name(self._path.name + ".lock"))
        self._disk = Disk(self._path, min_free=min_free)
        self._counts = StatusCounts()
        self._fairness = Fairness()
        self._kept = contents.Kept()
        self._seq = 0  # of the newest delivery
        self._recovered = False
        wal = self._path.with_name(self._path.name + "-wal")
        self._writer = Writer(
            counts=self._counts, disk=self._disk, kept=self._kept, wal=wal, commit=commit
        )
        self.committed, self.accompany = self._writer.committed, self._writer.accompany
        self.arrived: Arrived = nobody
        self._writes = JournalThread(
            "journal-writes",
            connect=self._connect,
            serve=self._writer.serve,
            batch=BATCH,
            rest=self._writer.rest,
            on_end=self._fail,
        )
        self._reads = self._reading("journal-reads", cache_kib=2000)
        self._searches = [
            self._reading(f"journal-searches-{n}", cache_kib=16_000) for n in range(SEARCHES)
        ]
        self._turns = Turns(self._searches)

    def _reading(self, name: str, *, cache_kib: int) -> JournalThread:
        """A small cache: single rows need little of it, and a large content would fill any."""
        connect = partial(opening.connect_reader, self._path, cache_kib=cache_kib)
        return JournalThread(name, connect=connect, serve=serve_reads, on_end=self._fail)

    async def open(self) -> None:
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._writer.committed = self.committed
        opening.prepare(self._path, mounts=self._mounts)
        try:
            self._lock.acquire(str(self._path))
        except OSError as error:
            raise opening.unwritable(self._path, error) from error
        try:
            for thread in (self._writes, self._reads, *self._searches):
                await thread.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the writer last: its connection is then the only one, and checkpoints."""
        for thread in (*self._searches, self._reads, self._writes):
            await thread.close()
        self._lock.release()

    async def failed(self) -> BaseException:
        return await asyncio.shield(self._failure)

    async def add(self, entries: Sequence[Entry], idempotency: Idempotency | None = None) -> Added:
        if time.monotonic() >= self._disk.look_at:
            self._disk.look()
        if self._disk.low or self._disk.ballast_gone:
            raise faults.full("the journal's disk is nearly full")
        try:
            addition = Addition(entries, self._seq + 1, self._counts, idempotency)
        except UNBINDABLE as error:
            raise explained(error) from error
        self._seq += len(entries)
        # What is claimed in this turn of the loop is claimed in the transaction that adds it.
        self.arrived([entry.delivery.queue for entry in entries])
        return await self._writes.ask(addition, vital=False)

    async def answer(
        self, scope: str, key: str, fingerprint: bytes, *, now: datetime
    ) -> bytes | None:
        return await self._reads.ask(lambda db: answer_kept(db, (scope, key), fingerprint, now))

    def claim(
        self, queue: str, limit: int, *, now: Clock, slowest: Priority = Priority.BULK
    ) -> "asyncio.Future[list[Claim]]":
        return self._writes.ask(Claiming(self._counts, self._fairness, queue, limit, now, slowest))

    async def still_ours(self, delivery: Delivery) -> bool:  # noqa: ARG002  there is nobody else
        return True

    async def record(self, delivery: Delivery) -> bool:
        try:
            recording = Recording(delivery, (*changing(delivery), delivery.id))
        except UNBINDABLE as error:
            raise explained(error) from error
        if delivery.size > contents.LARGE_BYTES:
            self._kept.drop(delivery.id)
        ours: bool = await self._writes.ask(recording, may_wait=True)
        if ours and delivery.status in WAITING:
            self.arrived([delivery.queue])
        return ours

    async def amend(self, id: str, change: Change, *, also: Also | None = None) -> Delivery:
        def work(db: sqlite3.Connection) -> Delivery:
            changed = changes.change_one(db, self._counts, rows.one(db, id), change, hold=False)
            if also is not None:
                rows.run_all(db, also([changed]))
            return changed

        changed = await self._writes.ask(work)
        self.arrived(queues_of_waiting([changed]))
        return changed

    async def erase(self, id: str, change: Change, *, also: Also | None = None) -> Delivery:
        erased = await self._writes.ask(
            lambda db: erasing.erase(db, self._counts, rows.one(db, id), change, also)
        )
        self.arrived(queues_of_waiting([erased]))
        return erased

    async def overwrite(self) -> str:
        return await erasing.overwrite(self._writes, self._path)

    async def replicas(self) -> int:
        return 1

    async def amend_all(self, which: Filter, change: Change, *, also: Also | None = None) -> int:
        changed, before = 0, None
        while True:
            portion, before = await self._writes.ask(self._portion(which, change, before, also))
            changed += portion
            self.arrived(Route)
            if before is None:
                return changed

    async def recover(self, change: Change) -> list[Delivery]:
        recovered: list[Delivery] = []
        if self._recovered:
            return recovered
        seq = 0
        while True:
            portion = await self._writes.ask(self._changed(RECOVERABLE, (seq, PORTION), change))
            recovered += (delivery for _, delivery in portion)
            if len(portion) < PORTION:
                # Deliveries that become `sending` from here on are claimed here.
                self._recovered = True
                self.arrived(queues_of_waiting(recovered))
                return recovered
            seq = portion[-1][0]

    async def news(self) -> News:
        await asyncio.get_running_loop().create_future()  # no other replica exists
        raise AssertionError

    async def expire(self, now: datetime, change: Change, *, limit: int = 500) -> list[Delivery]:
        portion = await self._writes.ask(self._changed(EXPIRED, (micros(now), limit), change))
        return [delivery for _, delivery in portion]

    async def expire_held(
        self, before: datetime, change: Change, *, limit: int = 500
    ) -> list[Delivery]:
        portion = await self._writes.ask(self._changed(HELD, (micros(before), limit), change))
        return [delivery for _, delivery in portion]

    async def next_due(self, queue: str, *, slowest: Priority = Priority.BULK) -> datetime | None:
        known = self._counts.first_due.get(queue) if slowest is Priority.BULK else None
        if known is not None:
            return None if known == NEVER else moment(known)
        return await self._first_due(queue, slowest)

    async def _first_due(self, queue: str, slowest: Priority = Priority.BULK) -> datetime | None:
        heads = await self._reads.ask(lambda db: db.execute(HEADS, (queue,)).fetchall())
        return first_due(heads, slowest)

    async def get(self, id: str, *, conversations: bool = False) -> Delivery:
        def work(db: sqlite3.Connection) -> Delivery:
            seq, status, record = rows.one(db, id)
            delivery = rows.delivery(db, seq, status, record)
            return rows.with_conversations(db, seq, delivery) if conversations else delivery

        return await self._reads.ask(work)

    async def content(self, id: str) -> bytes:
        if (kept := self._kept.get(id)) is not None:
            return kept
        return await self._reads.ask(lambda db: contents.read(db, id))

    async def find(
        self, which: Filter, *, limit: int = 50, cursor: str | None = None, by: str = ""
    ) -> Page:
        return await self._search(
            by, lambda db: searches.find(db, which, limit=limit, cursor=cursor)
        )

    async def count(self, which: Filter, *, most: int, by: str = "") -> int:
        return await self._search(by, lambda db: searches.count(db, which, most=most))

    async def queues(self) -> list[str]:
        return [each for (each,) in await self._reads.ask(lambda db: db.execute(QUEUES).fetchall())]

    async def backlog(self) -> Backlog:
        queues = await self.queues()
        oldest = [due_at for each in queues if (due_at := await self._first_due(each)) is not None]
        by_status = dict.fromkeys(Status, 0) | self._counts.counts
        held = await self._reads.ask(lambda db: db.execute(OLDEST_HELD).fetchone()[0])
        held_since = None if held is None else moment(held)
        return Backlog(by_status, min(oldest, default=None), held_since)

    async def query(self, sql: str, *values: Bound) -> list[Row]:
        return await self._reads.ask(lambda db: db.execute(sql, values).fetchall())

    async def execute(self, *statements: Statement) -> list[list[Row]]:
        return await self._writes.ask(lambda db: rows.run(db, statements))

    async def put(self, name: str, value: str, *also: Statement) -> None:
        await self._writes.ask(lambda db: _put(db, name, value, also))

    async def values(self) -> dict[str, str]:
        return dict(await self._reads.ask(lambda db: db.execute(VALUES).fetchall()))

    async def value(self, name: str) -> str | None:
        row = await self._reads.ask(
            lambda db: db.execute(f"{VALUES} WHERE name = ?", (name,)).fetchone()
        )
        return None if row is None else row[1]

    async def forget(self, names: Sequence[str], *also: Statement) -> None:
        await self._writes.ask(lambda db: _forget(db, names, also))

    def try_lock(self, name: str) -> contextlib.nullcontext[bool]:  # noqa: ARG002 - nobody else is here
        return contextlib.nullcontext(True)

    async def prune(
        self,
        *,
        finished_before: datetime,
        contents_before: datetime,
        now: datetime,
        limit: int = 500,
    ) -> int:
        def work(db: sqlite3.Connection) -> int:
            times = map(micros, (finished_before, contents_before, now))
            return changes.prune(db, self._counts, limit, *times)

        return await self._writes.ask(work)

    def _connect(self) -> sqlite3.Connection:
        """Connect in the writer's thread, once the lock is held."""
        opening.create(self._path)
        db = opening.connect_writer(self._path)
        try:
            self._counts.load(db)
            (self._seq,) = db.execute("SELECT ifnull(max(seq), 0) FROM deliveries").fetchone()
        except sqlite3.Error as error:
            db.close()
            raise opening.unusable(self._path, error) from error
        self._disk.prepare()
        return db

    def _fail(self, error: BaseException) -> None:
        reason = failure(self._path, error)
        ours = None if isinstance(error, sqlite3.Error) else error  # a bug: show where
        log.error("journal_failed", path=str(self._path), reason=str(reason), exc_info=ours)
        for thread in (self._writes, self._reads, *self._searches):
            thread.end(error)
        if not self._failure.done():
            self._failure.set_result(reason)

    async def _search(self, by: str, work: Callable[[sqlite3.Connection], T]) -> T:
        thread = await self._turns.take(by)
        try:
            answer = thread.ask(work)
        except BaseException:
            self._turns.give_back(by, thread)
            raise
        # Not before the thread is free again, even if the caller has stopped waiting.
        answer.add_done_callback(lambda _: self._turns.give_back(by, thread))
        return await asyncio.shield(answer)

    def _portion(
        self, which: Filter, change: Change, before: int | None, also: Also | None
    ) -> Callable[[sqlite3.Connection], tuple[int, int | None]]:
        """How many deliveries were changed, and where the next portion begins."""

        def work(db: sqlite3.Connection) -> tuple[int, int | None]:
            found = searches.matching(db, which, limit=PORTION, before=before)
            changed = changes.change_all(db, self._counts, found, change, hold=False)
            if also is not None:
                rows.run_all(db, also([delivery for _, delivery in changed]))
            return len(changed), found[-1][0] if len(found) == PORTION else None

        return work

    def _changed(
        self, sql: str, values: tuple[int, int], change: Change
    ) -> Callable[[sqlite3.Connection], list[tuple[int, Delivery]]]:
        return lambda db: changes.change_all(
            db, self._counts, db.execute(sql, values).fetchall(), change, hold=True
        )


def _put(db: sqlite3.Connection, name: str, value: str, also: Sequence[Statement]) -> None:
    db.execute(
        "INSERT INTO words VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
    rows.run(db, also)


def _forget(db: sqlite3.Connection, names: Sequence[str], also: Sequence[Statement]) -> None:
    db.executemany("DELETE FROM words WHERE name = ?", [(name,) for name in names])
    rows.run(db, also)
