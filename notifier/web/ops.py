"""What operators and their machines ask: is it alive, is it ready, how does it fare?"""

from datetime import datetime
from typing import Any

import msgspec
from litestar import route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier import __version__
from notifier.service import Health, Notifier
from notifier.web.answers import NO_STORE, Answer, encode
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET, Operation, Outcome


class Alive(Struct, frozen=True):
    """The process answers."""

    status: str = "alive"


class Readiness(Struct, frozen=True):
    """Whether messages are accepted, and how each relay is."""

    status: str  # `ready` or `not ready`
    reasons: tuple[str, ...]
    relays: tuple[dict[str, Any], ...]


class Summary(Struct, frozen=True):
    """How the service fares."""

    status: str
    version: str
    reasons: tuple[str, ...]
    paused: bool
    waiting: int
    counts: dict[str, int]
    oldest_due_at: datetime | None
    relays: tuple[dict[str, Any], ...]
    sent_today: int = 0


class Probes:
    """/livez, /readyz and /health."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            _probe("/livez", "isAlive", "Is it alive?", LIVE)(self.live),
            _probe("/readyz", "isReady", "Is it ready?", READY)(self.ready),
            _probe("/health", "getHealth", "How does it fare?", HEALTH)(self.health),
        ]

    async def live(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        """As long as the loop turns. A relay that is down is no reason to start it anew."""
        return Answer(encode(Alive()), headers=[NO_STORE])

    async def ready(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        """
        Messages are accepted: the journal can be written, and the service is not stopping.
        A relay that is down is told, but is no reason to send messages elsewhere: they wait.
        """
        health = self._service.health()
        body = Readiness(_word(health), health.reasons, _relays(health))
        return Answer(encode(body), status=_status(health), headers=[NO_STORE])

    async def health(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        """The same, and the backlog, for people to read."""
        health = self._service.health()
        body = Summary(
            status=_word(health),
            version=__version__,
            reasons=health.reasons,
            paused=health.paused,
            waiting=sum(n for status, n in health.counts.items() if status.waiting),
            counts={status.value: count for status, count in health.counts.items()},
            oldest_due_at=health.oldest_due_at,
            relays=_relays(health),
            sent_today=self._service.history.sent_today(),
        )
        text = msgspec.json.format(encode(body), indent=2)
        return Answer(text, status=_status(health), headers=[NO_STORE])


def _word(health: Health) -> str:
    return "ready" if health.ready else "not ready"


def _status(health: Health) -> int:
    return 200 if health.ready else 503


def _relays(health: Health) -> tuple[dict[str, Any], ...]:
    return tuple(msgspec.to_builtins(state) for state in health.relays)


_LINE = {"name": "smtp.example.org:587", "state": "open"}
_READY = Readiness("ready", (), (_LINE,))
_SUMMARY = Summary("ready", __version__, (), False, 0, {"sent": 17}, None, (_LINE,))
_NOT_READY = Readiness("not ready", ("draining",), (_LINE,))

LIVE = Operation(answers={200: Outcome("It is.", Alive, Alive())})
READY = Operation(
    answers={
        200: Outcome("It is.", Readiness, _READY),
        503: Outcome("It is not; `reasons` says why.", Readiness, _NOT_READY),
    }
)
HEALTH = Operation(
    answers={
        200: Outcome("It is ready.", Summary, _SUMMARY),
        503: Outcome("It is not ready; `reasons` says why.", Summary),
    }
)


def _probe(path: str, id: str, summary: str, operation: Operation) -> Any:
    return route(
        path,
        http_method=GET,
        operation_id=id,
        summary=summary,
        tags=["probes"],
        opt={"operation": operation},
    )
