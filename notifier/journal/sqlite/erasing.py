"""Erases: deletes all that is kept of a delivery, and overwrites what was deleted."""

import sqlite3
from pathlib import Path

import structlog

from notifier.deliveries import Delivery
from notifier.disk import free_bytes
from notifier.errors import JournalUnavailable
from notifier.journal import Change
from notifier.journal.rows import known_status
from notifier.journal.sqlite import changes, rows
from notifier.journal.sqlite.opening import BUSY
from notifier.journal.sqlite.rows import Found, StatusCounts
from notifier.journal.sqlite.thread import JournalThread
from notifier.journal.sqlite.writer import Apart
from notifier.journal.statements import Also

# A file of this size is rebuilt in some ten seconds, for which nothing is written.
MOST_BYTES = 1024 * 1024 * 1024

ADD_TERM = "INSERT INTO terms VALUES (?, ?, ?)"
STRIP = "UPDATE deliveries SET stripped = 1 WHERE seq = ?"
DROP_CONTENT = "DELETE FROM contents WHERE seq = ?"

log = structlog.get_logger()


def erase(
    db: sqlite3.Connection,
    counts: StatusCounts,
    found: Found,
    change: Change,
    also: Also | None,
) -> Delivery:
    """Change one delivery, and delete what is kept beside its record."""
    seq, status, record = found
    before = rows.delivery(db, seq, status, record)
    after = changes.changed(before, change)
    if after is not before:
        db.execute(changes.DROP_CONVERSATIONS, rows.places(seq))
        db.executemany(changes.DROP_TERM, rows.terms(before, seq))
        db.executemany(ADD_TERM, rows.terms(after, seq))
        rows.update(db, seq, after)
        if after.status.final:
            db.execute(STRIP, (seq,))
            db.execute(DROP_CONTENT, (seq,))
        if known_status(status) is not after.status:
            counts.change(known_status(status), [after])
    if also is not None:
        rows.run_all(db, also([after]))
    return after


async def overwrite(writes: JournalThread, path: Path) -> str:
    """
    Overwrite what was deleted. SQLite overwrites a deleted row, but not the copies that it leaves
    behind in pages when it moves rows among them. So the file is rebuilt, and the WAL emptied.
    """
    left: str = await writes.ask(Apart(lambda db: _overwrite(db, path)))
    return left


def _overwrite(db: sqlite3.Connection, path: Path) -> str:
    _empty_wal(db)  # first, so that nothing is rebuilt while a search keeps the WAL
    left = _make_anew(db, path)
    _empty_wal(db)
    return left


def _empty_wal(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA busy_timeout = 0")
    try:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(BUSY)
    if busy:
        raise JournalUnavailable("a search that is under way still reads the old data")


def _make_anew(db: sqlite3.Connection, path: Path) -> str:
    size = path.stat().st_size
    if size > MOST_BYTES or free_bytes(path.parent) < 3 * size:
        return (
            f"copies of rows in pages of {path.name}: the file is too large to be "
            "written anew while the service runs; to overwrite them, stop notifier "
            f"and run: sqlite3 {path} VACUUM"
        )
    log.info("journal_made_anew", path=str(path), bytes=size)
    db.execute("VACUUM")
    return ""
