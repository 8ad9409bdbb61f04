"""
The disk below the journal: its kind, its free space, the ballast; and which of SQLite's errors
mean that it is full or broken.
"""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import structlog

from notifier.disk import free_bytes
from notifier.errors import JournalFailure, JournalUnavailable, NotifierError
from notifier.journal import faults

BALLAST_BYTES = 1024 * 1024
LOOK_SECONDS = 1.0  # between two looks at the free space

# SQLite's WAL needs memory shared between processes and locks that hold: not over a network.
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph"),
        *("coda", "lustre", "gpfs", "glusterfs", "beegfs", "davfs", "fuse.davfs", "fuse.sshfs"),
        *("fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"),
        *("fuse.grpcfuse", "fuse.osxfs"),
    }
)

# The disk or the file itself is at fault: what was written may not be what is read
# next, and another fsync would falsely report success.
_FATAL = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_INTERNAL,
    }
)
# Python raises these itself while it binds a value that SQLite cannot hold.
UNBINDABLE = (UnicodeError, OverflowError)
RECOVERY = (
    "Check the disk. To save what can be read, stop notifier and run: "
    "sqlite3 '{0}' .recover | sqlite3 '{0}.recovered', then put that file in its place"
)

log = structlog.get_logger()


class Disk:
    """
    New messages are refused while less than `min_free` bytes are free, or the ballast is gone.

    The ballast is a file that is deleted to make space for writes that must still succeed.
    """

    def __init__(self, path: Path, *, min_free: int) -> None:
        self._folder = path.parent
        self._min_free = min_free
        self._ballast = path.with_name(path.name + ".ballast")
        self.ballast_gone = False
        self.low = False  # as of the latest look
        self.look_at = self._tried_at = float("-inf")  # by the monotonic clock

    def look(self) -> None:
        """See whether too little is free. It is due from `look_at` on. Raises OSError."""
        self.look_at = time.monotonic() + LOOK_SECONDS
        self.low = free_bytes(self._folder) < self._min_free

    def prepare(self) -> None:
        """Make the ballast, if there is space for it."""
        self.ballast_gone = not self._ballast.exists()
        self.refill()

    def release(self) -> bool:
        """Delete the ballast. False: it was already gone."""
        if self.ballast_gone:
            return False
        self.ballast_gone = True
        self._ballast.unlink(missing_ok=True)
        log.error("journal_ballast_released", path=str(self._ballast))
        return True

    def refill(self) -> None:
        """Make the ballast again once there is enough space."""
        if not self.ballast_gone or time.monotonic() - self._tried_at < LOOK_SECONDS:
            return
        self._tried_at = time.monotonic()
        if free_bytes(self._folder) < self._min_free + 2 * BALLAST_BYTES:
            return
        with contextlib.suppress(OSError):
            self._write()
            self.ballast_gone = False

    def _write(self) -> None:
        fd = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(fd, 0, BALLAST_BYTES)
        finally:
            os.close(fd)


def network_file_system(folder: Path, *, mounts: Path) -> str:
    """The kind of the network file system that a folder lies on; empty: it is local."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""  # not Linux
    kind, longest = "", -1
    for line in lines:
        point, found = _mount(line)
        if folder.is_relative_to(point) and len(point) >= longest:
            kind, longest = found, len(point)  # the later of two at one place covers the other
    return kind if kind in NETWORK else ""


def _mount(line: str) -> tuple[str, str]:
    """The mount point and kind of a mount. See proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    point = before.split(" ")[4]
    for octal, plain in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        point = point.replace(octal, plain)
    return point, after.split(" ")[0]


def is_full(error: BaseException) -> bool:
    """Whether there is no space left, also for the WAL's index."""
    code = getattr(error, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def is_fatal(error: BaseException) -> bool:
    """Whether the journal must never be written again by this process."""
    if isinstance(error, (NotifierError, *UNBINDABLE)):
        return False
    if not isinstance(error, sqlite3.Error):
        return True
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL)
    return not is_full(error) and code & 0xFF in _FATAL


def explained(error: Exception) -> NotifierError:
    """The error that the caller gets."""
    if isinstance(error, NotifierError):
        return error
    if is_full(error):
        return faults.full(f"the journal's disk is full ({error})")
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, *UNBINDABLE)):
        return faults.unkeepable(error)
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return faults.search_too_long()
    return JournalUnavailable(f"the journal cannot do this now: {error}")


def failure(path: object, error: BaseException) -> JournalFailure:
    """The text for the operator once the journal can no longer be written."""
    if isinstance(error, JournalFailure):
        return error
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return JournalFailure(f"journal_io_error: {path}: {name}: {error}. {RECOVERY.format(path)}")
