"""The one thread that writes: shared commits, and what to do when the disk is full."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import structlog

from notifier.errors import NotifierError
from notifier.journal.commits import Commits
from notifier.journal.sqlite import repeats
from notifier.journal.sqlite.additions import Addition
from notifier.journal.sqlite.books import Books
from notifier.journal.sqlite.faults import UNBINDABLE, explained, is_fatal, is_full
from notifier.journal.sqlite.opening import BUSY
from notifier.journal.sqlite.recordings import Recording
from notifier.journal.sqlite.steps import StepRaised
from notifier.journal.sqlite.storage import Storage
from notifier.journal.sqlite.threads import Answer, Piece

WAL_BYTES = 64 * 1024 * 1024  # past it the WAL is cut when there is a moment

W = TypeVar("W")
Commit = Callable[[sqlite3.Connection], object]
Asked: TypeAlias = tuple["asyncio.Future[Any]", W]  # who waits, and for what

log = structlog.get_logger()


def commit(db: sqlite3.Connection) -> None:
    db.execute("COMMIT")


class Writer:
    """
    All that has piled up is one transaction, and one fsync. Where any piece of it fails in
    the database, each is done again in a transaction of its own, so that none harms another.
    Nobody else writes, and nobody else checkpoints.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        books: Books,
        storage: Storage,
        wal: Path,
        commit: Commit,
    ) -> None:
        self.connect = connect
        self._books = books
        self._storage = storage
        self._wal = wal
        self._commit = commit
        self.commits = Commits()
        self._alarmed = False

    def serve(self, db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]:
        try:
            return self._together(db, batch)
        except Exception as error:
            self._undo(db)
            if is_fatal(error):
                raise
            if len(batch) == 1:
                return [self._failed(db, batch[0], error)]
        return [self._alone(db, piece) for piece in batch]

    def rest(self, db: sqlite3.Connection) -> None:
        """Cut a WAL that a long reader has let grow; put the ballast back."""
        self._storage.refill()
        size = self._wal.stat().st_size
        large = size > WAL_BYTES
        if large and not self._alarmed:
            log.warning("journal_wal_large", path=str(self._wal), bytes=size)
        self._alarmed = large
        if large or self._storage.ballast_out:  # there the WAL must not grow, but begin again
            self._checkpoint(db, cut=large)

    def _checkpoint(self, db: sqlite3.Connection, *, cut: bool) -> None:
        try:
            _, frames, done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if cut and frames == done:  # else a reader needs it, and TRUNCATE would wait for it
                db.execute("PRAGMA busy_timeout = 0")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                db.execute(BUSY)
        except sqlite3.Error as error:
            if is_fatal(error):
                raise

    def disconnect(self, db: sqlite3.Connection) -> None:
        """
        As the last connection that closes, ours takes the WAL into the file. After a failure
        it is not the last: what is on disk then is left as it is.
        """
        db.close()

    def _together(self, db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]:
        db.execute("BEGIN IMMEDIATE")
        answers: list[Answer] = []
        additions, recordings, others = _sorted(db, batch)
        if additions:
            added = Addition.together(db, [work for _, work in additions])
            answers += [(future, added) for future, _ in additions]
        if recordings:
            Recording.together(db, [work for _, work in recordings])
            answers += [(future, True) for future, _ in recordings]
        for piece in others:
            before = db.total_changes
            try:
                answers.append((piece.future, piece.work(db)))
            except (NotifierError, *UNBINDABLE) as error:
                if db.total_changes != before:
                    raise  # half done: it must be undone, and the rest done again
                answers.append((piece.future, told(error)))
        begun = time.perf_counter()
        self._commit(db)
        self.commits.observe(time.perf_counter() - begun, len(batch))
        self._books.keep()
        return answers

    def _alone(self, db: sqlite3.Connection, piece: Piece) -> Answer:
        try:
            return self._together(db, [piece])[0]
        except Exception as error:
            self._undo(db)
            if is_fatal(error):
                raise
            return self._failed(db, piece, error)

    def _failed(self, db: sqlite3.Connection, piece: Piece, error: Exception) -> Answer:
        """The last thing to try before it is given up: to throw off the ballast."""
        if piece.vital and is_full(error) and self._storage.release():
            return self._alone(db, piece)
        return piece.future, told(error)

    def _undo(self, db: sqlite3.Connection) -> None:
        self._books.forget()
        if db.in_transaction:
            db.execute("ROLLBACK")


def told(error: Exception) -> Exception:
    return error.error if isinstance(error, StepRaised) else explained(error)


def _sorted(
    db: sqlite3.Connection, batch: list[Piece]
) -> tuple[list[Asked[Addition]], list[Asked[Recording]], list[Piece]]:
    """What is alike goes first: all of it at once costs less than one by one."""
    additions: list[Asked[Addition]] = []
    recordings: list[Asked[Recording]] = []
    others: list[Piece] = []
    asked = [piece.work.idempotency for piece in batch if isinstance(piece.work, Addition)]
    seen = repeats.known(db, filter(None, asked))
    for piece in batch:
        match piece.work:
            case Addition(plain=True) as addition if addition.is_first(seen):
                additions.append((piece.future, addition))
            case Recording() as recording if len(batch) > 1:
                recordings.append((piece.future, recording))
            case _:
                others.append(piece)
    return additions, recordings, others
