"""Finds what a person must know: relays down, messages that wait or are held, callbacks, disk."""

import contextlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from notifier.clock import Clock
from notifier.deliveries import Status
from notifier.disk import free_bytes
from notifier.housekeeping.health import Health
from notifier.settings import Settings
from notifier.smtp import RelayState

LOW_DISK_BYTES = 256 * 1024 * 1024  # four times what the journal refuses messages at
ENOUGH_DISK_BYTES = LOW_DISK_BYTES * 5 // 4  # so that an alert does not come and go

Name: TypeAlias = tuple[str, str]  # the condition, and what has it: a relay, the disk ...
Wrong: TypeAlias = tuple[datetime, str]  # since when, and the alert's text

# The text of the alert that says that a condition is over.
ENDS = {
    "relay_down": "the relay {} accepts mail again",
    "token_missing": "the relay {} has a token again",
    "messages_wait": "messages are sent on time again",
    "messages_held": "no message is held any more",
    "callbacks_fail": "the application of the key {} accepts callbacks again",
    "callbacks_paused": "the callbacks of the key {} are no longer paused",
    "disk_low": "{}: its disk has free space again",
    "bounce_burst": "bounces from {} are as usual again",
    "bounces": "few {} bounce again",
    "storm": "{} get no more messages than their quota again",
}
CALLBACKS_AFTER = timedelta(days=1)  # for which an application has failed
SHARED = frozenset(
    {
        *("messages_wait", "messages_held", "callbacks_fail", "callbacks_paused"),
        *("bounces", "bounce_burst"),
    }
)  # the same for all replicas


class Seen(Struct, frozen=True):
    """The conditions that hold, and those that cannot be judged now. All others are over."""

    at: datetime
    wrong: dict[Name, Wrong]
    unclear: set[Name]


class Conditions:
    """
    Looks at relays, queue and disk. Alerts begin and end at different thresholds, so that an
    alert does not come and go. After a restart a relay counts as healthy once it has taken a
    message, or has not failed for `alert_after`.
    """

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self._alert_after = timedelta(seconds=settings.alert_after)
        self._held_retention = timedelta(seconds=settings.held_retention)
        self._folder = settings.data_dir
        self._clock = clock
        self._begun = clock()
        self._resting: dict[str, datetime] = {}  # relays, and since when
        self._low_since: datetime | None = None

    def look(self, health: Health) -> Seen:
        seen = Seen(self._clock(), {}, set())
        works = [self._look_at_relay(relay, seen) for relay in health.relays]
        for relay in health.relays:
            self._look_at_token(relay, seen)
        self._look_at_queue(health, seen, works=any(works))
        self._look_at_held(health, seen)
        self._look_at_callbacks(health, seen)
        self._look_at_disk(seen)
        for each in health.troubles:
            seen.wrong[each.kind, each.subject] = each.since, each.text
        return seen

    def _look_at_relay(self, relay: RelayState, seen: Seen) -> bool:
        """Whether the relay is known to work."""
        name = "relay_down", relay.name
        if relay.state == "closed":
            self._resting.pop(relay.name, None)
            if relay.sent or seen.at - self._begun >= self._alert_after:
                return True
        elif relay.state != "paused" and relay.trouble is not None:
            since = self._resting.setdefault(relay.name, seen.at)
            if seen.at - since >= self._alert_after:
                words = f"the relay {relay.name} does not accept mail: {relay.trouble.text}"
                seen.wrong[name] = since, words
                return False
        seen.unclear.add(name)
        return False

    def _look_at_token(self, relay: RelayState, seen: Seen) -> None:
        """Early: the token that there is may be good for a while."""
        if (token := relay.token) is None or (since := token.failing_since) is None:
            return
        name = "token_missing", relay.name
        if seen.at - since < self._alert_after:
            seen.unclear.add(name)
            return
        words = f"the relay {relay.name} gets no new token to log in with: {token.trouble}"
        seen.wrong[name] = since, words

    def _look_at_queue(self, health: Health, seen: Seen, *, works: bool) -> None:
        name, due = ("messages_wait", "queue"), health.oldest_due_at
        if health.paused:
            seen.unclear.add(name)
        elif due is not None and seen.at - due >= self._alert_after:
            seen.wrong[name] = due, f"the oldest message is due since {due:%Y-%m-%d %H:%M:%S} UTC"
        elif due is not None and (seen.at - due >= self._alert_after / 2 or not works):
            # While no relay works, messages are put off and look as if they were not due.
            seen.unclear.add(name)

    def _look_at_held(self, health: Health, seen: Seen) -> None:
        name, since = ("messages_held", "held"), health.held_since
        if since is not None and seen.at - since >= self._alert_after:
            ends = (since + self._held_retention).strftime("%Y-%m-%d %H:%M")
            count = health.counts.get(Status.HELD, 0)
            words = (
                f"{count} held messages wait for a decision (retry, cancel or settle); "
                f"the oldest expires at {ends} UTC"
            )
            seen.wrong[name] = since, words
        elif since is not None:
            seen.unclear.add(name)

    def _look_at_callbacks(self, health: Health, seen: Seen) -> None:
        for each in health.callbacks:
            name = "callbacks_fail", each.key
            since = each.failing_since
            if since is not None and seen.at - since >= CALLBACKS_AFTER:
                words = (
                    f"the application of the key {each.key} does not accept callbacks:"
                    f" {each.trouble}; {each.waiting} wait"
                )
                seen.wrong[name] = since, words
            elif since is not None:
                seen.unclear.add(name)
            if each.paused_at is not None:
                words = (
                    f"the callbacks of the key {each.key} are paused, because {each.paused_why}; "
                    "resume them with `notifier callbacks resume`"
                )
                seen.wrong["callbacks_paused", each.key] = each.paused_at, words

    def _look_at_disk(self, seen: Seen) -> None:
        name, free = ("disk_low", self._folder), None
        with contextlib.suppress(OSError):
            free = free_bytes(Path(self._folder))
        if free is not None and free < LOW_DISK_BYTES:
            self._low_since = self._low_since or seen.at
            words = f"{self._folder}: its disk has only {free // 2**20} MiB of free space"
            seen.wrong[name] = self._low_since, words
        elif free is None or free < ENOUGH_DISK_BYTES:
            seen.unclear.add(name)
        else:
            self._low_since = None
