"""The channels of alerts: an HTTP POST, and mail that does not go through the queue."""

import os
from datetime import datetime
from typing import Protocol
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec
from msgspec import Struct

from notifier.clock import Clock
from notifier.compose import compose
from notifier.messages import Email
from notifier.proxies import Proxy, proxy_for
from notifier.settings import Settings
from notifier.smtp import Relays
from notifier.threads import in_daemon_thread


class Alert(Struct, frozen=True):
    """The JSON of an alert. `text` is one whole sentence, as chat services show it."""

    alert: str  # its name: relay_down, storm ...
    state: str  # raised, over
    subject: str
    since: datetime
    at: datetime
    host: str
    text: str


class Channel(Protocol):
    """One way to reach a person. The ledger keeps its entries under `name`."""

    name: str

    async def tell(self, alert: Alert) -> None:
        """Deliver an alert. Raises any error that prevents it."""
        ...


def channels_of(settings: Settings, relays: Relays, *, clock: Clock) -> list[Channel]:
    """The configured channels."""
    channels: list[Channel] = []
    if settings.alert_url:
        channels.append(ByPost(settings.alert_url, settings.proxy))
    if settings.alert_to:
        sender = settings.default_from or settings.alert_to
        channels.append(ByMail(settings.alert_to, sender, relays, clock))
    return channels


class ByPost:
    """POSTs alerts to a URL as JSON."""

    name = "url"

    def __init__(self, url: str, proxy: Proxy | None) -> None:
        self._url = url
        self._proxy = proxy_for(url, proxy)

    async def tell(self, alert: Alert) -> None:
        request = Request(  # noqa: S310 - http, the settings have seen to it
            self._url, msgspec.json.encode(alert), {"Content-Type": "application/json"}
        )
        await in_daemon_thread("alert", lambda: _request(request, self._proxy))


class ByMail:
    """Mails alerts to an address through a relay that works, without the queue."""

    name = "mail"

    def __init__(self, to: str, sender: str, relays: Relays, clock: Clock) -> None:
        self._to = to
        self._sender = sender
        self._relays = relays
        self._clock = clock

    async def tell(self, alert: Alert) -> None:
        email = Email(
            to=(self._to,),
            subject=f"notifier: {alert.alert} {alert.state}: {alert.subject}",
            text=f"{alert.text}\n\nSince {alert.since:%Y-%m-%d %H:%M:%S} UTC",
        )
        id = os.urandom(12).hex()
        made = compose(email, id=id, sender=self._sender, at=self._clock())
        attempt = await self._relays.send(made.envelope, made.content)
        if not attempt.accepted and not attempt.uncertain:
            raise ConnectionError(attempt.reply)


def _request(request: Request, proxy: Proxy | None) -> None:
    """
    POST the body. Raises OSError if the server does not accept it. Not by the client of
    `http_client`, whose look-ups of names hold up the end of the process while DNS is down.
    """
    ways = () if proxy is None else (ProxyHandler({"http": proxy.url, "https": proxy.url}),)
    try:
        build_opener(*ways).open(request, timeout=10.0).close()
    except HTTPError as error:
        with error:  # it holds the connection
            raise ConnectionError(f"{error.code} {error.reason}") from None
