"""A thread with its own connection, which runs calls and answers into the event loop."""

import asyncio
import contextlib
import math
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, overload

import structlog
from msgspec import Struct

from notifier.errors import JournalUnavailable, NotifierError
from notifier.journal import faults
from notifier.journal.sqlite.disk import UNBINDABLE, explained, is_fatal

# A search without an index is ended after this time, because other searches wait for it.
READ_SECONDS = 3.0
READ_STEPS = 1_000_000  # instructions of SQLite between two looks at the clock
WAIT_SECONDS = 0.004  # of a call that may wait; longer, and a crash repeats more mail

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]
Answer: TypeAlias = tuple["asyncio.Future[Any]", object]

log = structlog.get_logger()


class Piece(Struct, gc=False):
    """One call, and the caller's future."""

    work: Any  # a Work, or what `serve` knows better
    future: "asyncio.Future[Any]"
    vital: bool = True  # whether it may use the ballast: everything but new messages may


class JournalThread:
    """
    Runs calls in order on its own thread, and answers a whole batch with one call into the loop.
    Every caller gets an answer; after a fatal error it is JournalUnavailable.

    Calls that are made in one turn of the loop reach the thread together, so it is woken once for
    all of them. A call that may wait (`ask`) goes with the next one that may not: after
    WAIT_SECONDS at most, and at once while such calls come more seldom than that.

    `serve` carries out a batch, and `rest` is called once its callers have been answered. What they
    raise is fatal.
    """

    def __init__(
        self,
        name: str,
        *,
        connect: Callable[[], sqlite3.Connection],
        serve: Callable[[sqlite3.Connection, list[Piece]], list[Answer]],
        batch: int = 1,
        rest: Callable[[sqlite3.Connection, list[Piece]], None] | None = None,
        on_end: Callable[[BaseException], None],
    ) -> None:
        self._connect = connect
        self._serve = serve
        self._batch = batch
        self._rest = rest
        self._on_end = on_end
        self._asked: list[Piece] = []  # not handed over yet
        self._handing_over: asyncio.Handle | None = None
        self._waiting_over: asyncio.TimerHandle | None = None
        # When the latest calls that may not wait were handed over.
        self._urgent: deque[float] = deque((-math.inf,), maxlen=3)
        # What is handed over to the thread. An empty list: it must end.
        self._inbox: queue.SimpleQueue[list[Piece]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._closed = True
        self._over: BaseException | None = None

    async def open(self) -> None:
        """Connect, in the thread. Raises what connecting raises."""
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._on_loop: Callable[..., object] = self._loop.call_soon_threadsafe
        self._closed = False
        self._thread.start()
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self.close()
            if self._opened.done():
                self._opened.exception()  # after a cancellation no caller waits for the answer
            raise

    async def close(self) -> None:
        """Answer the calls that were made, then end the thread and its connection."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._inbox.put([])
            await self._ended

    def end(self, error: BaseException) -> None:
        """Accept no more calls, because this thread or another one has failed."""
        self._over = error

    @overload
    def ask(
        self, work: Work[T], *, vital: bool = True, may_wait: bool = False
    ) -> "asyncio.Future[T]": ...
    @overload
    def ask(
        self, work: Struct, *, vital: bool = True, may_wait: bool = False
    ) -> "asyncio.Future[Any]": ...
    def ask(
        self, work: object, *, vital: bool = True, may_wait: bool = False
    ) -> "asyncio.Future[Any]":
        """
        Have a call run, or what else `serve` carries out, even if the caller stops waiting. Raises
        JournalUnavailable.
        """
        if self._closed:
            raise faults.closed()
        if self._over is not None:
            raise _over(self._over)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append(Piece(work, future, vital))
        if self._handing_over is None:
            now = self._loop.time()
            if not may_wait:
                self._urgent.append(now)
            if not may_wait or now - self._urgent[0] > len(self._urgent) * WAIT_SECONDS:
                self._handing_over = self._loop.call_soon(self._hand_over)
            elif self._waiting_over is None:
                self._waiting_over = self._loop.call_later(WAIT_SECONDS, self._hand_over)
        return future

    def _hand_over(self) -> None:
        for handle in (self._handing_over, self._waiting_over):
            if handle is not None:
                handle.cancel()
        self._handing_over = self._waiting_over = None
        if self._asked:
            self._inbox.put(self._asked)
            self._asked = []

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: no caller waits
            try:
                db = self._connect()
            except BaseException as error:  # noqa: BLE001  the caller of `open` gets it
                self._on_loop(_answer, [(self._opened, error)])
                self._refuse(error)
            else:
                self._on_loop(_answer, [(self._opened, None)])
                self._work(db)
            self._on_loop(_answer, [(self._ended, None)])

    def _work(self, db: sqlite3.Connection) -> None:
        """Serve the calls that come, at most so many at a time, until an empty list comes."""
        pieces: list[Piece] = []
        ending = False
        while True:
            while not ending and not (pieces and self._inbox.empty()):
                more = self._inbox.get()
                pieces += more
                ending = not more
                del more  # or it would hold on to contents
            batch, pieces = pieces[: self._batch], pieces[self._batch :]
            if not batch:
                break
            try:
                self._on_loop(_answer, self._serve(db, batch))
                if self._rest is not None:
                    self._rest(db, batch)
                batch.clear()  # likewise, until there is more to do
            except BaseException as error:  # noqa: BLE001  a dead thread with a living API is the worst state
                with contextlib.suppress(Exception):
                    db.close()
                self._on_loop(self._on_end, error)
                left = (*batch, *pieces)
                self._on_loop(_answer, [(piece.future, _over(error)) for piece in left])
                if not ending:
                    self._refuse(error)
                return
        # As the last connection that closes, the writer's takes the WAL into the file. After a
        # failure it is not the last: what is on disk then is left as it is.
        db.close()

    def _refuse(self, error: BaseException) -> None:
        """Answer all calls that still come."""
        while pieces := self._inbox.get():
            self._on_loop(_answer, [(piece.future, _over(error)) for piece in pieces])


def serve_reads(db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]:
    """Run reads on a connection that cannot write. No read keeps a snapshot beyond its end."""
    give_up = time.monotonic() + READ_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > give_up, READ_STEPS)
    answers: list[Answer] = []
    for piece in batch:
        try:
            answers.append((piece.future, piece.work(db)))
        except Exception as error:
            if isinstance(error, sqlite3.Error) and is_fatal(error):
                raise
            if not isinstance(error, (sqlite3.Error, NotifierError, *UNBINDABLE)):
                log.exception(
                    "journal_read_failed"
                )  # a fault of the code, but only for this caller
            answers.append((piece.future, explained(error)))
    return answers


def _over(error: BaseException) -> JournalUnavailable:
    """The error of every caller once nothing can be written any more."""
    return JournalUnavailable(f"the journal has failed: {error}")


def _answer(answers: list[Answer]) -> None:
    for future, answer in answers:
        if future.done():
            continue  # no caller waits any more
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
