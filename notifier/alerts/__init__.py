"""
Alerts: notify a person of what is wrong, through other channels than the queue, which may be stuck.

`conditions` finds what is wrong now, `channels` deliver alerts, and `ledger` remembers which alerts
were delivered.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

import structlog
from msgspec.structs import replace

from notifier.alerts.channels import Alert, Channel, channels_of
from notifier.alerts.conditions import ENDS, SHARED, Conditions, Name
from notifier.alerts.ledger import Ledger
from notifier.clock import Clock
from notifier.errors import JournalUnavailable
from notifier.housekeeping.health import Health
from notifier.journal import Journal
from notifier.settings import Settings
from notifier.smtp import Relays
from notifier.supervisor import Background, Supervisor

__all__ = ["Alert", "Alerts"]

LOOK_SECONDS = 5.0
TELL_SECONDS = 60.0  # for one alert on one channel

log = structlog.get_logger()


class Alerts(Background):
    """
    Delivers each alert once on each channel, and once more when its condition is over. Restarts
    between do not change this, except a death right after a delivery, before the journal has it.

    A channel that fails is tried until it works. A condition that is over by then is not announced
    on it. Each replica announces its own conditions; of the conditions that all share, one replica
    does.
    """

    def __init__(
        self,
        settings: Settings,
        relays: Relays,
        journal: Journal,
        *,
        health: Callable[[], Health],
        supervisor: Supervisor,
        clock: Clock,
    ) -> None:
        self._conditions = Conditions(settings, clock=clock)
        self._health = health
        channels = channels_of(settings, relays, clock=clock)
        looks = {f"alerts-{each.name}": partial(self._look, each) for each in channels}
        super().__init__(supervisor, looks)
        self._journal = journal
        self._host = socket.gethostname()
        # A journal in a file has one process, whose host name may be another one after a restart.
        alone = settings.journal.startswith("sqlite:")
        self._us = "" if alone else f"{self._host}:{settings.port}"
        self._failing: dict[str, str] = {}  # channel: why it fails

    async def _look(self, channel: Channel) -> None:
        ledger = Ledger(self._journal, channel.name, us=self._us)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._deliver_news(channel, ledger)
            except Exception:  # without supervision no one would notice that alerts have stopped
                log.exception("alerts_stumbled", channel=channel.name)

    async def _deliver_news(self, channel: Channel, ledger: Ledger) -> None:
        if not await ledger.refresh():  # the ledger could not be read yet
            return
        for alert in list(self._untold(ledger, self._health())):
            if alert.alert in SHARED:
                await self._deliver_for_all(channel, ledger, alert)
            else:
                await self._deliver(channel, ledger, alert)

    async def _deliver_for_all(self, channel: Channel, ledger: Ledger, alert: Alert) -> None:
        """Whether no other replica has announced this condition, or its end, by now."""
        with contextlib.suppress(JournalUnavailable):  # the next look tries again
            async with self._journal.try_lock(f"alerts-{channel.name}") as locked:
                if locked and await ledger.refresh():
                    backlog = await self._journal.backlog()
                    health = replace(
                        self._health(),
                        oldest_due_at=backlog.oldest_due_at,
                        held_since=backlog.held_since,
                        counts=backlog.counts,
                    )
                    for each in self._untold(ledger, health):
                        if (each.alert, each.state) == (alert.alert, alert.state):
                            await self._deliver(channel, ledger, each)

    def _untold(self, ledger: Ledger, health: Health) -> Iterator[Alert]:
        seen = self._conditions.look(health)
        for name, (since, words) in seen.wrong.items():
            if ledger.since(name) is None:
                yield self._alert(name, "raised", since, words, seen.at)
        for name, since in ledger.all():
            if name not in seen.wrong and name not in seen.unclear:
                yield self._alert(name, "over", since, ENDS[name[0]].format(name[1]), seen.at)

    def _alert(self, name: Name, state: str, since: datetime, words: str, at: datetime) -> Alert:
        text = f"notifier on {self._host}: {words}"
        return Alert(name[0], state, name[1], since, at, self._host, text)

    async def _deliver(self, channel: Channel, ledger: Ledger, alert: Alert) -> None:
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await channel.tell(alert)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            self._report_failure(channel, alert, str(error) or type(error).__name__)
            return
        self._failing.pop(channel.name, None)
        log.warning("alert", alert=alert.alert, state=alert.state, subject=alert.subject)
        name = alert.alert, alert.subject
        await ledger.note(name, alert.since if alert.state == "raised" else None)

    def _report_failure(self, channel: Channel, alert: Alert, reason: str) -> None:
        """Log each reason once, because the delivery is tried every few seconds."""
        if self._failing.get(channel.name) != reason:
            self._failing[channel.name] = reason
            log.warning("alert_failed", alert=alert.alert, channel=channel.name, reason=reason)
