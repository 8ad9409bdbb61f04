"""One process at a time: a lock that the kernel lets go of when its holder dies."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from notifier.errors import JournalInUse

READ_PID_SECONDS = 0.2  # the holder writes its pid right after locking


class Lock:
    """Held from `acquire` to `release`, or to the end of the process, however it ends."""

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
