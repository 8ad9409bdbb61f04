"""
Counters of messages, requests and commits, in plain integers: one or two microseconds a message.

`web/metrics.py` writes them in Prometheus' format when they are scraped. `dashboard.json` is for
Grafana, `alerts.yaml` for Prometheus.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from notifier.attempts import Attempt
from notifier.deliveries import FINAL, Delivery, Status
from notifier.supervisor import Background, Supervisor

__all__ = ["Commits", "Histogram", "LoopLag", "Requests", "Tally"]

# Seconds. From a message that leaves at once to one that has waited for a relay for a day.
WAIT_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0),
)
ATTEMPT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
COMMIT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
LAG_SECONDS = 1.0  # between two measurements

CALLS_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# Bound once: Python 3.11 takes a tenth of a microsecond to find a member in its enum.
QUEUED, SCHEDULED = Status.QUEUED, Status.SCHEDULED
SENDING, SENT = Status.SENDING, Status.SENT

CHANNELS = ("email", "sms")

Tried: TypeAlias = tuple[str, str, int | None]  # relay, stage, reply code
Ended: TypeAlias = tuple[str, str]  # channel, outcome


class Histogram:
    """
    Counts values by upper bounds, in the way of Prometheus. One thread observes. Others may read at
    the same time; what they read is off by at most one value.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # the last one: larger than every bound
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound as Prometheus writes it, and how many values were up to it."""
        found, sum = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            sum += count
            found.append((bound, float(sum)))
        return found


class Tally:
    """Counts of messages since the process started."""

    def __init__(self) -> None:
        # From 0 on: the first value of a new series is no increase to Prometheus.
        self.accepted = Counter(dict.fromkeys(CHANNELS, 0))
        # By sender, for the audit, which takes the counts out and has a record of each person's.
        self.senders: Counter[str] = Counter()
        self.ended: Counter[Ended] = Counter(
            {(channel, status.value): 0 for channel in CHANNELS for status in FINAL}
        )
        self.attempts: Counter[Tried] = Counter()
        self.uncertain = 0
        self.smtp_replies: Counter[str] = Counter()  # to clients that submit mail, by code
        self.attempt_seconds: dict[str, Histogram] = {}  # by relay
        self.wait_seconds = Histogram(WAIT_BOUNDS)

    def count(self, delivery: Delivery) -> None:
        """Count one change of a delivery. Called for each, so it is quick."""
        status = delivery.status
        if status is SENDING:
            return
        if status is QUEUED or status is SCHEDULED:
            if not delivery.attempts and not delivery.events:
                self.accepted[delivery.channel] += 1
                if not delivery.by:
                    self.senders[delivery.accepted_by] += 1
        elif status is SENT:
            self.ended[delivery.channel, "sent"] += 1
            settled = delivery.events and delivery.events[-1].what == "settled"
            if delivery.finished_at is not None and not settled:
                plain = not delivery.events and delivery.send_at is None
                wanted_at = delivery.created_at if plain else delivery.wanted_at
                waited = delivery.finished_at - wanted_at
                self.wait_seconds.observe(waited.total_seconds())
        elif status.final:
            self.ended[delivery.channel, status.value] += 1

    @property
    def totals(self) -> tuple[int, int, int]:
        """How many were accepted, were sent, and failed or expired."""
        sent = failed = 0
        for (_, outcome), count in self.ended.items():
            sent += count * (outcome == "sent")
            failed += count * (outcome in ("failed", "expired"))
        return self.accepted.total(), sent, failed

    def count_attempt(self, _: Delivery, attempt: Attempt) -> None:
        """Count one attempt."""
        relay = attempt.relay
        self.attempts[relay, attempt.stage._value_, attempt.code] += 1
        if attempt.uncertain:
            self.uncertain += 1
        if (seconds := self.attempt_seconds.get(relay)) is None:
            seconds = self.attempt_seconds[relay] = Histogram(ATTEMPT_BOUNDS)
        seconds.observe(attempt.seconds)


class Requests:
    """Counts of requests, by method, route and status."""

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.seconds: dict[str, Histogram] = {}  # by path

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        self.answered[method, path, status] += 1
        if (taken := self.seconds.get(path)) is None:
            taken = self.seconds[path] = Histogram(REQUEST_BOUNDS)
        taken.observe(seconds)


class Commits:
    """How long each commit of the journal took, in seconds, and how many calls shared it."""

    def __init__(self) -> None:
        self.seconds = Histogram(COMMIT_BOUNDS)
        self.sizes = Histogram(CALLS_BOUNDS)

    def count(self, seconds: float, calls: int) -> None:
        """Count one commit. It may be called in the journal's thread."""
        self.seconds.observe(seconds)
        self.sizes.observe(calls)


class LoopLag(Background):
    """Measures how late the event loop runs what is due. Everything else waits as long."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(supervisor, {"loop-lag": self._measure})
        self.seconds = Histogram(LAG_BOUNDS)

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.seconds.observe(max(0.0, loop.time() - due))
