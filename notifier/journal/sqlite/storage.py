"""The file system below the journal: its kind, its free space, and the ballast."""

import contextlib
import os
import time
from pathlib import Path

import structlog

from notifier.errors import JournalUnavailable
from notifier.journal.sqlite.faults import RETRY_FULL_SECONDS

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

log = structlog.get_logger()


class Storage:
    """
    New messages are refused while less than `min_free` bytes are left, or while the
    ballast is out. The ballast is a file that makes room for what must still be written.
    """

    def __init__(self, path: Path, *, min_free: int) -> None:
        self._folder = path.parent
        self._min_free = min_free
        self._ballast = path.with_name(path.name + ".ballast")
        self.ballast_out = False
        self._looked_at = float("-inf")
        self._low = False

    def check(self) -> None:
        """Raises JournalUnavailable where a new message should not be taken."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._low = _free(self._folder) < self._min_free
        if self._low or self.ballast_out:
            raise JournalUnavailable(
                "insufficient_storage: the journal's disk is nearly full",
                retry_after=RETRY_FULL_SECONDS,
            )

    def prepare(self) -> None:
        """Make the ballast, where there is room for it."""
        self.ballast_out = not self._ballast.exists()
        self._tried_at = float("-inf")
        self.refill()

    def release(self) -> bool:
        """Throw off the ballast. False: it is out already."""
        if self.ballast_out:
            return False
        self.ballast_out = True
        self._ballast.unlink(missing_ok=True)
        log.error("journal_ballast_released", path=str(self._ballast))
        return True

    def refill(self) -> None:
        """Take the ballast in again once there is room for it and more."""
        if not self.ballast_out or time.monotonic() - self._tried_at < LOOK_SECONDS:
            return
        self._tried_at = time.monotonic()
        if _free(self._folder) < self._min_free + 2 * BALLAST_BYTES:
            return
        with contextlib.suppress(OSError):
            self._write()
            self.ballast_out = False

    def _write(self) -> None:
        fd = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(fd, 0, BALLAST_BYTES)
        finally:
            os.close(fd)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def network_file_system(folder: Path, *, mounts: Path) -> str:
    """The kind of the network file system that a folder lies on; empty: on none."""
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
    """Where, and of what kind. See proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    point = before.split(" ")[4]
    for octal, plain in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        point = point.replace(octal, plain)
    return point, after.split(" ")[0]
