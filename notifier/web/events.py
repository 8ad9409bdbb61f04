"""What happens, as it happens: server-sent events at /v1/events."""

import asyncio
import contextlib
from typing import Annotated, Literal

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send
from msgspec import Meta, Struct

from notifier.deliveries import Delivery, Status
from notifier.feed import News
from notifier.service import Notifier
from notifier.web.answers import encode
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import Operation, Outcome
from notifier.web.parameters import read_query, render

QUIET_SECONDS = 5.0  # then a stream gets a comment, so that proxies keep it
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
        self._figures = Figures(service)

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
        return Stream(self._service, self._figures, read_query(request, EventQuery).message)


class Figures:
    """How many messages there are by status, written once for everybody."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._counts: dict[Status, int] | None = None
        self._words = b""

    def words(self) -> bytes:
        """The event; the same object as long as nothing has changed."""
        counts = self._service.upkeep.backlog.counts
        if counts != self._counts:
            self._counts = counts
            self._words = _event(b"queue", encode({str(k): n for k, n in counts.items()}))
        return self._words


class Stream:
    """One reader's stream, until it leaves or the service stops."""

    def __init__(self, service: Notifier, figures: Figures, only: str | None) -> None:
        self._service = service
        self._figures = figures
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
            told, _ = await asyncio.gather(telling, leaving, return_exceptions=True)
        if isinstance(told, Exception):
            raise told

    async def _tell(self, send: Send) -> None:
        if self._only is None:
            await self._tell_all(send)
        else:
            await self._tell_of(self._only, send)
        await _write(send, _event(b"closing", b"{}"), last=True)

    async def _tell_all(self, send: Send) -> None:
        told = self._figures.words()
        await _write(send, told)
        with self._service.feed.follow() as following:
            while not following.over:
                pieces = [_words(news) for news in await following.next()]
                figures = self._figures.words()
                if figures is not told:
                    told = figures
                    pieces.append(figures)
                await _write(send, b"".join(pieces) or KEEP_ALIVE)

    async def _tell_of(self, id: str, send: Send) -> None:
        with self._service.feed.subscribe(id) as news:
            while True:
                await _write(send, KEEP_ALIVE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(QUIET_SECONDS):
                        while (delivery := await news.next()) is not None:
                            await _write(send, _told(delivery))
                        return


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


def _words(news: News) -> bytes:
    if not news.words:
        news.words = _told(news.delivery)
    return news.words


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
