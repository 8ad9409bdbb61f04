"""Whoever takes messages from us, as callers see them: SMTP relays, and an SMS provider."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from notifier.deliveries import Route
from notifier.dispatch.transports import Transports
from notifier.relayspec import Tls
from notifier.smtp import RelayState, State

if TYPE_CHECKING:  # the HTTP client takes its time to load, and few need it
    from notifier.sms.provider import ProviderState

Kind = Literal["smtp", "provider"]


class TroubleResource(Struct, frozen=True):
    """What it failed with last. `name`: of the fault, where it has one."""

    name: str
    text: str
    at: datetime | None


class RelayResource(Struct, frozen=True, kw_only=True):
    """How a relay or a provider fares."""

    name: str
    kind: Kind
    host: str | None
    port: int | None
    tls: Tls | None
    state: Annotated[State, Meta(description="`closed`: it works. `open`: it rests.")]
    busy: Annotated[int, Meta(description="Connections, or requests, in use.")]
    limit: Annotated[int, Meta(description="Messages that it may get at a time, just now.")]
    trouble: TroubleResource | None
    opens_at: Annotated[datetime | None, Meta(description="When it has rested.")]
    sent: int
    failed: int


def relays_of(transports: Transports) -> tuple[RelayResource, ...]:
    """All, in the order in which they are asked."""
    providers = transports.provider.states() if transports.provider else []
    return (*map(_relay, transports.relays.states()), *map(_provider, providers))


def relays_for(transports: Transports, route: Route) -> Sequence[RelayResource]:
    """Those that a message of this route can go to. None: nothing can be in its way."""
    if route is Route.SIMULATOR:
        return ()
    kind: Kind = "provider" if route is Route.PROVIDER else "smtp"
    return [each for each in relays_of(transports) if each.kind == kind]


def _relay(state: RelayState) -> RelayResource:
    trouble = state.trouble
    return RelayResource(
        name=state.name,
        kind="smtp",
        host=state.host,
        port=state.port,
        tls=state.tls,
        state=state.state,
        busy=state.busy,
        limit=state.limit,
        trouble=TroubleResource(trouble.name, trouble.text, trouble.at) if trouble else None,
        opens_at=state.opens_at,
        sent=state.sent,
        failed=state.failed,
    )


def _provider(state: "ProviderState") -> RelayResource:
    return RelayResource(
        name=state.name,
        kind="provider",
        host=None,
        port=None,
        tls=None,
        state=state.state,
        busy=state.busy,
        limit=state.limit,
        trouble=TroubleResource("", state.reason, None) if state.reason else None,
        opens_at=state.opens_at,
        sent=state.sent,
        failed=state.failed,
    )
