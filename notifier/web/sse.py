"""Server-sent events: a stream to one reader, until it leaves or we stop."""

import asyncio
from collections.abc import Awaitable, Callable

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

KEEP_ALIVE = b": still here\n\n"  # so that proxies keep a quiet stream

Tell = Callable[[Send], Awaitable[None]]


class Stream:
    """An answer that goes on. `tell` is cancelled once its reader has gone."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            ],
        }
        await send(start)
        telling = asyncio.ensure_future(self._tell(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
            leaving.cancel()
            told, _ = await asyncio.gather(telling, leaving, return_exceptions=True)
        if isinstance(told, Exception):
            raise told


async def write(send: Send, data: bytes, *, last: bool = False) -> None:
    body: HTTPResponseBodyEvent = {
        "type": "http.response.body",
        "body": data,
        "more_body": not last,
    }
    await send(body)


def event(name: bytes, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, data)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
