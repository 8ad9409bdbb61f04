"""
Spans of messages, made afterwards from what the journal has.

A span `message` lasts from acceptance to the end; each attempt is a child span `attempt`. The
message's span id follows from the message's id, so that attempts before a restart or by another
replica are its children, too. Addresses, subjects, contents and replies of relays are left out.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Concatenate, ParamSpec

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from notifier import __version__
from notifier.attempts import Attempt
from notifier.deliveries import Delivery, Status
from notifier.relayspec import RelaySpec
from notifier.tracing.exporting import Exporter

LOW_64_BITS = 0xFFFF_FFFF_FFFF_FFFF
NANOSECONDS = 1_000_000_000
SAMPLE = Decision.RECORD_AND_SAMPLE
SAMPLED, NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
IN_VAIN = frozenset({Status.FAILED, Status.EXPIRED})

P = ParamSpec("P")

log = structlog.get_logger()


def _harmless(
    make: Callable[Concatenate["Spans", Delivery, P], None],
) -> Callable[Concatenate["Spans", Delivery, P], None]:
    """Run, and log an exception: a span that cannot be made must not stop the delivery."""

    def made(spans: "Spans", delivery: Delivery, /, *rest: P.args, **more: P.kwargs) -> None:
        try:
            make(spans, delivery, *rest, **more)
        except Exception:  # the SDK's, or ours
            log.exception("span_not_made", id=delivery.id)

    return made


class Ids(RandomIdGenerator):
    """Random ids, except while `fixed` says which ones to take."""

    def __init__(self) -> None:
        self.fixed: SpanContext | None = None

    def generate_trace_id(self) -> int:
        return self.fixed.trace_id if self.fixed else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self.fixed.span_id if self.fixed else super().generate_span_id()


class Spans:
    """
    Makes spans on the caller's thread, in some tens of microseconds; another thread sends them.
    They wait in a bounded queue in memory. Spans that the collector does not take in time are lost.
    """

    def __init__(self, exporter: SpanExporter, relays: Sequence[RelaySpec] = ()) -> None:
        """Raises whatever the SDK raises on variables that it does not understand."""
        self._ids = Ids()
        self._provider = TracerProvider(
            resource=_resource(), id_generator=self._ids, shutdown_on_exit=False
        )
        self._exporter = Exporter(exporter)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("notifier", __version__)
        self._made = 0
        self._servers: dict[str, dict[str, str | int]] = {
            relay.name: {"server.address": relay.host, "server.port": relay.port}
            for relay in relays
        }

    @classmethod
    def to_collector(cls, relays: Sequence[RelaySpec]) -> "Spans":
        """Spans for the collector that the environment names, by OTLP over HTTP."""
        return cls(OTLPSpanExporter(), relays)

    def close(self, seconds: float) -> None:
        """Send the spans that are left, within this many seconds."""
        # The SDK waits half a minute for a collector that hangs.
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(seconds)
        if lost := self._made - self._exporter.taken:
            log.warning("spans_lost", n=lost)

    @_harmless
    def ended(self, delivery: Delivery) -> None:
        """
        Note a change of a delivery. If the delivery has ended, make the span of its whole life. (Of
        many that are cancelled at once, the feed reports only those that somebody waits for.)
        """
        if not delivery.status.final:
            return
        caller, own = self._place(delivery)
        if not own.trace_flags.sampled:
            return
        self._ids.fixed = own
        try:
            span = self._tracer.start_span(
                "message",
                caller,
                SpanKind.CONSUMER,
                _of_message(delivery),
                start_time=_nanoseconds(_begun(delivery)),
            )
        finally:
            self._ids.fixed = None
        for event in delivery.events:
            span.add_event(event.what, timestamp=_nanoseconds(event.at))
        if delivery.status in IN_VAIN:
            span.set_status(StatusCode.ERROR, delivery.status)
        self._end(span, _nanoseconds(delivery.finished_at or _begun(delivery)))

    @_harmless
    def attempted(self, delivery: Delivery, attempt: Attempt) -> None:
        """Make the span of an attempt. The delivery is as it was after the attempt."""
        _, message = self._place(delivery)
        if not message.trace_flags.sampled:
            return
        start = _nanoseconds(attempt.started_at)
        span = self._tracer.start_span(
            "attempt",
            set_span_in_context(NonRecordingSpan(message), Context()),
            SpanKind.CLIENT,
            _of_attempt(delivery, attempt) | self._servers.get(attempt.relay, {}),
            start_time=start,
        )
        if fault := _fault(attempt):
            span.set_attribute("error.type", fault)
            span.set_status(StatusCode.ERROR, f"{fault} at {attempt.stage}")
        self._end(span, start + int(attempt.seconds * NANOSECONDS))

    def _end(self, span: Span, at: int) -> None:
        self._made += 1
        span.end(at)

    def _place(self, delivery: Delivery) -> tuple[Context, SpanContext]:
        """
        The caller's span, and the message's span under it.

        A message without a caller's trace begins a trace, whose id is the message's: both have 128
        bits, of which the last 80 are random. Each retry after the end begins a new life with a
        span of its own.
        """
        caller = Context()
        trace_id = number = int(delivery.id, 16)
        if delivery.traceparent:
            _, trace, span, flags = delivery.traceparent.split("-")
            trace_id = int(trace, 16)
            parent = SpanContext(
                trace_id, int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
            )
            caller = set_span_in_context(NonRecordingSpan(parent), caller)
        chosen = self._provider.sampler.should_sample(
            caller, trace_id, "message", SpanKind.CONSUMER
        )
        own = SpanContext(
            trace_id,
            (number & LOW_64_BITS) ^ len(_retried_at(delivery)) or 1,  # 0 would be no id
            is_remote=False,
            trace_flags=SAMPLED if chosen.decision is SAMPLE else NOT_SAMPLED,
        )
        return caller, own


def _resource() -> Resource:
    found = Resource.create({"service.version": __version__})
    if str(found.attributes[SERVICE_NAME]).startswith(
        "unknown_service"
    ):  # the environment names no such value
        found = found.merge(Resource({SERVICE_NAME: "notifier"}))
    return found


def _of_message(delivery: Delivery) -> dict[str, str | int]:
    attributes = {
        "notifier.message.id": delivery.id,
        "notifier.channel": delivery.channel,
        "notifier.status": delivery.status.value,
        "notifier.recipients": len(delivery.recipients),
        "notifier.attempts": len(delivery.attempts) + delivery.attempts_dropped,
    }
    return attributes | ({"notifier.uncertain": delivery.uncertain} if delivery.uncertain else {})


def _of_attempt(delivery: Delivery, attempt: Attempt) -> dict[str, str | int]:
    """The attributes of the log line. `notifier.status` is the message's status afterwards."""
    attributes = {
        "notifier.message.id": delivery.id,
        "notifier.relay": attempt.relay,
        "notifier.stage": attempt.stage.value,
        "notifier.status": delivery.status.value,
        "notifier.recipients.accepted": len(attempt.accepted),
    }
    if attempt.code is not None:
        attributes["notifier.code"] = attempt.code
    if attempt.failures:
        attributes["notifier.recipients.refused"] = len(attempt.failures)
    return attributes


def _fault(attempt: Attempt) -> str:
    """What went wrong, as one word or a reply code; empty: nothing."""
    if attempt.uncertain:
        return "uncertain"
    for failure in attempt.failures.values():
        return failure.name or str(failure.code or failure.scope)
    return ""


def _retried_at(delivery: Delivery) -> list[datetime]:
    return [event.at for event in delivery.events if event.what == "retried"]


def _begun(delivery: Delivery) -> datetime:
    return max(_retried_at(delivery), default=delivery.created_at)


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000
