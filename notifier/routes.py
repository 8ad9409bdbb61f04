"""The ways out: relays, gateways, the simulator, an SMS provider; and the built-in mailbox."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from notifier.capture import Capture, Mailbox, Simulator
from notifier.deliveries import Route
from notifier.dispatch import Transport
from notifier.relayspec import RelaySpec
from notifier.settings import CAPTURE, Settings
from notifier.sms import Parts
from notifier.smtp import Relay, Relays


class Routes(contextlib.AbstractAsyncContextManager["Routes"]):
    """One transport for each route, open between entering and leaving."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts = contextlib.AsyncExitStack()
        self.mailbox: Mailbox | None = None
        self.relays: Relays
        self.transports: Mapping[Route, Transport]

    @property
    def zero_configuration(self) -> bool:
        """Whether nothing leaves this machine."""
        return not self._settings.relays

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as parts:
            capture = Capture(Path(self._settings.data_dir) / "inbox")
            await parts.enter_async_context(capture)
            self.relays = self._relays_to(capture)
            parts.push_async_callback(self.relays.close)
            simulator = Simulator(capture.mailbox)
            await parts.enter_async_context(simulator)
            simulated = Relays([Relay(simulator.spec)])
            parts.push_async_callback(simulated.close)
            transports: dict[Route, Transport] = {
                Route.RELAY: self.relays,
                Route.GATEWAY: Parts(self.relays),
                Route.SIMULATOR: simulated,
            }
            self.transports = transports | self._provider(parts)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._parts.aclose()

    def _relays_to(self, capture: Capture) -> Relays:
        specs: tuple[RelaySpec, ...] = self._settings.relays or (CAPTURE,)
        self.mailbox = capture.mailbox
        return Relays([Relay(capture.spec if spec == CAPTURE else spec) for spec in specs])

    def _provider(self, parts: contextlib.AsyncExitStack) -> dict[Route, Transport]:
        settings = self._settings
        if settings.sms_provider is None:
            return {}
        # The HTTP client takes its time to load, and few need it.
        from notifier.sms.provider import Provider
        from notifier.sms.providerspec import read_provider

        spec = read_provider(
            settings.sms_provider,
            body=settings.sms_provider_body,
            headers=settings.sms_provider_headers,
            idempotency_header=settings.sms_provider_idempotency_header,
        )
        provider = Provider(spec)
        parts.push_async_callback(provider.close)
        return {Route.PROVIDER: provider}
