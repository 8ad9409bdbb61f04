"""
Files of the log, one for each level.

The standard library rotates by size (RotatingFileHandler) or follows a file that logrotate moved
(WatchedFileHandler), not both.
"""

import contextlib
import fcntl
import logging
import os
from pathlib import Path

from notifier.errors import ConfigurationError

LARGEST = 10_000_000  # octets of a file before a new one is begun
KEPT = 5  # old files

NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "error",
}


def is_at(path: Path, fd: int) -> bool:
    """Whether this open file is the one at the path."""
    ours = os.fstat(fd)
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)


def lock(fd: int) -> None:
    """Wait until no other process has the file locked. Not every file system knows locks."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX)


def unlock(fd: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)


class RotatedFile:
    """
    Appends lines. When `info.log` is large it becomes `info.log.1`, and `info.log.1` becomes
    `info.log.2`.
    """

    def __init__(self, path: Path, *, largest: int = LARGEST, kept: int = KEPT) -> None:
        self._path = path
        self._largest = largest
        self._kept = kept
        self._fd = self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags, 0o640)

    def write(self, lines: bytes) -> None:
        """Raises OSError."""
        self._lock()
        try:
            if (size := os.fstat(self._fd).st_size) and size + len(lines) > self._largest:
                self._rotate()
                self._lock()
            while lines:
                lines = lines[os.write(self._fd, lines) :]
        finally:
            unlock(self._fd)

    def _lock(self) -> None:
        """Lock the file that is there now, so that `rewriting` puts no other in its place."""
        while True:
            lock(self._fd)
            if is_at(self._path, self._fd):
                return
            self._reopen()  # logrotate or a person has moved it away, or it was rewritten

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).rename(self._numbered(number + 1))
        self._path.rename(self._numbered(1))
        self._reopen()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _reopen(self) -> None:
        fd = self._open()
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        os.close(self._fd)


class Files:
    """One rotated file for each level, which holds lines of that level alone."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigurationError."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = {
                name: RotatedFile(folder / f"{name}.log") for name in dict.fromkeys(NAMES.values())
            }
        except OSError as error:
            raise ConfigurationError(
                f"NOTIFIER_LOG_DIR: cannot write to {folder}: {error.strerror}"
            ) from error

    def write(self, level: int, lines: bytes) -> None:
        """Raises OSError."""
        self._files[NAMES.get(level, "info")].write(lines)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
