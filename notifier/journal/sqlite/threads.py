"""A thread with a connection of its own, and what it answers."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from notifier.errors import JournalUnavailable

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]
Answer: TypeAlias = tuple["asyncio.Future[Any]", object]


class Piece(Struct, gc=False):
    """One thing that is asked, and who waits for the answer."""

    work: Work[Any]
    future: "asyncio.Future[Any]"
    vital: bool = True  # worth the ballast: all but taking in something new


class Server(Protocol):
    """What a thread does with what has piled up. An exception that it raises is the end."""

    def connect(self) -> sqlite3.Connection: ...

    def serve(self, db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]: ...

    def rest(self, db: sqlite3.Connection) -> None:
        """Nothing is waiting."""
        ...

    def disconnect(self, db: sqlite3.Connection) -> None: ...


class Clerk:
    """
    Answers in order, all of a batch by one call into the loop. Whatever happens, whoever
    waits is answered: once the server has raised, everybody gets JournalUnavailable.

    As long as several ask at a time it waits for those who ask next, `gather` seconds for each
    of them up to `most`: what a batch costs is then shared by more. Who asks alone is answered
    at once.
    """

    def __init__(
        self,
        name: str,
        server: Server,
        *,
        batch: int,
        gather: float = 0.0,
        most: float = 0.0,
        on_end: Callable[[BaseException], None],
    ) -> None:
        self._server = server
        self._batch = batch
        self._gather = gather
        self._most = most
        self._on_end = on_end
        self._inbox: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._closed = True
        self._over: BaseException | None = None

    async def open(self) -> None:
        """Connect, in the thread. Raises what connecting raised."""
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        self._thread.start()
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self.close()
            if self._opened.done():
                self._opened.exception()  # where we were cancelled, nobody asks for it any more
            raise

    async def close(self) -> None:
        """Answer what was asked, then end the thread and its connection."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
            await self._ended

    def end(self, error: BaseException) -> None:
        """Take nothing more, because of what happened here or with another clerk."""
        self._over = error

    def ask(self, work: Work[T], *, vital: bool = True) -> "asyncio.Future[T]":
        """Taken in hand at once: a caller who stops waiting undoes nothing."""
        if self._closed:
            raise JournalUnavailable("the journal is closed")
        if self._over is not None:
            raise over(self._over)
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(Piece(work, future, vital))
        return future

    def _run(self) -> None:
        try:
            db = self._server.connect()
        except BaseException as error:  # noqa: BLE001  whoever opens it waits to hear
            self._tell([(self._opened, error)])
            self._refuse(error)
        else:
            self._tell([(self._opened, None)])
            self._serve(db)
        self._tell([(self._ended, None)])

    def _serve(self, db: sqlite3.Connection) -> None:
        while batch := self._take():
            try:
                self._tell(self._server.serve(db, batch))
                if self._gather and len(batch) > 1:
                    time.sleep(min(self._gather * len(batch), self._most))
                if self._inbox.empty():
                    self._server.rest(db)
            except BaseException as error:  # noqa: BLE001  a dead thread with a living API is the worst state
                with contextlib.suppress(Exception):
                    self._server.disconnect(db)
                self._on_loop(self._on_end, error)
                self._tell([(piece.future, over(error)) for piece in batch])
                self._refuse(error)
                return
        self._server.disconnect(db)

    def _refuse(self, error: BaseException) -> None:
        while batch := self._take():
            self._tell([(piece.future, over(error)) for piece in batch])

    def _take(self) -> list[Piece]:
        """All that has piled up, at least one; nothing: it is time to end."""
        batch: list[Piece] = []
        while (piece := self._inbox.get()) is not None:
            batch.append(piece)
            if len(batch) == self._batch or self._inbox.empty():
                return batch
        if batch:
            self._inbox.put(None)  # what came before the end is done first
        return batch

    def _tell(self, answers: list[Answer]) -> None:
        self._on_loop(_answer, answers)

    def _on_loop(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before us: nobody waits
            self._loop.call_soon_threadsafe(call, *args)


def over(error: BaseException) -> JournalUnavailable:
    """What everybody is told once nothing can be written any more."""
    return JournalUnavailable(f"the journal has failed: {error}")


def _answer(answers: list[Answer]) -> None:
    for future, answer in answers:
        if future.done():
            continue  # nobody waits any more
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
