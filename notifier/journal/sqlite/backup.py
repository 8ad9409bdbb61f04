"""Copy the journal while it is in use, through a connection that cannot write."""

import itertools
import os
import sqlite3
from pathlib import Path

from notifier.disk import sync
from notifier.errors import JournalFailure
from notifier.journal import Progress

STEPS = 100_000  # instructions of SQLite between two calls of `progress`: some milliseconds


def backup(path: Path, target: Path, *, progress: Progress) -> int:
    """
    Copy the journal to `target`, in its state at one moment and without what was pruned. Returns
    how many messages the copy has; it is on disk when this returns.

    Raises JournalFailure, and then there is no file; FileExistsError. The connection is read-only,
    because only the server may write and checkpoint. The server's commits go on meanwhile.
    """
    if not path.exists():
        raise JournalFailure(f"there is no journal {path}")
    if target.exists():  # for an early error; the link below makes sure
        raise FileExistsError(str(target))
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(path, partial, progress)
        count = _check(partial, progress)
        sync(partial)
        target.hardlink_to(partial)  # unlike a rename, a link replaces nothing
        sync(target.parent)
    except FileExistsError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise JournalFailure(f"the journal {path} cannot be copied to {target}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _copy(path: Path, partial: Path, progress: Progress) -> None:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("PRAGMA busy_timeout = 10000")
        whole = _size(db)
        progress("copying", 0, whole)
        db.set_progress_handler(lambda: progress("copying", partial.stat().st_size, whole), STEPS)
        db.execute("VACUUM INTO ?", (str(partial),))
    finally:
        db.close()


def _size(db: sqlite3.Connection) -> int:
    """The size of the copy, in bytes."""
    pages, free, size = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _check(copy: Path, progress: Progress) -> int:
    """The number of messages in the copy. Raises sqlite3.Error if the copy is damaged."""
    db = sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        looks = itertools.count(1)
        progress("checking", 0, 0)
        db.set_progress_handler(lambda: progress("checking", next(looks), 0), STEPS)
        (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        count: int = db.execute("SELECT count(*) FROM deliveries").fetchone()[0]
        return count
    finally:
        db.close()
