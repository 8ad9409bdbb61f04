"""GET /metrics: the figures in Prometheus's formats, collected for each request."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from notifier import __version__
from notifier.disk import free_bytes
from notifier.metrics import Histogram, Requests
from notifier.service import Notifier
from notifier.web.bodies import AnyRequest
from notifier.web.routes import READ, get

if TYPE_CHECKING:  # loaded by the first request for figures
    from prometheus_client.metrics_core import Metric

RELAY_STATES = ("closed", "probing", "open", "paused")


class Metrics:
    """/metrics. Where there are API keys, it needs one with `read`."""

    def __init__(
        self, service: Notifier, requests: Requests, *, log_drops: Callable[[], int]
    ) -> None:
        self._service = service
        self._requests = requests
        self._log_drops = log_drops
        self._registry: Any = None

    def routes(self) -> list[HTTPRouteHandler]:
        return [get("/metrics", self.metrics, READ)]

    async def metrics(self, request: AnyRequest) -> Response[bytes]:
        """Plain text, or OpenMetrics where the request accepts it."""
        from prometheus_client.exposition import choose_encoder

        write, content_type = choose_encoder(request.headers.get("accept", ""))
        body: bytes = write(self._registered())
        return Response(body, media_type=content_type)

    def _registered(self) -> Any:
        if self._registry is None:
            from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

            self._registry = CollectorRegistry(auto_describe=False)
            ProcessCollector(registry=self._registry)
            GCCollector(registry=self._registry)
            self._registry.register(self)
        return self._registry

    def collect(self) -> Iterator["Metric"]:
        """Called by prometheus_client."""
        yield _gauge("notifier_info", "The version that runs.", [((__version__,), 1)], "version")
        yield from self._messages()
        yield from self._backlog()
        yield from self._relays()
        yield from self._callbacks()
        yield from self._inside()
        yield from self._http()

    def _messages(self) -> Iterator["Metric"]:
        tally = self._service.tally
        yield _counter(
            "notifier_messages_accepted",
            "Messages accepted, by channel.",
            [((channel,), count) for channel, count in tally.accepted.items()],
            "channel",
        )
        yield _counter(
            "notifier_messages_finished",
            "Messages that were finished, by channel and outcome.",
            tally.ended.items(),
            "channel", "outcome",
        )  # fmt: skip
        attempts: dict[tuple[str, ...], int] = {}
        for (relay, stage, code), count in tally.attempts.items():
            labels = (relay, stage, f"{code // 100}xx" if code else "none")
            attempts[labels] = attempts.get(labels, 0) + count
        yield _counter(
            "notifier_attempts",
            "Attempts by relay, stage reached, and class of the last reply.",
            attempts.items(),
            "relay", "stage", "reply",
        )  # fmt: skip
        yield _counter(
            "notifier_uncertain",
            "Attempts after which it is unknown whether the relay took the message.",
            [((), tally.uncertain)],
        )
        yield _counter(
            "notifier_storm_messages",
            "Messages that were held or refused because their recipient got too many.",
            [((), self._service.intake.brake.stopped)],
        )
        if self._service.settings.smtp_listen:
            yield _counter(
                "notifier_smtp_submissions",
                (
                    "Replies to clients that submit mail by SMTP: one for each mail, and "
                    "one for each refused login, sender or recipient."
                ),
                [((code,), count) for code, count in tally.smtp_replies.items()],
                "reply",
            )
        suppressions = self._service.suppressions
        yield _gauge(
            "notifier_suppressions",
            "Entries of the list of suppressions, by reason, as of at most ten minutes ago.",
            [((reason.value,), count) for reason, count in suppressions.counts.items()],
            "reason",
        )
        yield _counter(
            "notifier_suppressed_recipients",
            "Recipients that were left out because they are suppressed.",
            [((), suppressions.count)],
        )
        yield _counter(
            "notifier_reports",
            ("Reports about recipients that came after a relay took the message, by "
                "state and class."),
            self._service.reports.counts.items(),
            "state", "class",
        )  # fmt: skip
        yield _histogram(
            "notifier_attempt_seconds",
            "Duration of an attempt.",
            [((relay,), seconds) for relay, seconds in tally.attempt_seconds.items()],
            "relay",
        )
        yield _histogram(
            "notifier_accept_to_sent_seconds",
            "Time from a message's acceptance, or from its send_at, to the relay's acceptance.",
            [((), tally.wait_seconds)],
        )

    def _backlog(self) -> Iterator["Metric"]:
        service = self._service
        health = service.health()
        yield _gauge(
            "notifier_messages",
            "Messages in the journal, by status, as of at most two seconds ago.",
            [((status.value,), count) for status, count in health.counts.items()],
            "status",
        )
        yield _gauge(
            "notifier_queue_depth", "Messages that wait to be sent.", [((), health.waiting)]
        )
        now = datetime.now(UTC)
        yield _gauge(
            "notifier_oldest_waiting_seconds",
            "How long the oldest due message has been waiting.",
            [((), _age(health.oldest_due_at, now))],
        )
        yield _gauge(
            "notifier_oldest_held_seconds",
            "How long the oldest held message has been waiting for a decision.",
            [((), _age(health.held_since, now))],
        )
        yield _gauge("notifier_queue_paused", "1 while the queue is paused.", [((), health.paused)])
        yield _gauge(
            "notifier_ready", "1 while messages are accepted, see /readyz.", [((), health.ready)]
        )
        free = None
        with contextlib.suppress(OSError):
            free = free_bytes(Path(service.settings.data_dir))
        yield _gauge(
            "notifier_disk_free_bytes",
            "Free space on the disk of the data directory.",
            [] if free is None else [((), free)],
        )
        busy = sum(each is not None for each in service.workers)
        yield _gauge("notifier_workers_busy", "Workers that are sending a message.", [((), busy)])
        yield _gauge("notifier_workers", "Workers in all.", [((), len(service.workers))])

    def _relays(self) -> Iterator["Metric"]:
        relays = self._service.health().relays
        yield _gauge(
            "notifier_relay_state",
            "1 for the present state of a relay, else 0: closed (it works), open (it rests), "
            "probing, paused.",
            [
                ((relay.name, state), relay.state == state)
                for relay in relays
                for state in RELAY_STATES
            ],
            "relay", "state",
        )  # fmt: skip
        yield _counter(
            "notifier_relay_messages",
            "Messages that were offered to a relay, by outcome, including those that the next "
            "relay took.",
            [
                ((relay.name, outcome), count)
                for relay in relays
                for outcome, count in (("sent", relay.sent), ("failed", relay.failed))
            ],
            "relay", "outcome",
        )  # fmt: skip
        yield _gauge(
            "notifier_relay_connections",
            "Connections that are busy with a message.",
            [((relay.name,), relay.busy) for relay in relays],
            "relay",
        )

        yield _counter(
            "notifier_relay_throttled",
            "Messages that a relay refused because it wants fewer, or fewer connections.",
            [((relay.name,), relay.throttled) for relay in relays],
            "relay",
        )
        yield _gauge(
            "notifier_relay_pace",
            (
                "Messages a second that the service sends to a relay, if the relay has "
                "refused some for their rate."
            ),
            [((relay.name,), relay.pace) for relay in relays if relay.pace is not None],
            "relay",
        )
        now = datetime.now(UTC)
        yield _gauge(
            "notifier_relay_token_expires_seconds",
            "Time until the OAuth 2 token of a relay expires; 0: there is no token.",
            [
                (
                    (relay.name,),
                    max(0.0, (relay.token.good_until - now).total_seconds())
                    if relay.token.good_until
                    else 0.0,
                )
                for relay in relays
                if relay.token is not None
            ],
            "relay",
        )

    def _callbacks(self) -> Iterator["Metric"]:
        callbacks, now = self._service.callbacks, datetime.now(UTC)
        yield _counter(
            "notifier_callback_tries",
            "Attempts to send a callback, by API key and outcome: told, failed, gone, given_up.",
            callbacks.outcomes.items(),
            "key", "outcome",
        )  # fmt: skip
        for name, help, value in (
            ("waiting", "Callbacks that wait.", lambda each: each.waiting),
            (
                "oldest_waiting_seconds",
                "How long the oldest callback has been waiting.",
                lambda each: _age(each.oldest, now),
            ),
            (
                "failing_seconds",
                "How long an application has not accepted any callback; 0: it accepts them.",
                lambda each: _age(each.failing_since, now),
            ),
            (
                "paused",
                "1 while callbacks are paused, because the application answered 410.",
                lambda each: each.paused_at is not None,
            ),
        ):
            values = [((each.key,), value(each)) for each in callbacks.states]
            yield _gauge(f"notifier_callback_{name}", help, values, "key")

    def _inside(self) -> Iterator["Metric"]:
        service = self._service
        yield _histogram(
            "notifier_journal_commit_seconds",
            "Duration of a commit, including its fsync.",
            [((), service.commits.seconds)],
        )
        yield _histogram(
            "notifier_journal_batch_size",
            "Number of operations in one commit.",
            [((), service.commits.sizes)],
        )
        tasks = service.supervisor.counts()
        yield _gauge(
            "notifier_tasks_running",
            "Background tasks that are running, by name.",
            [((name,), count.running) for name, count in tasks.items()],
            "task",
        )
        yield _counter(
            "notifier_task_deaths",
            "Failures of background tasks, each of which is started again, by name; see the log.",
            [((name,), count.deaths) for name, count in tasks.items()],
            "task",
        )
        yield _counter(
            "notifier_log_dropped_lines",
            "Log lines that were dropped, because the output did not take them fast enough.",
            [((), self._log_drops())],
        )
        yield _histogram(
            "notifier_loop_lag_seconds",
            "Delay between the time when the event loop should have run something and when it ran.",
            [((), service.lag.seconds)],
        )

    def _http(self) -> Iterator["Metric"]:
        yield _counter(
            "notifier_http_requests",
            "Requests by method, route and status.",
            [
                ((method, path, str(status)), count)
                for (method, path, status), count in self._requests.answered.items()
            ],
            "method", "path", "status",
        )  # fmt: skip
        yield _histogram(
            "notifier_http_request_seconds",
            "Time from a request to the start of its response.",
            [((path,), seconds) for path, seconds in self._requests.seconds.items()],
            "path",
        )


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds since then; 0: None."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _gauge(
    name: str, help: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str
) -> "Metric":
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(name, help, labels=labels)
    for labelled, value in list(values):
        family.add_metric(labelled, float(value))
    return family


def _counter(
    name: str, help: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str
) -> "Metric":
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(name, help, labels=labels)
    for labelled, value in list(values):
        family.add_metric(labelled, float(value))
    return family


def _histogram(
    name: str, help: str, values: Iterable[tuple[tuple[str, ...], Histogram]], *labels: str
) -> "Metric":
    from prometheus_client.metrics_core import HistogramMetricFamily

    family = HistogramMetricFamily(name, help, labels=labels)
    for labelled, value in list(values):
        family.add_metric(labelled, value.buckets(), value.total)
    return family
