"""Server-sent events: a stream to one reader, until it leaves or we stop."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import TypeAlias

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

# Proxies give up a connection that is silent for 30 to 60 seconds. As the HTML standard advises
# in section 9.2.7.
QUIET_SECONDS = 15.0
# Of the comments that are due at the same time, so many are written in one turn of the loop,
PORTION = 20
PAUSE_SECONDS = 0.01  # and so much later the next.
WATCH_SECONDS = 1.0  # how long a stream may outlive its key

START: HTTPResponseStartEvent = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}
KEEP_ALIVE = b": still here\n\n"

Tell: TypeAlias = "Callable[[Stream], Awaitable[None]]"


class KeepAlive:
    """
    Writes a comment to each stream that has been silent for long, so that proxies keep it and
    we learn of readers that are gone. One timer serves all, and what is due is written in
    portions, so that thousands of streams hold up nobody.
    """

    def __init__(self, *, quiet: float = QUIET_SECONDS) -> None:
        self._quiet = quiet
        self._due: OrderedDict[Stream, float] = OrderedDict()  # by the loop's clock, the next first
        self._timer: asyncio.TimerHandle | None = None

    def put_off(self, stream: "Stream") -> None:
        """It is not silent now."""
        loop = asyncio.get_running_loop()
        self._due[stream] = due = loop.time() + self._quiet
        self._due.move_to_end(stream)
        if self._timer is None:
            self._timer = loop.call_at(due, self._write)

    def leave(self, stream: "Stream") -> None:
        self._due.pop(stream, None)

    def _write(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        portion = islice(self._due.items(), PORTION)
        for stream in [stream for stream, due in portion if due <= now]:
            stream.comment()
            self.put_off(stream)
        self._timer = None
        if self._due:
            due = next(iter(self._due.values()))
            self._timer = loop.call_at(max(due, now + PAUSE_SECONDS), self._write)


class Stream:
    """
    An answer that goes on while `tell` writes to it, which is cancelled once its reader has
    gone. It begins with what is written first: what `tell` raises before is answered as it is
    elsewhere.
    """

    __slots__ = ("_begun", "_ended", "_keep_alive", "_send", "_tell", "_telling", "_watched")

    def __init__(self, tell: Tell, keep_alive: KeepAlive) -> None:
        self._tell = tell
        self._keep_alive = keep_alive
        self._begun = self._ended = False
        self._telling: asyncio.Future[None] | None = None
        self._watched: AbstractContextManager[None] = contextlib.nullcontext()

    def watched(self, watched: AbstractContextManager[None]) -> None:
        """Be within this as long as it goes on."""
        self._watched = watched

    def end(self) -> None:
        """Its reader may not read on."""
        self._ended = True
        if self._telling is not None:
            self._telling.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        self._send = send
        # Both end with this call, which hears if one of them fails.
        telling = self._telling = asyncio.ensure_future(self._tell(self))
        leaving = asyncio.ensure_future(_gone(receive))
        leaving.add_done_callback(lambda _: telling.cancel())
        try:
            with self._watched:
                await telling
        except asyncio.CancelledError:
            if self._ended:
                with contextlib.suppress(TimeoutError):  # one that does not read is cut off
                    async with asyncio.timeout(WATCH_SECONDS):
                        await self.write(b"", last=True)
            elif not leaving.done():
                raise
        finally:
            self._keep_alive.leave(self)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Whole events. Waits while the reader has too much to read already."""
        if not self._begun:
            self._begun = True
            await self._send(START)
        if last:
            self._keep_alive.leave(self)
        else:
            self._keep_alive.put_off(self)
        await self._send(_piece(data, last=last))

    def comment(self) -> None:
        """
        Write that we are still here; or nothing, where the reader has not taken what was
        written before. That is why nobody waits for it, and it needs no task.
        """
        with contextlib.closing(self._send(_piece(KEEP_ALIVE)).__await__()) as sending:
            next(sending, None)


class Watch:
    """
    Ends each stream whose reader may not read on: its key or session has ended. One timer looks
    after all of them, at each key or session once.
    """

    def __init__(self, *, seconds: float = WATCH_SECONDS) -> None:
        self._seconds = seconds
        self._open: dict[str, tuple[Callable[[], bool], set[Stream]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def over(self, stream: Stream, name: str, valid: Callable[[], bool]) -> None:
        """Look after a stream, as long as it goes on, that is open by what `name` stands for."""
        stream.watched(self._while(stream, name, valid))

    @contextlib.contextmanager
    def _while(self, stream: Stream, name: str, valid: Callable[[], bool]) -> Iterator[None]:
        _, streams = self._open.setdefault(name, (valid, set()))
        streams.add(stream)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)
        try:
            yield
        finally:
            streams.discard(stream)
            if not streams:
                self._open.pop(name, None)

    def _look(self) -> None:
        for valid, streams in list(self._open.values()):
            if not valid():
                for stream in list(streams):
                    stream.end()
        self._timer = None
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)


def event(name: bytes, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, data)


def _piece(data: bytes, *, last: bool = False) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": data, "more_body": not last}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
