"""Tell a person of trouble by another road than the queue that may be stuck."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Self, TypeAlias
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import structlog
from msgspec import Struct

from notifier.compose import compose
from notifier.dispatch import Clock
from notifier.health import Health
from notifier.messages import Email
from notifier.settings import Settings
from notifier.smtp import Relays

LOOK_SECONDS = 5.0
TELL_SECONDS = 60.0  # for one alert on one road
LOW_DISK_BYTES = 256 * 1024 * 1024  # four times what the journal refuses messages at

log = structlog.get_logger()

Name: TypeAlias = tuple[str, str]  # what is wrong, with whom


class Alert(Struct, frozen=True):
    """What is posted. `text` says it all in a sentence, as chat services show it."""

    alert: str  # relay_down, messages_wait, disk_low
    state: str  # raised, over
    subject: str
    since: datetime
    at: datetime
    host: str
    text: str


Road: TypeAlias = Callable[[Alert], Awaitable[None]]


class Alerts(contextlib.AbstractAsyncContextManager["Alerts"]):
    """
    Says what is wrong once on each road, and again when it is over. A road that is closed is
    tried until it is open; what is over by then is not told on it at all.
    """

    def __init__(
        self, settings: Settings, relays: Relays, *, health: Callable[[], Health], clock: Clock
    ) -> None:
        self._settings = settings
        self._relays = relays
        self._health = health
        self._clock = clock
        self._since: dict[Name, tuple[datetime, str]] = {}  # what is wrong, and in which words
        self._resting: dict[str, datetime] = {}  # relays, and since when
        self._told: dict[tuple[str, Name], datetime] = {}  # by road: since when it was wrong
        self._roads: dict[str, Road] = {}
        if settings.alert_url:
            self._roads["url"] = self._post
        if settings.alert_to:
            self._roads["mail"] = self._mail
        self._looking: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._looking = [
            asyncio.create_task(self._look(name, road), name=f"alerts-{name}")
            for name, road in self._roads.items()
        ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)

    async def _look(self, name: str, road: Road) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._see()
            for alert in list(self._untold(name)):
                await self._tell(name, road, alert)

    def _see(self) -> None:
        now, health = self._clock(), self._health()
        wrong = {**self._relays_down(now, health), **self._waiting(now, health), **self._disk()}
        self._since = {
            name: (self._since[name][0] if name in self._since else now, words)
            for name, words in wrong.items()
        }

    def _relays_down(self, now: datetime, health: Health) -> dict[Name, str]:
        resting = {each.name: each for each in health.relays if each.state in ("open", "probing")}
        self._resting = {name: self._resting.get(name, now) for name in resting}
        patience = timedelta(seconds=self._settings.alert_after)
        return {
            ("relay_down", name): f"the relay {name} does not take mail: {each.trouble.text}"
            for name, each in resting.items()
            if each.trouble is not None and now - self._resting[name] >= patience
        }

    def _waiting(self, now: datetime, health: Health) -> dict[Name, str]:
        due = health.oldest_due_at
        patience = timedelta(seconds=self._settings.alert_after)
        if due is None or health.paused or now - due < patience:
            return {}
        return {("messages_wait", "queue"): f"the oldest message has been due since {due:%c} UTC"}

    def _disk(self) -> dict[Name, str]:
        folder = self._settings.data_dir
        with contextlib.suppress(OSError):
            found = os.statvfs(folder)
            free = found.f_bavail * found.f_frsize
            if free < LOW_DISK_BYTES:
                return {("disk_low", folder): f"{folder}: {free // 2**20} MiB are left on its disk"}
        return {}

    def _untold(self, road: str) -> Iterator[Alert]:
        for name, (since, words) in self._since.items():
            if (road, name) not in self._told:
                yield self._alert(name, "raised", since, words)
        for (told_by, name), since in self._told.items():
            if told_by == road and name not in self._since:
                yield self._alert(name, "over", since, f"it is over: {name[0]}, {name[1]}")

    def _alert(self, name: Name, state: str, since: datetime, words: str) -> Alert:
        host = socket.gethostname()
        text = f"notifier on {host}: {words}"
        return Alert(name[0], state, name[1], since, self._clock(), host, text)

    async def _tell(self, road_name: str, road: Road, alert: Alert) -> None:
        told = (road_name, (alert.alert, alert.subject))
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await road(alert)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            log.warning("alert_failed", alert=alert.alert, road=road_name, reason=str(error))
            return
        log.warning("alert", alert=alert.alert, state=alert.state, subject=alert.subject)
        if alert.state == "raised":
            self._told[told] = alert.since
        else:
            del self._told[told]

    async def _post(self, alert: Alert) -> None:
        request = Request(  # noqa: S310 - http, the settings have seen to it
            self._settings.alert_url or "",
            msgspec.json.encode(alert),
            {"Content-Type": "application/json"},
        )
        await _in_thread(lambda: _request(request))

    async def _mail(self, alert: Alert) -> None:
        to, settings = self._settings.alert_to or "", self._settings
        subject = f"notifier: {alert.alert} {alert.state}: {alert.subject}"
        email = Email(to=(to,), subject=subject, text=f"{alert.text}\n\nSince {alert.since:%c} UTC")
        made = compose(
            email,
            id=os.urandom(12).hex(),
            sender=settings.default_from or to,
            now=self._clock(),
        )
        attempt = await self._relays.send(made.envelope, made.content)
        if not attempt.accepted and not attempt.uncertain:
            raise ConnectionError(attempt.reply)


def _request(request: Request) -> None:
    """Raises OSError where it is not taken."""
    try:
        urlopen(request, timeout=10.0).close()  # noqa: S310 - http, the settings have seen to it
    except HTTPError as error:
        with error:  # it holds the connection
            raise ConnectionError(f"{error.code} {error.reason}") from None


async def _in_thread(call: Callable[[], None]) -> None:
    """In a thread of its own, which may hang without holding up anybody, nor our end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error = None
        try:
            call()
        except Exception as trouble:  # noqa: BLE001 - whoever waits is told
            error = trouble
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="alert", daemon=True).start()
    await done
