"""Lines of the log leave by a thread of their own, so that nobody waits for whoever reads them."""

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

ROOM = 50_000  # lines that may wait, and then debug and info are dropped
RESERVE = 10_000  # more lines, for warnings and errors
BATCH = 1000  # lines in one write
GATHER_SECONDS = 0.02  # how long a line may wait for company
PATIENCE_SECONDS = 0.05  # how long a warning waits for room, and its caller with it
FLUSH_SECONDS = 2.0  # given to the last lines when the process ends


class Line(Struct, frozen=True, gc=False):
    """One line, rendered: for the stream, and for the files where there are any."""

    level: int
    text: bytes
    filed: bytes


class Writer:
    """
    Keeps the order of the lines. Where nobody reads the stream, lines are dropped and
    counted; warnings and errors last. The process can always end.
    """

    def __init__(
        self, fd: int, *, files: Files | None, say_dropped: Callable[[int], Line], room: int = ROOM
    ) -> None:
        self._fd = fd
        self._files = files
        self._say_dropped = say_dropped
        self._room = room
        self._queue: SimpleQueue[Line | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unsaid = 0  # dropped, and not told in the log yet
        self._stuck_at = -1  # lines written when a warning last waited in vain
        self._written = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self.dropped = 0
        self.filed_in_vain = 0  # lines that a file did not take

    def start(self) -> None:
        self._thread.start()

    def put(self, line: Line) -> None:
        """Never raises, and never waits unless it must for a warning."""
        if self._stopping:
            return self._put_late(line)
        waiting = self._queue.qsize()
        if waiting < self._room or (line.level >= logging.WARNING and self._find_room()):
            self._queue.put(line)
        else:
            self._drop(1)
        return None

    def _put_late(self, line: Line) -> None:
        """Whatever is said while the process ends goes out at once, if anything does."""
        self._thread.join(FLUSH_SECONDS)
        if self._thread.is_alive():
            self._drop(1)
        else:
            self._write([line])

    def _find_room(self) -> bool:
        limit = self._room + RESERVE
        if self._queue.qsize() < limit:
            return True
        if self._stuck_at == self._written:
            return False  # nothing has moved since another one waited
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._queue.qsize() >= limit:
            if time.monotonic() > deadline:
                self._stuck_at = self._written
                return False
            time.sleep(0.001)
        return True

    def _drop(self, lines: int) -> None:
        with self._lock:
            self.dropped += lines
            self._unsaid += lines

    def stop(self) -> bool:
        """Write what is left, as far as it goes in two seconds. False: some of it did not go."""
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
            self._tell_dropped()
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

    def _tell_dropped(self) -> None:
        if self._unsaid and self._queue.qsize() < self._room // 2:
            with self._lock:
                dropped, self._unsaid = self._unsaid, 0
            self._write([self._say_dropped(dropped)])

    def _write(self, batch: Sequence[Line]) -> None:
        if self._files is not None:
            self._file(self._files, batch)
        try:
            write_all(self._fd, b"".join([line.text for line in batch]))
        except OSError:  # the stream is closed; where else could one say it?
            self._drop(len(batch))
        self._written += len(batch)

    def _file(self, files: Files, batch: Sequence[Line]) -> None:
        for level, group in itertools.groupby(batch, key=lambda line: line.level):
            lines = list(group)
            try:
                files.write(level, b"".join([line.filed for line in lines]))
            except OSError:
                self.filed_in_vain += len(lines)


def write_all(fd: int, data: bytes) -> None:
    """Raises OSError."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # whoever shares the stream with us made it non-blocking
            select.select((), (fd,), ())
