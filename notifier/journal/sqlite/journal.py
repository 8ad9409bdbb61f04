"""SqliteJournal: what is asked of a journal, in SQL."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

from notifier.clock import Clock
from notifier.deliveries import Delivery, Priority, Route, Status
from notifier.errors import MessageNotFound
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
)  # fmt: skip
from notifier.journal.sqlite import counts, opening, prunes, repeats, rows, searches, steps
from notifier.journal.sqlite.additions import Addition
from notifier.journal.sqlite.books import Books
from notifier.journal.sqlite.claims import HEADS, Claims
from notifier.journal.sqlite.faults import failure, keepable
from notifier.journal.sqlite.lock import Lock
from notifier.journal.sqlite.reader import Reader
from notifier.journal.sqlite.recordings import Recording
from notifier.journal.sqlite.rows import micros, moment
from notifier.journal.sqlite.storage import Storage
from notifier.journal.sqlite.threads import Clerk
from notifier.journal.sqlite.writer import Commit, Writer, commit
from notifier.journal.turns import Turns

BATCH = 1000  # pieces of work in one transaction
# Between two transactions under load, the longer the more they hold: a quarter less CPU a message.
GATHER_SECONDS, MOST_SECONDS = 0.0001, 0.004
SEARCHES = 3  # at a time, of which one caller has two
PORTION = 500  # deliveries in one transaction of those that touch many
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
ONE = "SELECT seq, status, record FROM deliveries WHERE id = ?"
log = structlog.get_logger()


class SqliteJournal:
    """
    For one process. Whatever is asked at the same time shares one transaction and one
    fsync. Reads have threads of their own, so that a search holds up nobody.
    """

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
        self._lock = Lock(self._path.with_name(self._path.name + ".lock"))
        self._storage = Storage(self._path, min_free=min_free)
        self._books = Books()
        self._claims = Claims(self._books)
        self._seq = 0  # of the newest delivery
        self._recovered = False
        writer = Writer(
            self._connect, books=self._books, storage=self._storage,
            wal=self._path.with_name(self._path.name + "-wal"), commit=commit,
        )  # fmt: skip
        self.commits = writer.commits
        self.arriving: Callable[[Route], None] = lambda _: None
        reader = Reader(lambda: opening.connect_reader(self._path))
        self._writes = Clerk(
            "journal-writes", writer, batch=BATCH, gather=GATHER_SECONDS, most=MOST_SECONDS,
            on_end=self._fail,
        )  # fmt: skip
        self._reads = Clerk("journal-reads", reader, batch=1, on_end=self._fail)
        self._searches = [
            Clerk(f"journal-searches-{number}", reader, batch=1, on_end=self._fail)
            for number in range(SEARCHES)
        ]
        self._turns = Turns(self._searches)

    async def open(self) -> None:
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        opening.prepare(self._path, mounts=self._mounts)
        try:
            self._lock.acquire(str(self._path))
        except OSError as error:
            raise opening.unwritable(self._path, error) from error
        try:
            for desk in (self._writes, self._reads, *self._searches):
                await desk.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """The writer last: its connection is then the only one, and checkpoints."""
        for desk in (*self._searches, self._reads, self._writes):
            await desk.close()
        self._lock.release()

    async def failed(self) -> BaseException:
        return await asyncio.shield(self._failure)

    async def add(self, entries: Sequence[Entry], idempotency: Idempotency | None = None) -> Added:
        self._storage.check()
        with keepable():
            addition = Addition(entries, self._seq + 1, self._books, idempotency)
        self._seq += len(entries)
        added = self._writes.ask(addition, vital=False)
        # The writer does not claim before it has added what was asked for earlier.
        for route in {entry.delivery.route for entry in entries}:
            self.arriving(route)
        return await added

    async def answer(
        self, scope: str, key: str, fingerprint: bytes, *, now: datetime
    ) -> bytes | None:
        return await self._reads.ask(lambda db: repeats.answer(db, (scope, key), fingerprint, now))

    async def claim(
        self, route: Route, limit: int, *, now: Clock, slowest: Priority = Priority.BULK
    ) -> list[Claim]:
        return await self._writes.ask(
            lambda db: self._claims.take(db, route, limit, micros(now()), slowest)
        )

    async def holds(self, delivery: Delivery) -> bool:  # noqa: ARG002  nobody else could have it
        return True

    async def record(self, delivery: Delivery) -> bool:
        with keepable():
            recording = Recording(delivery, self._books)
        return await self._writes.ask(recording)

    async def amend(self, id: str, step: Step) -> Delivery:
        def work(db: sqlite3.Connection) -> Delivery:
            return steps.take(db, self._books, _one(db, id), step, hold=False)

        return await self._writes.ask(work)

    async def amend_all(self, which: Filter, step: Step) -> int:
        changed, before = 0, None
        while True:
            portion, before = await self._writes.ask(self._portion(which, step, before))
            changed += portion
            if before is None:
                return changed

    async def recover(self, step: Step) -> list[Delivery]:
        recovered: list[Delivery] = []
        if self._recovered:
            return recovered
        seq = 0
        while True:
            portion = await self._writes.ask(self._stepped(RECOVERABLE, (seq, PORTION), step))
            recovered += (delivery for _, delivery in portion)
            if len(portion) < PORTION:
                self._recovered = True  # whatever is `sending` from here on is ours
                return recovered
            seq = portion[-1][0]

    async def news(self) -> News:
        await asyncio.get_running_loop().create_future()  # there is nobody else
        raise AssertionError

    async def expire(self, now: datetime, step: Step, *, limit: int = 500) -> list[Delivery]:
        portion = await self._writes.ask(self._stepped(EXPIRED, (micros(now), limit), step))
        return [delivery for _, delivery in portion]

    async def give_up_held(
        self, before: datetime, step: Step, *, limit: int = 500
    ) -> list[Delivery]:
        portion = await self._writes.ask(self._stepped(HELD, (micros(before), limit), step))
        return [delivery for _, delivery in portion]

    async def next_due(self, route: Route, *, slowest: Priority = Priority.BULK) -> datetime | None:
        heads = await self._reads.ask(lambda db: db.execute(HEADS, (route.value,)).fetchall())
        due = [due_at for priority, _, due_at in heads if priority <= slowest]
        return moment(min(due)) if due else None

    async def get(self, id: str, *, conversations: bool = False) -> Delivery:
        def work(db: sqlite3.Connection) -> Delivery:
            seq, status, record = _one(db, id)
            delivery = rows.delivery(db, seq, status, record)
            return rows.with_conversations(db, seq, delivery) if conversations else delivery

        return await self._reads.ask(work)

    async def content(self, id: str) -> bytes:
        row = await self._row(
            "SELECT content FROM deliveries JOIN contents USING (seq) WHERE id = ?", id
        )
        if row is None:
            raise MessageNotFound(id)
        content: bytes = row[0]
        return content

    async def find(
        self, which: Filter, *, limit: int = 50, cursor: str | None = None, by: str = ""
    ) -> Page:
        return await self._search(
            by, lambda db: searches.find(db, which, limit=limit, cursor=cursor)
        )

    async def count(self, which: Filter, *, most: int, by: str = "") -> int:
        return await self._search(by, lambda db: searches.count(db, which, most=most))

    async def backlog(self) -> Backlog:
        oldest = [due_at for route in Route if (due_at := await self.next_due(route)) is not None]
        counts = dict.fromkeys(Status, 0) | self._books.counts
        held = await self._reads.ask(lambda db: db.execute(OLDEST_HELD).fetchone()[0])
        held_since = None if held is None else moment(held)
        return Backlog(counts, min(oldest, default=None), held_since)

    async def put(self, name: str, value: str) -> None:
        await self._writes.ask(lambda db: _put(db, name, value))

    async def count_minutes(
        self, by: str, minutes: Sequence[Minute], *, forget_before: datetime
    ) -> None:
        await self._writes.ask(lambda db: counts.keep(db, by, minutes, forget_before=forget_before))

    async def minutes(self, since: datetime, *, but: str) -> list[Minute]:
        return await self._reads.ask(lambda db: counts.summed(db, since, but=but))

    async def kept(self) -> dict[str, str]:
        return dict(await self._reads.ask(lambda db: db.execute("SELECT * FROM words").fetchall()))

    async def word(self, name: str) -> str | None:
        row = await self._row("SELECT value FROM words WHERE name = ?", name)
        return None if row is None else row[0]

    async def forget(self, names: Sequence[str]) -> None:
        await self._writes.ask(lambda db: _forget(db, names))

    def alone(self, name: str) -> contextlib.nullcontext[bool]:  # noqa: ARG002 - nobody else is here
        return contextlib.nullcontext(True)

    async def prune(
        self, *, finished_before: datetime, bodies_before: datetime, now: datetime, limit: int = 500
    ) -> int:
        def work(db: sqlite3.Connection) -> int:
            return prunes.prune(
                db, self._books, limit, micros(finished_before), micros(bodies_before), micros(now)
            )

        return await self._writes.ask(work)

    def _connect(self) -> sqlite3.Connection:
        """In the writer's thread, once the lock is ours."""
        opening.create(self._path)
        db = opening.connect_writer(self._path)
        try:
            self._books.load(db)
            (self._seq,) = db.execute("SELECT ifnull(max(seq), 0) FROM deliveries").fetchone()
        except sqlite3.Error as error:
            db.close()
            raise opening.unusable(self._path, error) from error
        self._storage.prepare()
        return db

    def _fail(self, error: BaseException) -> None:
        reason = failure(self._path, error)
        ours = None if isinstance(error, sqlite3.Error) else error  # a bug: show where
        log.error("journal_failed", path=str(self._path), reason=str(reason), exc_info=ours)
        for desk in (self._writes, self._reads, *self._searches):
            desk.end(error)
        if not self._failure.done():
            self._failure.set_result(reason)

    async def _search(self, by: str, work: Callable[[sqlite3.Connection], T]) -> T:
        clerk = await self._turns.take(by)
        try:
            answer = clerk.ask(work)
        except BaseException:
            self._turns.give_back(by, clerk)
            raise
        # Not before the thread is free again, however long the caller waits.
        answer.add_done_callback(lambda _: self._turns.give_back(by, clerk))
        return await asyncio.shield(answer)

    async def _row(self, sql: str, id: str) -> tuple[Any, ...] | None:
        return await self._reads.ask(lambda db: db.execute(sql, (id,)).fetchone())

    def _portion(
        self, which: Filter, step: Step, before: int | None
    ) -> Callable[[sqlite3.Connection], tuple[int, int | None]]:
        """How many were changed, and where the next portion begins."""

        def work(db: sqlite3.Connection) -> tuple[int, int | None]:
            found = searches.matching(db, which, limit=PORTION, before=before)
            changed = steps.take_all(db, self._books, found, step, hold=False)
            return len(changed), found[-1][0] if len(found) == PORTION else None

        return work

    def _stepped(
        self, sql: str, values: tuple[int, int], step: Step
    ) -> Callable[[sqlite3.Connection], list[tuple[int, Delivery]]]:
        return lambda db: steps.take_all(
            db, self._books, db.execute(sql, values).fetchall(), step, hold=True
        )


def _one(db: sqlite3.Connection, id: str) -> steps.Found:
    """Raises MessageNotFound."""
    found: steps.Found | None = db.execute(ONE, (id,)).fetchone()
    if found is None:
        raise MessageNotFound(id)
    return found


def _put(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute(
        "INSERT INTO words VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _forget(db: sqlite3.Connection, names: Sequence[str]) -> None:
    db.executemany("DELETE FROM words WHERE name = ?", [(name,) for name in names])
