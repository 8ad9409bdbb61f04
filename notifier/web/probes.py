"""What operators and their machines ask: is it alive, is it ready, how does it fare?"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from litestar import route
from litestar.handlers import HTTPRouteHandler
from msgspec import UNSET, Struct, UnsetType

from notifier import __version__
from notifier.deliveries import Status
from notifier.service import Health, Notifier
from notifier.web.auth import Door
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET, Operation, Outcome
from notifier.web.responses import NO_STORE, Answer, encode


class Alive(Struct, frozen=True):
    """The process answers."""

    status: str = "alive"


class Readiness(Struct, frozen=True):
    """Whether messages are accepted. Who may read is told how each relay is, and what to mend."""

    status: str  # `ready` or `not ready`
    reasons: tuple[str, ...]
    relays: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


class Summary(Struct, frozen=True):
    """How the service fares. Strangers are told the status and its reasons alone."""

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


# What of a reason a stranger may see: words before the first colon, without a host or a path.
_PLAIN = re.compile(r"[A-Za-z_' ]{1,80}")


class Probes:
    """/livez, /readyz and /health."""

    def __init__(self, service: Notifier, door: Door) -> None:
        self._service = service
        self._door = door

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            _probe("/livez", "isAlive", "Is it alive?", LIVE)(self.live),
            _probe("/readyz", "isReady", "Is it ready?", READY)(self.ready),
            _probe("/health", "getHealth", "How does it fare?", HEALTH)(self.health),
        ]

    async def live(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        """As long as the loop turns. A relay that is down is no reason to start it anew."""
        return Answer(encode(Alive()), headers=[NO_STORE])

    async def ready(self, request: AnyRequest) -> Answer:
        """
        Messages are accepted: the journal can be written, and the service is not stopping.
        A relay that is down is told, but is no reason to send messages elsewhere: they wait.
        """
        health = self._service.health()
        body = Readiness(_word(health), _plain(health.reasons))
        if await self._door.trusts(request):
            body = Readiness(_word(health), health.reasons, _relays(health), health.warnings)
        return Answer(encode(body), status=_status(health), headers=[NO_STORE])

    async def health(self, request: AnyRequest) -> Answer:
        """The same, and the backlog, for people to read."""
        health = self._service.health()
        body = Summary(_word(health), _plain(health.reasons))
        if await self._door.trusts(request):
            body = Summary(
                status=_word(health),
                reasons=health.reasons,
                warnings=health.warnings,
                version=__version__,
                paused=health.paused,
                waiting=sum(n for status, n in health.counts.items() if status.waiting),
                counts=health.counts,
                oldest_due_at=health.oldest_due_at,
                relays=_relays(health),
                sent_today=self._service.history.sent_today(),
            )
        text = msgspec.json.format(encode(body), indent=2)
        return Answer(text, status=_status(health), headers=[NO_STORE])


def _plain(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """For strangers: what is wrong, but not where."""
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
