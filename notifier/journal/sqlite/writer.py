"""The writer thread's work: shared commits, and measures against a full disk."""

import sqlite3
import time
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from notifier.errors import NotifierError
from notifier.journal import Added, Committed, nobody
from notifier.journal.gathering import Gathering
from notifier.journal.sqlite.additions import USED_KEYS, Addition, KeyName, insert_all
from notifier.journal.sqlite.changes import ChangeRaised
from notifier.journal.sqlite.claims import Claiming, Recording, record_all
from notifier.journal.sqlite.contents import Kept
from notifier.journal.sqlite.disk import UNBINDABLE, Disk, explained, is_fatal, is_full
from notifier.journal.sqlite.opening import BUSY
from notifier.journal.sqlite.rows import StatusCounts, run_all, run_rows
from notifier.journal.sqlite.thread import Answer, Piece, Work
from notifier.journal.statements import Also

# Rows and commits between two checkpoints: about so many pages of the WAL.
CHECKPOINT_PAGES = 4000
COMMIT_PAGES = 4  # of a commit, besides those of its rows
WAL_BYTES = 64 * 1024 * 1024  # above this size the WAL is truncated

Commit: TypeAlias = Callable[[sqlite3.Connection], object]

log = structlog.get_logger()


commit: Commit = methodcaller("execute", "COMMIT")


