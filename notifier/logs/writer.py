"""
The thread that writes the log, so that no caller waits for a slow reader of it.

The standard library's QueueListener cannot drop the least important lines first, does not count
dropped lines, and does not let the process end while the stream is stuck.
"""

import contextlib
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from msgspec import Struct

from notifier.logs.files import Files

CAPACITY = 50_000  # lines that may wait; beyond it debug and info are dropped
RESERVE = 10_000  # more lines, for warnings and errors
BATCH = 1000  # lines in one write
GATHER_SECONDS = 0.02  # how long a line may wait to be written together with others
WARNING_SECONDS = 0.05  # how long a warning and its caller wait for capacity
FLUSH_SECONDS = 2.0  # for the last lines when the process ends


class Line(Struct, frozen=True, gc=False):
    """One line, rendered: for the stream, and for the files where there are any."""

    level: int
    text: bytes
    filed: bytes


class Writer:
    """
    Writes lines in order. If no one reads the stream, lines are dropped and counted, warnings and
    errors last. The process can always end.
    """

    def __init__(
        self,
        fd: int,
        *,
        files: Files | None,
        dropped_line: Callable[[int], Line],
        capacity: int = CAPACITY,
    ) -> None:
        self._fd = fd
        self._files = files
        self._dropped_line = dropped_line
        self._capacity = capacity
        self._queue: SimpleQueue[Line | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unlogged = 0  # dropped, and not logged as dropped yet
        self._stuck_at = -1  # lines written when a warning last waited for nothing
        self._written = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, line: Line) -> None:
        """Queue a line. Never raises, and waits only for a warning without space."""
        if self._stopping:
            return self._put_late(line)
        waiting = self._queue.qsize()
        if waiting < self._capacity or (
            line.level >= logging.WARNING and self._wait_for_capacity()
        ):
            self._queue.put(line)
        else:
            self._drop(1)
        return None

    def _put_late(self, line: Line) -> None:
        """Write a line that is logged while the process ends."""
        self._thread.join(FLUSH_SECONDS)
        if self._thread.is_alive():
            self._drop(1)
        else:
            self._write([line])

    def _wait_for_capacity(self) -> bool:
        limit = self._capacity + RESERVE
        if self._queue.qsize() < limit:
            return True
        if self._stuck_at == self._written:
            return False  # nothing was written since another warning waited
        deadline = time.monotonic() + WARNING_SECONDS
        while self._queue.qsize() >= limit:
            if time.monotonic() > deadline:
                self._stuck_at = self._written
                return False
            time.sleep(0.001)
        return True

    def _drop(self, lines: int) -> None:
        with self._lock:
            self.dropped += lines
            self._unlogged += lines

    def stop(self) -> bool:
        """Write what is left, for two seconds at most. False: some of it is lost."""
        self._stopping = True
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(FLUSH_SECONDS)
        if self._thread.is_alive():
            return False
        if self._files is not None:
            self._files.close()
            self._files = None
        return True

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            if not self._stopping:
                time.sleep(GATHER_SECONDS)
            batch, ended = self._batch(first)
            self._write(batch)
            self._log_dropped()
            if ended:
                break

    def _batch(self, first: Line) -> tuple[list[Line], bool]:
        batch = [first]
        while len(batch) < BATCH:
            try:
                line = self._queue.get_nowait()
            except Empty:
                break
            if line is None:
                return batch, True
            batch.append(line)
        return batch, False

    def _log_dropped(self) -> None:
        if self._unlogged and self._queue.qsize() < self._capacity // 2:
            with self._lock:
                dropped, self._unlogged = self._unlogged, 0
            self._write([self._dropped_line(dropped)])

    def _write(self, batch: Sequence[Line]) -> None:
        if self._files is not None:
            self._file(self._files, batch)
        try:
            write_all(self._fd, b"".join([line.text for line in batch]))
        except OSError:  # the stream is closed, so it cannot be logged
            self._drop(len(batch))
        self._written += len(batch)

    def _file(self, files: Files, batch: Sequence[Line]) -> None:
        for level, group in itertools.groupby(batch, key=lambda line: line.level):
            with contextlib.suppress(OSError):  # the stream has the lines
                files.write(level, b"".join([line.filed for line in group]))


def write_all(fd: int, data: bytes) -> None:
    """Raises OSError."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another process that shares the stream made it non-blocking
            select.select((), (fd,), ())
