"""The probes: whether the process is alive, whether it is ready, and how the service is."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from msgspec import UNSET, Struct, UnsetType

from notifier import __version__
from notifier.deliveries import WAITING, Status
from notifier.service import Health, Notifier
from notifier.web.auth import Authentication
from notifier.web.bodies import AnyRequest, encode
from notifier.web.routes import JSON, OPEN, DocumentedAnswer, Operation, get


class Alive(Struct, frozen=True):
    """The process is alive."""

    status: str = "alive"


class Readiness(Struct, frozen=True):
    """Whether messages are accepted. With `read` also the state of each relay, and warnings."""

    status: str  # `ready` or `not ready`
    reasons: tuple[str, ...]
    relays: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


class Summary(Struct, frozen=True):
    """The state of the service. Without `read` only the status and its reasons."""

    status: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] | UnsetType = UNSET
    version: str | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    waiting: int | UnsetType = UNSET
    counts: Mapping[Status, int] | UnsetType = UNSET
    oldest_due_at: datetime | UnsetType | None = UNSET
    relays: tuple[dict[str, Any], ...] | UnsetType = UNSET
    sent_today: int | UnsetType = UNSET


# The public part of a reason: the words before the first colon, without host and path.
_PLAIN = re.compile(r"[A-Za-z_' ]{1,80}")


TAG = "probes"


class Probes:
    """/livez, /readyz and /health."""

    def __init__(self, service: Notifier, authentication: Authentication) -> None:
        self._service = service
        self._authentication = authentication

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/livez", self.live, OPEN, LIVE),
            get("/readyz", self.ready, OPEN, READY),
            get("/health", self.health, OPEN, HEALTH),
        ]

    async def live(self) -> Alive:
        """As long as the event loop runs. A relay that is down is no reason for a restart."""
        return Alive()

    async def ready(self, request: AnyRequest) -> Response[Readiness]:
        """
        Messages are accepted: the journal can be written, and the service is not stopping. A relay
        that is down is shown, but the service stays ready, because messages wait for the relay.
        """
        health = self._service.health()
        body = Readiness(_word(health), _plain(health.reasons))
        if await self._trusts(request):
            body = Readiness(_word(health), health.reasons, _relays(health), health.warnings)
        return Response(body, status_code=_status(health))

    async def health(self, request: AnyRequest) -> Response[bytes]:
        """The same as `/readyz`, and the backlog, for people to read."""
        health = self._service.health()
        body = Summary(_word(health), _plain(health.reasons))
        if await self._trusts(request):
            body = Summary(
                status=_word(health),
                reasons=health.reasons,
                warnings=health.warnings,
                version=__version__,
                paused=health.paused,
                waiting=sum(n for status, n in health.counts.items() if status in WAITING),
                counts=health.counts,
                oldest_due_at=health.oldest_due_at,
                relays=_relays(health),
                sent_today=self._service.sent_today(),
            )
        text = msgspec.json.format(encode(body), indent=2)
        return Response(text, status_code=_status(health), media_type=JSON)

    async def _trusts(self, request: AnyRequest) -> bool:
        """Whether the caller may see details."""
        return (await self._authentication.visitor(request)).reads


def _plain(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """What is wrong, without hosts and paths, for callers without a key."""
    heads = [reason.partition(":")[0] for reason in reasons]
    return tuple(head if _PLAIN.fullmatch(head) else "unavailable" for head in heads)


def _word(health: Health) -> str:
    return "ready" if health.ready else "not ready"


def _status(health: Health) -> int:
    return 200 if health.ready else 503


def _relays(health: Health) -> tuple[dict[str, Any], ...]:
    return tuple(msgspec.to_builtins(state) for state in health.relays)


_LINE = {"name": "smtp.example.org:587", "state": "open"}
_READY = Readiness("ready", (), (_LINE,))
_SUMMARY = Summary("ready", (), (), __version__, False, 0, {Status.SENT: 17}, None, (_LINE,), 17)
_NOT_READY = Readiness("not ready", ("draining",), (_LINE,))

LIVE = Operation(
    id="isAlive",
    summary="Tell whether the process is alive",
    tag=TAG,
    answers={200: DocumentedAnswer("The process is alive.", Alive, Alive())},
)
READY = Operation(
    id="isReady",
    summary="Tell whether messages are accepted",
    tag=TAG,
    answers={
        200: DocumentedAnswer("Messages are accepted.", Readiness, _READY),
        503: DocumentedAnswer(
            "Messages are not accepted; `reasons` says why.", Readiness, _NOT_READY
        ),
    },
)
HEALTH = Operation(
    id="getHealth",
    summary="Show the state of the service",
    tag=TAG,
    answers={
        200: DocumentedAnswer("The service is ready.", Summary, _SUMMARY),
        503: DocumentedAnswer("The service is not ready; `reasons` says why.", Summary),
    },
)