class Apart:
    """Work that SQLite does outside of any transaction."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work

    def __call__(self, db: sqlite3.Connection) -> Any:
        return self._work(db)


class Writer:
    """
    Writes whatever waits in one transaction with one fsync. If a piece of it fails in the database,
    each piece is done again in a transaction of its own, so that none harms another. No other
    connection writes or checkpoints.
    """

    def __init__(
        self, *, counts: StatusCounts, disk: Disk, kept: Kept, wal: Path, commit: Commit = commit
    ) -> None:
        self._counts = counts
        self._disk = disk
        self._kept = kept
        self._wal = wal
        self._commit = commit
        self.committed: Committed = nobody
        self._gathering = Gathering()
        self._batches = 0
        self._written = 0  # pages until the latest checkpoint, about
        self._also: list[Also] = []
        self._alarmed = False

    def accompany(self, also: Also) -> None:
        """Write this, too, whenever deliveries are added or changed."""
        self._also.append(also)
        self._counts.keep_changed = True

    def serve(self, db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]:
        if apart := [piece for piece in batch if type(piece.work) is Apart]:
            others = [piece for piece in batch if type(piece.work) is not Apart]
            answers = self.serve(db, others) if others else []
            return answers + [self._apart(db, piece) for piece in apart]
        try:
            return self._together(db, batch)
        except Exception as error:
            self._counts.roll_back()
            if db.in_transaction:
                db.execute("ROLLBACK")
            if is_fatal(error):
                raise
            if len(batch) == 1:
                [piece] = batch
                # Again without the ballast, if that may help.
                if piece.vital and is_full(error) and self._disk.release():
                    return self.serve(db, batch)
                return [(piece.future, _raised(error))]
        return [self.serve(db, [piece])[0] for piece in batch]

    def rest(self, db: sqlite3.Connection, batch: list[Piece]) -> None:
        """
        Checkpoint when the WAL has grown, and restore the ballast; else wait for more messages.
        No caller waits for this. A WAL that grew because of a long reader is truncated.
        """
        self._batches += 1
        written = db.total_changes + self._batches * COMMIT_PAGES
        if self._disk.ballast_gone:
            self._disk.refill()
        size = self._wal.stat().st_size
        large = size > WAL_BYTES
        if large and not self._alarmed:
            log.warning("journal_wal_large", path=str(self._wal), bytes=size)
        self._alarmed = large
        # Without the ballast the WAL must begin again and not grow.
        if large or self._disk.ballast_gone or written - self._written >= CHECKPOINT_PAGES:
            self._written = written
            self._checkpoint(db, cut=large)
        elif len(batch) > 1:
            additions = [piece for piece in batch if type(piece.work) is Addition]
            if seconds := self._gathering(len(batch), len(additions)):
                time.sleep(seconds)

    def _checkpoint(self, db: sqlite3.Connection, *, cut: bool) -> None:
        try:
            _, frames, done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if (
                cut and frames == done
            ):  # else a reader needs the WAL, and TRUNCATE would wait for the reader
                db.execute("PRAGMA busy_timeout = 0")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                db.execute(BUSY)
        except sqlite3.Error as error:
            if is_fatal(error):
                raise

    def _together(self, db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]:
        """Run first the pieces that cost less together than one by one, then the others."""
        db.execute("BEGIN IMMEDIATE")
        answers: list[Answer] = []
        additions: list[Addition] = []
        recordings: list[Piece] = []
        others: list[Piece] = []
        names = [
            piece.work.key_name
            for piece in batch
            if type(piece.work) is Addition and piece.work.key_name is not None
        ]
        used: set[KeyName | None] = set()
        used.update(*run_rows(db, USED_KEYS, names))
        for piece in batch:
            work = piece.work
            if type(work) is Recording:
                recordings.append(piece)
            elif (
                type(work) is not Addition
                or work.collapsing
                or (work.key_name is not None and work.key_name in used)
            ):
                others.append(piece)
            else:
                additions.append(work)
                answers.append((piece.future, Added()))
                used.add(work.key_name)
        sending = self._insert(db, additions, others, answers) if additions else []
        if recordings:
            ours = record_all(db, self._counts, [piece.work for piece in recordings])
            answers += [(piece.future, ours) for piece in recordings]
        for piece in others:
            before = db.total_changes
            try:
                answers.append((piece.future, piece.work(db)))
            except (NotifierError, *UNBINDABLE) as error:
                if db.total_changes != before:
                    raise  # half done: undo it, and do the rest again
                answers.append((piece.future, _raised(error)))
        if self._counts.changed:
            self._write_also(db)
        begun = time.perf_counter()
        self._commit(db)
        self.committed(time.perf_counter() - begun, len(batch))
        self._counts.commit()
        if sending:
            self._kept.keep(sending)
        return answers

    def _insert(
        self,
        db: sqlite3.Connection,
        additions: list[Addition],
        others: list[Piece],
        answers: list[Answer],
    ) -> list[tuple[str, bytes]]:
        """Insert additions. Returns the ids and the large contents of those that are claimed."""
        claimed = self._claim_new(additions, others, answers) if others else ()
        insert_all(db, self._counts, additions, claimed)
        large = [row for each in additions for row in each.large]
        return [(each.delivery.id, each.content) for seq, each in large if seq in claimed]

    def _write_also(self, db: sqlite3.Connection) -> None:
        for also in self._also:
            run_all(db, also(self._counts.changed))

    def _claim_new(
        self, additions: list[Addition], others: list[Piece], answers: list[Answer]
    ) -> set[int]:
        """Answer the claims that need nothing but new deliveries. Returns the claimed numbers."""
        claimed: set[int] = set()
        for piece in others.copy():
            if not isinstance(piece.work, Claiming):
                continue
            new = (
                pair
                for each in additions
                for pair in zip(each.deliveries, each.entries, strict=True)
                if pair[0][-1] not in claimed
            )
            if (taken := piece.work.take_new(new)) is not None:
                claims, seqs = taken
                claimed |= seqs
                answers.append((piece.future, claims))
                others.remove(piece)
        return claimed

    def _apart(self, db: sqlite3.Connection, piece: Piece) -> Answer:
        try:
            return piece.future, piece.work(db)
        except (NotifierError, sqlite3.Error) as error:
            if is_fatal(error):
                raise
            return piece.future, explained(error)


def _raised(error: Exception) -> Exception:
    """The error that the caller gets."""
    return error.error if isinstance(error, ChangeRaised) else explained(error)
