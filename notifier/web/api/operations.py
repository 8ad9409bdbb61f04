"""The operator's figures and levers: /v1/stats, /v1/relays, /v1/queue."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from litestar import post, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.deliveries import Delivery, Route, Status
from notifier.housekeeping.history import KEPT_MINUTES
from notifier.journal import Minute
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.relays import RelayResource, relays_of
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET, Operation, Outcome
from notifier.web.parameters import Nothing, read_query
from notifier.web.responses import NO_STORE, Answer, encode

TAGS = ["operation"]


class Worker(Struct, frozen=True):
    """What one worker is doing. No message: it waits for one."""

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
    counts: Mapping[Status, int]
    workers: tuple[Worker, ...]
    reasons: Annotated[tuple[str, ...], Meta(description="Why messages are not accepted now.")]
    relays: tuple[RelayResource, ...]
    minutes: Annotated[list[Minute], Meta(description="The last minute and the running one.")]


class MinutesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How far back."""

    last: Annotated[int, Meta(ge=1, le=KEPT_MINUTES, description="So many minutes.")] = 60


class Minutes(Struct, frozen=True):
    """Minute by minute, the oldest first. The last one is not over yet."""

    items: list[Minute]


class RelayList(Struct, frozen=True):
    """The relays, in the order in which they are asked, and the SMS provider."""

    items: tuple[RelayResource, ...]


class Queue(Struct, frozen=True):
    """Whether anything is sent."""

    paused: bool


class Levers:
    """Figures, and what an operator can stop and start again."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            _look("/v1/stats", "getStats", "See the figures", STATS)(self.stats),
            _look("/v1/stats/minutes", "getMinutes", "See the last day's figures", MINUTES)(
                self.minutes
            ),
            _look("/v1/relays", "listRelays", "List the relays", RELAYS)(self.relays),
            _pull("/v1/relays/{name:str}/pause", "pauseRelay", "Send nothing to a relay", RELAY)(
                self.pause_relay
            ),
            _pull("/v1/relays/{name:str}/resume", "resumeRelay", "Use a relay again", RELAY)(
                self.resume_relay
            ),
            _pull("/v1/queue/pause", "pauseQueue", "Send nothing", QUEUE)(self.pause),
            _pull("/v1/queue/resume", "resumeQueue", "Go on sending", QUEUE)(self.resume),
        ]

    async def stats(self, request: AnyRequest) -> Answer:
        """The backlog, the workers, the relays, and the last two minutes, in one answer."""
        read_query(request, Nothing)
        health = self._service.health()
        body = Stats(
            paused=health.paused,
            waiting=self._service.upkeep.waiting,
            rate=self._service.upkeep.rate,
            oldest_due_at=health.oldest_due_at,
            counts=health.counts,
            workers=tuple(map(_worker, self._service.dispatcher.doing)),
            reasons=health.reasons,
            relays=relays_of(self._service.transports),
            minutes=self._service.history.last(2),
        )
        return _answer(body)

    async def minutes(self, request: AnyRequest) -> Answer:
        """How many were accepted, sent and given up, and how many waited; also before a restart."""
        last = read_query(request, MinutesQuery).last
        return _answer(Minutes(self._service.history.last(last)))

    async def relays(self, request: AnyRequest) -> Answer:
        """How each is: whether it rests, why and until when, and what it has done so far."""
        read_query(request, Nothing)
        return _answer(RelayList(relays_of(self._service.transports)))

    async def pause_relay(self, request: AnyRequest) -> Answer:
        """Until it is resumed, also after a restart. What is under way goes on."""
        name = self._name(request)
        await self._service.pause(name, by=by_of(request))
        return _answer(self._named(name))

    async def resume_relay(self, request: AnyRequest) -> Answer:
        """Messages go to it again, as far as it is fit."""
        name = self._name(request)
        await self._service.resume(name, by=by_of(request))
        return _answer(self._named(name))

    async def pause(self, request: AnyRequest) -> Answer:
        """Messages are accepted and kept, also after a restart. What is under way goes on."""
        await self._service.pause(by=by_of(request))
        return self._queue()

    async def resume(self, request: AnyRequest) -> Answer:
        """What has become due meanwhile goes first."""
        await self._service.resume(by=by_of(request))
        return self._queue()

    def _queue(self) -> Answer:
        return _answer(Queue(self._service.dispatcher.paused))

    def _name(self, request: AnyRequest) -> str:
        name: str = request.scope["path_params"]["name"]
        return self._named(name).name

    def _named(self, name: str) -> RelayResource:
        relays = relays_of(self._service.transports)
        for relay in relays:
            if relay.name == name:
                return relay
        known = ", ".join(relay.name for relay in relays)
        raise NotFoundException(f"no relay has the name {name[:100]!r}; known: {known}")


def _worker(delivery: Delivery | None) -> Worker:
    if delivery is None:
        return Worker(None, None, 0)
    recipients = len(delivery.pending.recipients)
    return Worker(delivery.id, delivery.route, recipients, delivery.subject)


def _answer(body: Struct) -> Answer:
    return Answer(encode(body), headers=[NO_STORE])


RELAY_NAME: dict[str, Any] = {
    "name": {
        "description": "Its name, as `GET /v1/relays` has it.",
        "schema": {"type": "string"},
        "example": "capture",
    }
}
STATS = Operation(answers={200: Outcome("Now.", Stats, examples.STATS)}, problems=(422,))
MINUTES = Operation(
    query=MinutesQuery,
    answers={200: Outcome("Up to now.", Minutes, Minutes([examples.MINUTE]))},
    problems=(422,),
)
RELAYS = Operation(
    answers={200: Outcome("Now.", RelayList, {"items": [examples.RELAY]})}, problems=(422,)
)
RELAY = Operation(
    path=RELAY_NAME,
    answers={200: Outcome("The relay as it is now.", RelayResource, examples.RELAY)},
    problems=(403, 404, 503),
)
QUEUE = Operation(
    answers={200: Outcome("The queue as it is now.", Queue, Queue(paused=True))},
    problems=(403, 503),
)


def _look(path: str, id: str, summary: str, operation: Operation) -> Any:
    return route(
        path,
        http_method=GET,
        operation_id=id,
        summary=summary,
        tags=TAGS,
        opt={"operation": operation},
    )


def _pull(path: str, id: str, summary: str, operation: Operation) -> Any:
    return post(
        path,
        status_code=200,
        operation_id=id,
        summary=summary,
        tags=TAGS,
        opt={"operation": operation},
    )
