"""What operators see and do: /v1/stats, /v1/relays, /v1/queue."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.deliveries import Delivery, Route, Status
from notifier.housekeeping.history import KEPT_MINUTES, Minute
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.relays import RelayResource, relays_of
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest
from notifier.web.parameters import Nothing, read_query
from notifier.web.routes import MANAGE, READ, DocumentedAnswer, Operation, get, path_parameter, post

TAG = "operation"


class Worker(Struct, frozen=True):
    """The message that a worker sends now; null: it waits for one."""

    message: str | None
    route: Route | None
    recipients: int
    subject: str = ""


class Stats(Struct, frozen=True, kw_only=True):
    """All that a monitor shows at a glance. The backlog is at most two seconds old."""

    paused: bool
    waiting: int
    rate: float  # messages leaving the backlog, a second
    oldest_due_at: datetime | None
    bounced: Annotated[int, Meta(description="Recipients that bounced within the last hour.")]
    counts: Mapping[Status, int]
    workers: tuple[Worker, ...]
    reasons: Annotated[
        tuple[str, ...], Meta(description="The reasons why no messages are accepted now.")
    ]
    relays: tuple[RelayResource, ...]
    minutes: Annotated[list[Minute], Meta(description="The last minute and the running one.")]
    callbacks: Annotated[int, Meta(description="How many API keys have a callback.")]


class MinutesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How many minutes to show."""

    last: Annotated[int, Meta(ge=1, le=KEPT_MINUTES, description="The number of minutes.")] = 60


class Minutes(Struct, frozen=True):
    """Minute by minute, the oldest first. The last one is not over yet."""

    items: list[Minute]


class RelayList(Struct, frozen=True):
    """The relays, in the order in which they are asked, and the SMS provider."""

    items: tuple[RelayResource, ...]


class Queue(Struct, frozen=True):
    """Whether anything is sent."""

    paused: bool


class Operations:
    """Figures, and what an operator can pause and resume."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/v1/stats", self.stats, READ, STATS),
            get("/v1/stats/minutes", self.minutes, READ, MINUTES),
            get("/v1/relays", self.relays, READ, RELAYS),
            post(
                "/v1/relays/{name:str}/pause",
                self.pause_relay,
                MANAGE,
                PAUSE_RELAY,
                own_record=True,
            ),
            post(
                "/v1/relays/{name:str}/resume",
                self.resume_relay,
                MANAGE,
                RESUME_RELAY,
                own_record=True,
            ),
            post("/v1/queue/pause", self.pause, MANAGE, PAUSE, own_record=True),
            post("/v1/queue/resume", self.resume, MANAGE, RESUME, own_record=True),
        ]

    async def stats(self, request: AnyRequest) -> Stats:
        """The backlog, the workers, the relays, and the last two minutes, in one answer."""
        read_query(request, Nothing)
        health = self._service.health()
        return Stats(
            paused=health.paused,
            waiting=health.waiting,
            rate=health.rate,
            oldest_due_at=health.oldest_due_at,
            bounced=self._service.history.bounced(),
            counts=health.counts,
            workers=tuple(map(_worker, self._service.workers)),
            reasons=health.reasons,
            relays=relays_of(self._service),
            minutes=self._service.minutes(2),
            callbacks=len(self._service.callbacks.keys),
        )

    async def minutes(self, request: AnyRequest) -> Minutes:
        """Accepted, sent, failed and waiting messages, minute by minute; kept over restarts."""
        last = read_query(request, MinutesQuery).last
        return Minutes(self._service.minutes(last))

    async def relays(self, request: AnyRequest) -> RelayList:
        """Whether each relay is used, or rests, why and until when, and how much it has sent."""
        read_query(request, Nothing)
        return RelayList(relays_of(self._service))

    async def pause_relay(self, request: AnyRequest) -> RelayResource:
        """
        Nothing more is sent to the relay until it is resumed, also after a restart. Messages that
        are being sent are finished.
        """
        name = self._name(request)
        await self._service.pause(name, by=by_of(request))
        return self._named(name)

    async def resume_relay(self, request: AnyRequest) -> RelayResource:
        """Messages go to it again, unless it rests after failures."""
        name = self._name(request)
        await self._service.resume(name, by=by_of(request))
        return self._named(name)

    async def pause(self, request: AnyRequest) -> Queue:
        """
        Messages are accepted and kept, also over a restart. Messages that are being sent are
        finished.
        """
        await self._service.pause(by=by_of(request))
        return Queue(paused=True)

    async def resume(self, request: AnyRequest) -> Queue:
        """The messages that became due meanwhile go first."""
        await self._service.resume(by=by_of(request))
        return Queue(paused=False)

    def _name(self, request: AnyRequest) -> str:
        name: str = request.scope["path_params"]["name"]
        return self._named(name).name

    def _named(self, name: str) -> RelayResource:
        relays = relays_of(self._service)
        for relay in relays:
            if relay.name == name:
                return relay
        known = ", ".join(relay.name for relay in relays)
        raise NotFoundException(f"no relay has the name {name[:100]!r}; the relays are: {known}")


def _worker(delivery: Delivery | None) -> Worker:
    if delivery is None:
        return Worker(None, None, 0)
    recipients = len(delivery.pending.recipients)
    return Worker(delivery.id, delivery.route, recipients, delivery.subject)


RELAY_NAME = path_parameter("name", "The relay's name, as in `GET /v1/relays`.", example="capture")
STATS = Operation(
    id="getStats",
    summary="Show the figures",
    tag=TAG,
    answers={200: DocumentedAnswer("The present figures.", Stats, examples.STATS)},
    problems=(422,),
)
MINUTES = Operation(
    id="getMinutes",
    summary="Show the last day's figures",
    tag=TAG,
    query=MinutesQuery,
    answers={200: DocumentedAnswer("The minutes up to now.", Minutes, Minutes([examples.MINUTE]))},
    problems=(422,),
)
RELAYS = Operation(
    id="listRelays",
    summary="List the relays",
    tag=TAG,
    answers={
        200: DocumentedAnswer(
            "The relays in their present state.", RelayList, {"items": [examples.RELAY]}
        )
    },
    problems=(422,),
)


def _on_relay(id: str, summary: str) -> Operation:
    return Operation(
        id=id,
        summary=summary,
        tag=TAG,
        path=RELAY_NAME,
        answers={
            200: DocumentedAnswer("The relay in its present state.", RelayResource, examples.RELAY)
        },
        problems=(403, 404, 503),
    )


def _on_queue(id: str, summary: str) -> Operation:
    return Operation(
        id=id,
        summary=summary,
        tag=TAG,
        answers={
            200: DocumentedAnswer("The queue in its present state.", Queue, Queue(paused=True))
        },
        problems=(403, 503),
    )


PAUSE_RELAY = _on_relay("pauseRelay", "Stop sending to a relay")
RESUME_RELAY = _on_relay("resumeRelay", "Resume sending to a relay")
PAUSE = _on_queue("pauseQueue", "Stop sending")
RESUME = _on_queue("resumeQueue", "Send again")
