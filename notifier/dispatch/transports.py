"""The transports: relays, gateways, the simulator, an SMS provider; and the built-in mailbox."""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from notifier.attempts import Attempt, Envelope, Transport
from notifier.capture import Capture, Mailbox, Simulator
from notifier.chains import CHAINED, Chains
from notifier.deliveries import Route
from notifier.oauth import Section
from notifier.oauth.refreshing import Refreshed
from notifier.relayspec import RelaySpec
from notifier.settings import CAPTURE, Settings
from notifier.sms import Parts
from notifier.smtp import Relay, Relays
from notifier.supervisor import Supervisor
from notifier.verp import Verp

if TYPE_CHECKING:  # the HTTP client loads slowly, and few need it
    from notifier.sms.provider import Provider, ProviderSpec


class NullTransport:
    """The transport of a queue without a chain of relays: its deliveries go by other chains."""

    paced = False

    def room(self) -> int:
        return 1000

    async def wait_for_room(self) -> None:
        return

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        raise NotImplementedError("a delivery of this queue goes by other chains")

    def abort_all(self) -> None:
        return


class Transports(contextlib.AbstractAsyncContextManager["Transports"]):
    """The transport of each queue, open between entering and leaving."""

    def __init__(
        self,
        settings: Settings,
        *,
        provider: "ProviderSpec | None",
        grants: Mapping[str, Section],
        supervisor: Supervisor,
        secret: Callable[[], Awaitable[bytes]],
    ) -> None:
        """`secret`: that of the tokens in return paths, once the journal is open."""
        self._secret = secret
        self._settings = settings
        self._provider_spec = provider
        self._grants = grants
        self._supervisor = supervisor
        self._parts = contextlib.AsyncExitStack()
        self.chains = Chains(settings.relays or (CAPTURE,))
        self.mailbox: Mailbox
        self.relays: Relays
        self.provider: Provider | None = None
        self.by_queue: Mapping[str, Transport]

    @property
    def zero_configuration(self) -> bool:
        """Whether no mail leaves this machine."""
        return not self._settings.relays

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as parts:
            capture = Capture(Path(self._settings.data_dir) / "inbox")
            await parts.enter_async_context(capture)
            verp = Verp(await self._secret())
            self.relays = self._relays_to(capture, await self._tokens(parts), verp)
            parts.push_async_callback(self.relays.close)
            simulator = Simulator(capture.mailbox)
            await parts.enter_async_context(simulator)
            simulated = Relays([Relay(simulator.spec)])
            parts.push_async_callback(simulated.close)
            transports: dict[str, Transport] = {
                Route.RELAY: self.relays,
                Route.GATEWAY: Parts(self.relays),
                Route.SIMULATOR: Parts(simulated),
            }
            if self.chains.conditional:
                transports |= {route: self.of(route) for route in CHAINED}
            self.by_queue = transports | self._provided(parts)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._parts.aclose()

    def of(self, queue: str) -> Transport:
        """The transport of a queue of a route that leads to relays."""
        route, _, name = queue.partition(":")
        chain = self.chains.named(name)
        if chain is None:
            return NullTransport()
        relays = self.relays.some(chain.relays) if self.chains.conditional else self.relays
        return Parts(relays) if route == Route.GATEWAY else relays

    def trouble(self, route: Route, relays: Collection[str] | None = None) -> str:
        """
        Why nothing leaves by this route now, by these of its relays (None: by any); empty: messages
        leave, as far as is known.
        """
        if route is Route.SIMULATOR:
            return ""
        if route not in self.by_queue:
            return "the service no longer has an SMS provider; set NOTIFIER_SMS_PROVIDER"
        states: list[tuple[str, str, str]]
        if route is Route.PROVIDER and self.provider is not None:
            states = [(each.name, each.state, each.reason) for each in self.provider.states()]
        else:
            found = self.relays.states()
            states = [
                (
                    it.name,
                    "asked more slowly" if it.state == "closed" and it.slower else it.state,
                    it.trouble.text if it.trouble else "",
                )
                for it in found
                if relays is None or it.name in relays
            ]
        if any(state == "closed" for _, state, _ in states):
            return ""
        return "; ".join(
            f"{name} is {state}: {reason}" if reason else f"{name} is {state}"
            for name, state, reason in states
        )

    def named(self, name: str) -> "Relays | Provider":
        """The transport that can pause the relay of this name; the relays if there is none."""
        return self.provider if self.provider and self.provider.name == name else self.relays

    async def _tokens(self, parts: contextlib.AsyncExitStack) -> Mapping[str, Refreshed]:
        """The tokens of the relays, by name. Relays with equal grants share a token."""
        found: dict[Section, Refreshed] = {}
        for grant in self._grants.values():
            if grant not in found:
                refreshed = Refreshed(grant, supervisor=self._supervisor)
                found[grant] = await parts.enter_async_context(refreshed)
        return {name: found[grant] for name, grant in self._grants.items()}

    def _relays_to(self, capture: Capture, tokens: Mapping[str, Refreshed], verp: Verp) -> Relays:
        specs: tuple[RelaySpec, ...] = self._settings.relays or (CAPTURE,)
        self.mailbox = capture.mailbox
        return Relays(
            [
                _relay(capture.spec if spec == CAPTURE else spec, tokens.get(spec.name), verp)
                for spec in specs
            ]
        )

    def _provided(self, parts: contextlib.AsyncExitStack) -> dict[str, Transport]:
        if self._provider_spec is None:
            return {}
        from notifier.sms.provider import Provider

        self.provider = Provider(self._provider_spec)
        parts.push_async_callback(self.provider.close)
        return {Route.PROVIDER: self.provider}


def _relay(spec: RelaySpec, tokens: Refreshed | None, verp: Verp) -> Relay:
    if spec.graph is None or tokens is None:
        return Relay(spec, tokens=tokens, verp=verp)
    from notifier.graph.carrier import Graph

    return Relay(spec, tokens=tokens, carrier=Graph(spec, tokens))
