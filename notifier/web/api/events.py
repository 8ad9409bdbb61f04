"""Every change as it happens: server-sent events at /v1/events."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Literal

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.deliveries import Delivery, Status
from notifier.feed import Published
from notifier.service import Notifier
from notifier.web.api.message_json import render
from notifier.web.bodies import AnyRequest, encode
from notifier.web.parameters import checked_id, read_query
from notifier.web.routes import READ, DocumentedAnswer, Operation, stream
from notifier.web.sse import KEEP_ALIVE, Stream, event

DIGEST_SECONDS = 1.0  # seconds between two digests, at least

Id = Annotated[str, Meta(max_length=64)]


class EventQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects events."""

    message: Annotated[Id | None, Meta(description="Only the events of this message.")] = None
    digest: Annotated[
        bool,
        Meta(
            description="Send once a second the ids of the messages that have changed, instead of "
            "each message at each change. If too many have changed, only the latest ids. It is "
            "meant for pages, and cannot be combined with `message`."
        ),
    ] = False


class Event(Struct, frozen=True):
    """One event of the stream. `data` is JSON: a message, ids of messages, or numbers by status."""

    event: Literal["message", "changed", "queue", "closing"]
    data: str


class Events:
    """Streams to every reader. A slow reader loses the oldest changes, not the newest."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._figures = Figures(service)

    def routes(self) -> list[HTTPRouteHandler]:
        return [stream("/v1/events", self.follow, READ, EVENTS)]

    async def follow(self, request: AnyRequest) -> Stream:
        """
        `event: message` has the message as it is now, whenever it changes; with `digest`, `event:
        changed` has ids instead. `event: queue` has the number of messages by status. `event:
        closing` says that the service stops. With `message`, the stream begins with that message as
        it is.
        """
        query = read_query(request, EventQuery)
        return Stream(partial(self._write, query))

    async def _write(self, query: EventQuery, stream: Stream) -> None:
        if query.message is not None:
            await self._write_one(query.message, stream)
        elif query.digest:
            await self._write_all(stream, _ids, pause=DIGEST_SECONDS)
        else:
            await self._write_all(stream, _messages)
        await stream.write(event(b"closing", b"{}"), last=True)

    async def _write_all(
        self, stream: Stream, events: Callable[[Sequence[Published]], bytes], *, pause: float = 0.0
    ) -> None:
        figures = self._figures.event()
        await stream.write(figures)
        with self._service.follow() as follower:
            while not follower.over:
                data = events(await follower.next())
                if (latest := self._figures.event()) is not figures:
                    figures = latest
                    data += figures
                if data:
                    await stream.write(data)
                else:
                    await stream.keep_alive()
                if pause:
                    await asyncio.sleep(pause)

    async def _write_one(self, id: str, stream: Stream) -> None:
        """Raises MessageNotFound before the stream has begun."""
        with self._service.subscribe(id) as subscription:
            await stream.write(_message(await self._service.message(checked_id(id))))
            while True:
                try:
                    delivery = await asyncio.wait_for(subscription.next(), stream.quiet)
                except TimeoutError:
                    await stream.write(KEEP_ALIVE)
                    continue
                if delivery is None:
                    return
                await stream.write(_message(delivery))


class Figures:
    """The numbers of messages by status, rendered once for all clients."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._counts: Mapping[Status, int] | None = None
        self._event = b""

    def event(self) -> bytes:
        """The event; the same object as long as nothing has changed."""
        counts = self._service.counts
        if counts != self._counts:
            self._counts = counts
            self._event = event(b"queue", encode({str(k): n for k, n in counts.items()}))
        return self._event


def _messages(changes: Sequence[Published]) -> bytes:
    for each in changes:
        if not each.event:
            each.event = _message(each.delivery)
    return b"".join([each.event for each in changes])


def _ids(changes: Sequence[Published]) -> bytes:
    ids = list(dict.fromkeys(each.delivery.id for each in changes))
    return event(b"changed", encode(ids)) if ids else b""


def _message(delivery: Delivery) -> bytes:
    return event(b"message", render(delivery))


EVENTS = Operation(
    id="followEvents",
    summary="Stream every change",
    tag="messages",
    query=EventQuery,
    answers={
        200: DocumentedAnswer(
            "A stream of events. It ends when one side closes it.",
            Event,
            Event("queue", '{"sent": 17}'),
            media_type="text/event-stream",
        )
    },
    problems=(404, 422, 503),
)
