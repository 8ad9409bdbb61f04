"""
Server-sent events: a response that goes on until its reader leaves or the service stops.

Not Litestar's `ServerSentEvent`: it sends the header before the first event, so that a message that
does not exist could not be answered with 404.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from litestar.types import (
    HTTPDisconnectEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    Receive,
    Scope,
    Send,
)

# Proxies close a connection that is silent for 30 to 60 seconds: HTML standard, section 9.2.7.
QUIET_SECONDS = 15.0
WATCH_SECONDS = 1.0  # how long a stream may outlive its key
LAST_SECONDS = 1.0  # for a client to read the end of the stream, before the stream is cut off

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

Write: TypeAlias = "Callable[[Stream], Awaitable[None]]"


class Stream:
    """
    Goes on while `events` writes to it, and cancels `events` once ASGI says that the reader has
    left. The response begins with the first write: an exception before it is answered as an error.
    """

    __slots__ = ("_begun", "_events", "_send", "_written_at", "quiet")

    def __init__(self, events: Write, *, quiet: float = QUIET_SECONDS) -> None:
        self.quiet = quiet
        self._events = events
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        self._send = send
        writing = asyncio.ensure_future(self._events(self))
        leaving = asyncio.ensure_future(_gone(receive))
        leaving.add_done_callback(lambda _: writing.cancel())
        try:
            await writing
        except asyncio.CancelledError:
            if not leaving.done():
                raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self.write(b"", last=True)
        finally:
            writing.cancel()
            leaving.cancel()
            await asyncio.gather(leaving, writing, return_exceptions=True)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Write whole events. Waits while the reader has too much to read."""
        if not self._begun:
            self._begun = True
            await self._send(START)
        piece: HTTPResponseBodyEvent = {
            "type": "http.response.body",
            "body": data,
            "more_body": not last,
        }
        await self._send(piece)
        self._written_at = asyncio.get_running_loop().time()

    async def keep_alive(self) -> None:
        """Write a comment if the stream has been silent for `quiet` seconds."""
        if asyncio.get_running_loop().time() - self._written_at >= self.quiet:
            await self.write(KEEP_ALIVE)


class Watch:
    """
    Ends each stream whose client may no longer read, because its key or session has ended. One
    timer watches all streams, and checks each key or session once.
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[Callable[[], bool], set[asyncio.Future[None]]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def over(self, name: str, valid: Callable[[], bool]) -> Iterator[asyncio.Future[None]]:
        """A future that is done once `valid` is false. `name` is the key's or session's."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        _, streams = self._open.setdefault(name, (valid, set()))
        streams.add(ended)
        if self._timer is None:
            self._timer = loop.call_later(WATCH_SECONDS, self._look)
        try:
            yield ended
        finally:
            streams.discard(ended)
            if not streams:
                self._open.pop(name, None)

    def _look(self) -> None:
        for valid, streams in list(self._open.values()):
            if not valid():
                for ended in streams:
                    if not ended.done():
                        ended.set_result(None)
        self._timer = None
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)


def until(ended: asyncio.Future[None], receive: Receive) -> Receive:
    """End the stream as a client that left would, once the client may no longer read."""

    async def received() -> Any:
        message: asyncio.Future[Any] = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({message, ended}, return_when=asyncio.FIRST_COMPLETED)
            gone: HTTPDisconnectEvent = {"type": "http.disconnect"}
            return message.result() if message.done() else gone
        finally:
            message.cancel()

    return received


def event(name: bytes, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, data)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
