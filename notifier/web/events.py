"""What happens, as it happens: server-sent events at /v1/events."""

import asyncio
import contextlib
from typing import Annotated, Literal

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send
from msgspec import Meta, Struct

from notifier.deliveries import Delivery
from notifier.service import Notifier
from notifier.web.answers import encode
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import Operation, Outcome
from notifier.web.parameters import read_query, render

# The figures are looked at so often; a quiet stream gets a comment, so that proxies keep it.
FIGURES_SECONDS = 5.0
KEEP_ALIVE = b": still here\n\n"


Id = Annotated[str, Meta(max_length=64)]


class EventQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events."""

    message: Annotated[Id | None, Meta(description="Only those of this message.")] = None


class Event(Struct, frozen=True):
    """One event of the stream. `data` is JSON: a message, or numbers by status."""

    event: Literal["message", "queue", "closing"]
    data: str


class Events:
    """Streams to whoever listens. A reader that is slow loses the oldest news, not the newest."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route(
                "/v1/events",
                http_method=[HttpMethod.GET],
                operation_id="followEvents",
                summary="Follow what happens",
                tags=["messages"],
                opt={"operation": EVENTS},
            )(self.follow)
        ]

    async def follow(self, request: AnyRequest) -> "Stream":
        """
        `event: message` with the message as it is now, whenever that changes; `event: queue` with
        the number of messages by status; `event: closing` when the service stops.
        """
        return Stream(self._service, read_query(request, EventQuery).message)


class Stream:
    """One reader's stream, until it leaves or the service stops."""

    def __init__(self, service: Notifier, only: str | None) -> None:
        self._service = service
        self._only = only

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
            await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        figures: dict[str, int] | None = None
        with self._service.feed.subscribe(self._only) as news:
            while True:
                now = {str(k): n for k, n in self._service.health().counts.items()}
                if self._only is None and now != figures:
                    figures = now
                    await _write(send, _event(b"queue", encode(figures)))
                else:
                    await _write(send, KEEP_ALIVE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FIGURES_SECONDS):
                        while (delivery := await news.next()) is not None:
                            await _write(send, _told(delivery))
                        return await _write(send, _event(b"closing", b"{}"), last=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, data: bytes, *, last: bool = False) -> None:
    body: HTTPResponseBodyEvent = {
        "type": "http.response.body",
        "body": data,
        "more_body": not last,
    }
    await send(body)


def _told(delivery: Delivery) -> bytes:
    return _event(b"message", render(delivery))


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, data)


EVENTS = Operation(
    query=EventQuery,
    answers={
        200: Outcome(
            "A stream that goes on until one side ends it.",
            Event,
            Event("queue", '{"sent": 17}'),
            media_type="text/event-stream",
        )
    },
    problems=(422,),
)
