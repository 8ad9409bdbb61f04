"""
What must be true of a file before it is used as a journal: it lies on a local disk, no other
process has it, it is whole, and its schema is ours.
"""

import contextlib
import fcntl
import os
import sqlite3
import sys
import time
from importlib.resources import files
from pathlib import Path

import structlog

from notifier.errors import JournalFailure, JournalInUse
from notifier.journal.sqlite.disk import RECOVERY, network_file_system

# Each takes the schema from one version to the next. What has been released is not changed.
MIGRATIONS = tuple(
    files(__package__).joinpath(name).read_text(encoding="utf-8")
    for name in ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql")
)
SCHEMA_VERSION = len(MIGRATIONS)
APPLICATION_ID = 0x4E544659  # "NTFY", where `file` looks for it
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
CHECKED_BYTES = 32 * 1024 * 1024  # of a larger file only the pages that are used first are checked
BUSY = "PRAGMA busy_timeout = 2000"
# A checkpoint within a commit delays those who wait for the commit. The writer makes its own before
# that, except where few rows fill many pages.
AUTOCHECKPOINT_PAGES = 8000
READ_PID_SECONDS = 0.2  # the holder writes its pid right after locking

log = structlog.get_logger()


def prepare(path: Path, *, mounts: Path) -> None:
    """Make the folder and the file, or say why that cannot be. Raises JournalFailure."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise JournalFailure(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is needed")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    if kind := network_file_system(path.parent.resolve(), mounts=mounts):
        raise JournalFailure(
            f"{path} lies on a network file system ({kind}), where SQLite loses data;"
            " put NOTIFIER_DATA_DIR on a local disk, or use a postgresql: journal"
        )


def create(path: Path) -> None:
    """The file, readable by the service alone. SQLite gives the WAL the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise unwritable(path, error) from error


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints. Raises JournalFailure."""
    _report_version()
    try:
        db = _connect(path)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    try:
        db.execute(BUSY)
        db.execute("PRAGMA synchronous = full")
        db.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}")
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA cache_size = -16000")
        db.execute("PRAGMA secure_delete = 1")  # nothing that was erased stays in a freed page
        _check(db, path)
        _migrate(db, path)
    except BaseException as error:
        db.close()
        if isinstance(error, (sqlite3.Error, OSError)):
            raise unusable(path, error) from error
        raise
    return db


def connect_reader(path: Path, *, cache_kib: int) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint, with so large a cache at most."""
    db = _connect(path)
    db.execute(BUSY)
    db.execute("PRAGMA query_only = 1")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA cache_size = -{cache_kib}")
    if sys.version_info >= (3, 12):  # earlier ones cannot say it; there the writer closes last
        db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
    return db


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, cached_statements=256)


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Find damage now, not when the first message of the day is refused."""
    if db.execute("PRAGMA journal_mode = wal").fetchone() != ("wal",):
        raise JournalFailure(
            f"{path} lies on a file system that does not support SQLite's WAL; put "
            "NOTIFIER_DATA_DIR on a local disk"
        )
    if path.stat().st_size <= CHECKED_BYTES:
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    (identity,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and identity != APPLICATION_ID:
        raise JournalFailure(
            f"{path} is a SQLite file, but not a journal of notifier; name another file in"
            " NOTIFIER_JOURNAL"
        )


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise JournalFailure(
            f"{path} was written by a newer notifier (schema {version}, this one knows"
            f" {SCHEMA_VERSION}); start that one, or name another NOTIFIER_JOURNAL"
        )
    for next_version, migration in enumerate(MIGRATIONS[version:], version + 1):
        db.executescript(
            f"BEGIN IMMEDIATE; {migration}; PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {next_version}; COMMIT;"
        )
        if version:
            log.info("journal_migrated", version=next_version)
    if version == SCHEMA_VERSION:
        db.execute("BEGIN IMMEDIATE")  # to see whether it can be written
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def _report_version() -> None:
    version = sqlite3.sqlite_version_info
    mended = version >= (3, 51, 3) or any(
        version[:2] == branch and version[2] >= patch
        for branch, patch in (((3, 44), 6), ((3, 50), 7))
    )
    if not mended:
        log.info(
            "sqlite_wal_reset_bug",
            version=sqlite3.sqlite_version,
            exposed=False,
            why="one connection alone writes and checkpoints; let no other program do so",
        )


def unwritable(path: Path, error: OSError) -> JournalFailure:
    return JournalFailure(
        f"the journal {path} cannot be written ({error.strerror}): give the user that runs"
        " notifier the right to write there, or set NOTIFIER_DATA_DIR to where it may"
    )


def unusable(path: Path, error: Exception) -> JournalFailure:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return JournalFailure(f"the journal {path} cannot be used ({name}: {error}). "
                          + RECOVERY.format(path))  # fmt: skip


class Lock:
    """Lasts from `acquire` to `release`, or until the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, what: str) -> None:
        """Raises JournalInUse, naming the holder; OSError where the file cannot be made."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(fd)
            os.close(fd)
            raise JournalInUse(f"the journal {what} is in use by {holder}") from None
        except OSError:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        self._fd = fd

    def release(self) -> None:
        # The file stays: to remove it would let a third process lock another one of its name.
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def _holder(fd: int) -> str:
    give_up = time.monotonic() + READ_PID_SECONDS
    while not (pid := os.pread(fd, 20, 0).strip()):
        if time.monotonic() > give_up:
            return "another process"
        time.sleep(0.01)
    return f"pid {pid.decode('ascii', 'replace')}"
