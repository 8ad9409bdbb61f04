"""What happens, as it happens: server-sent events at /v1/events."""

import asyncio
from functools import partial
from typing import Annotated, Literal

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.deliveries import Delivery, Status
from notifier.feed import News
from notifier.service import Notifier
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import Operation, Outcome
from notifier.web.parameters import checked_id, read_query, render
from notifier.web.responses import encode
from notifier.web.sse import KeepAlive, Stream, event

DIGEST_SECONDS = 1.0  # between two digests, at least


Id = Annotated[str, Meta(max_length=64)]


class EventQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events."""

    message: Annotated[Id | None, Meta(description="Only those of this message.")] = None
    digest: Annotated[
        bool,
        Meta(
            description="Of all: once a second the ids of what has changed, the latest alone where "
            "much has, instead of every message each time. For those who show it to people."
        ),
    ] = False


class Event(Struct, frozen=True):
    """One event of the stream. `data` is JSON: a message, ids of messages, or numbers by status."""

    event: Literal["message", "changed", "queue", "closing"]
    data: str


class Events:
    """Streams to whoever listens. A reader that is slow loses the oldest news, not the newest."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._figures = Figures(service)
        self._keep_alive = KeepAlive()

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

    async def follow(self, request: AnyRequest) -> Stream:
        """
        `event: message` with the message as it is now, whenever that changes, or with `digest`
        `event: changed` with ids; `event: queue` with the number of messages by status;
        `event: closing` when the service stops. Of one message: first as it is already.
        """
        query = read_query(request, EventQuery)
        return Stream(partial(self._tell, query), self._keep_alive)

    async def _tell(self, query: EventQuery, stream: Stream) -> None:
        if query.message is not None:
            await self._tell_of(query.message, stream)
        elif query.digest:
            await self._tell_ids(stream)
        else:
            await self._tell_all(stream)
        await stream.write(event(b"closing", b"{}"), last=True)

    async def _tell_all(self, stream: Stream) -> None:
        told = self._figures.words()
        await stream.write(told)
        with self._service.feed.follow() as following:
            while not following.over:
                pieces = [_words(news) for news in await following.next()]
                figures = self._figures.words()
                if figures is not told:
                    told = figures
                    pieces.append(figures)
                if pieces:
                    await stream.write(b"".join(pieces))

    async def _tell_ids(self, stream: Stream) -> None:
        told = self._figures.words()
        await stream.write(told)
        with self._service.feed.follow() as following:
            while not following.over:
                ids = dict.fromkeys(news.delivery.id for news in await following.next())
                pieces = [event(b"changed", encode(list(ids)))] if ids else []
                figures = self._figures.words()
                if figures is not told:
                    told = figures
                    pieces.append(figures)
                if pieces:
                    await stream.write(b"".join(pieces))
                await asyncio.sleep(DIGEST_SECONDS)

    async def _tell_of(self, id: str, stream: Stream) -> None:
        """Raises MessageNotFound, before the stream has begun."""
        with self._service.feed.subscribe(id) as news:
            await stream.write(_told(await self._service.journal.get(checked_id(id))))
            while (delivery := await news.next()) is not None:
                await stream.write(_told(delivery))


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
            self._words = event(b"queue", encode({str(k): n for k, n in counts.items()}))
        return self._words


def _words(news: News) -> bytes:
    if not news.words:
        news.words = _told(news.delivery)
    return news.words


def _told(delivery: Delivery) -> bytes:
    return event(b"message", render(delivery))


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
    problems=(404, 422, 503),
)
