"""SMTP relays and the SMS provider, as callers see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct, convert

from notifier.deliveries import Delivery, Route
from notifier.relayspec import Pipelining, Tls
from notifier.service import Notifier
from notifier.smtp import RelayState, State

if TYPE_CHECKING:  # the HTTP client loads slowly, and few need it
    from notifier.sms.provider import ProviderState

Kind = Literal["smtp", "graph", "provider"]


class TroubleResource(Struct, frozen=True):
    """The last failure. `name`: the name of the fault, if it has one."""

    name: str
    text: str
    at: datetime | None


class TokenResource(Struct, frozen=True):
    """The token that a relay is logged in to with. The token itself is never shown."""

    source: Annotated[str, Meta(description="Who issues it.")]
    good_until: Annotated[datetime | None, Meta(description="`null`: there is none.")]
    trouble: Annotated[
        str, Meta(description="Why there is no newer token; empty: the token is in order.")
    ]
    failing_since: Annotated[datetime | None, Meta(description="Since when there is trouble.")]


class RelayResource(Struct, frozen=True, kw_only=True):
    """The state of a relay or a provider."""

    name: str
    kind: Kind
    host: str | None
    port: int | None
    tls: Tls | None
    state: Annotated[
        State,
        Meta(
            description="`closed`: the relay is used. `open`: it rests after failures. "
            "`probing`: a test attempt is under way."
        ),
    ]
    busy: Annotated[int, Meta(description="Connections (of a provider: requests) in use.")]
    limit: Annotated[
        int, Meta(description="How many messages the relay may get at the same time now.")
    ]
    trouble: TroubleResource | None
    opens_at: Annotated[datetime | None, Meta(description="When the relay is tried again.")]
    sent: int
    failed: int
    pipelining: Annotated[
        Pipelining | None,
        Meta(
            description="The pipelining that is used now, where the relay offers it; `null`: the "
            "relay does not speak SMTP."
        ),
    ] = None
    pipelining_trouble: Annotated[
        str, Meta(description="Why it is less than `pipelining=` asks for; empty: it is not less.")
    ] = ""
    pace: Annotated[
        float | None,
        Meta(
            description="Messages a second that the relay has shown to accept; `null`: it has set "
            "no limit."
        ),
    ] = None
    held_until: Annotated[
        datetime | None,
        Meta(description="The relay wanted fewer messages. It gets the next one at this time."),
    ] = None
    throttled: Annotated[
        int, Meta(description="Messages that it refused because they came too fast.")
    ] = 0
    token: Annotated[
        TokenResource | None,
        Meta(description="The OAuth 2 token; `null`: the relay has no `oauth=`."),
    ] = None
    conditions: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="What a message must fulfil to go to the relay: one value of each of "
            "`senders`, `recipients`, `keys` and `priorities` that is given."
        ),
    ] = {}


def relays_of(service: Notifier) -> tuple[RelayResource, ...]:
    """All relays in the order in which they are asked, then the provider."""
    return (
        *map(_relay, service.health().relays),
        *map(_provider, service.providers()),
    )


def relays_for(service: Notifier, delivery: Delivery) -> Sequence[RelayResource]:
    """The relays that can take the message; none for a route without relays."""
    if delivery.route is Route.SIMULATOR:
        return ()
    texts = delivery.route is Route.PROVIDER
    names = service.chains.relays_of(delivery)
    return [
        each
        for each in relays_of(service)
        if (each.kind == "provider") is texts and (names is None or each.name in names)
    ]


def _relay(state: RelayState) -> RelayResource:
    return RelayResource(
        name=state.name,
        kind="graph" if state.graph else "smtp",
        host=state.host,
        port=state.port,
        tls=state.tls,
        state=state.state,
        busy=state.busy,
        limit=state.limit,
        trouble=convert(state.trouble, TroubleResource | None, from_attributes=True),
        opens_at=state.opens_at,
        sent=state.sent,
        failed=state.failed,
        pipelining=None if state.graph else state.pipelining,
        pipelining_trouble=state.pipelining_trouble,
        pace=state.pace,
        held_until=state.held_until,
        throttled=state.throttled,
        conditions=state.conditions,
        token=convert(state.token, TokenResource | None, from_attributes=True),
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
