"""Spans of OpenTelemetry: what became of a message, exported to a collector."""

import asyncio
import json
import subprocess
import sys
import threading
import time

import httpx2
import pytest
import structlog
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from notifier import tracing
from notifier.tracing.spans import Spans
from tests.clocks import WallClock
from tests.collector import Collector, values
from tests.process import Server, free_port, message
from tests.relay import CUT, ScriptedRelay
from tests.service import email, ended, notifying, submit_one, until_status
from tests.waiting import LIMIT, until

TRACE, CALLER = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE:032x}-{CALLER:016x}-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """Nobody's variables but the test's."""
    for name in ("SERVICE_NAME", "TRACES_SAMPLER", "SDK_DISABLED", "EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Kept:
    """Spans that are made for the test, and stay here."""

    def __init__(self, *services):
        self._exporter = InMemorySpanExporter()
        self._spans = Spans(self._exporter)
        for service in services:
            service.trace_with(self._spans)

    def all(self):
        """In the order of their ends; attempts after the message that they end."""
        self._spans.close(10.0)
        return self._exporter.get_finished_spans()


async def traced(service, mail=None, traceparent=TRACEPARENT):
    receipt = await service.submit([mail or email()], traceparent=traceparent)
    return receipt.deliveries[0].id


def named(spans, name):
    return [span for span in spans if span.name == name]


def nanoseconds(at):
    return round(at.timestamp() * 1_000_000) * 1000


async def test_a_message_is_a_span_under_its_callers_and_its_attempt_one_under_it(tmp_path):
    """From acceptance to the end, and from the attempt's start for as long as it took."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        kept = Kept(service)
        delivery = await ended(service, await traced(service))
        whole, tried = kept.all()
    assert (whole.name, whole.kind, whole.status.status_code) == (
        "message", SpanKind.CONSUMER, StatusCode.UNSET,
    )  # fmt: skip
    assert (whole.context.trace_id, whole.parent.span_id) == (TRACE, CALLER)
    assert whole.start_time == nanoseconds(delivery.created_at)
    assert whole.end_time == nanoseconds(delivery.finished_at)
    (attempt,) = delivery.attempts
    assert (tried.name, tried.kind, tried.status.status_code) == (
        "attempt", SpanKind.CLIENT, StatusCode.UNSET,
    )  # fmt: skip
    assert (tried.context.trace_id, tried.parent.span_id) == (TRACE, whole.context.span_id)
    assert tried.start_time == nanoseconds(attempt.started_at)
    assert tried.end_time - tried.start_time == int(attempt.seconds * 1e9)
    assert whole.start_time <= tried.start_time < tried.end_time <= whole.end_time


async def test_spans_name_no_address_and_no_content(tmp_path):
    """A relay's words repeat addresses: they are left out, too."""
    secret = email("ann@example.org", "bob@example.org", subject="Secret", text="Body")
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        relay.answer("RCPT", "550 no such user: bob@example.org", to="bob@example.org")
        kept = Kept(service)
        id = await traced(service, secret)
        await ended(service, id)
        whole, tried = kept.all()
    assert dict(whole.attributes) == {
        "notifier.message.id": id,
        "notifier.channel": "email",
        "notifier.status": "sent",
        "notifier.recipients": 2,
        "notifier.attempts": 1,
    }
    assert dict(tried.attributes) == {
        "notifier.message.id": id,
        "notifier.relay": "first",
        "notifier.stage": "dot",
        "notifier.code": 250,
        "notifier.status": "sent",
        "notifier.recipients.accepted": 1,
        "notifier.recipients.refused": 1,
        "error.type": "550",
    }
    assert tried.status.status_code is StatusCode.ERROR
    text = whole.to_json() + tried.to_json()
    assert not [each for each in ("@", "Secret", "Body", "no such") if each in text]


async def test_each_try_is_an_attempt_of_the_same_message(tmp_path):
    """The first of them failed, and the message did not."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        relay.answer("DOT", "451 later", times=1)
        kept = Kept(service)
        await ended(service, await traced(service))
        spans = kept.all()
    (whole,) = named(spans, "message")
    first, second = named(spans, "attempt")
    assert {each.parent.span_id for each in (first, second)} == {whole.context.span_id}
    assert first.context.span_id != second.context.span_id
    assert (first.attributes["notifier.status"], first.attributes["error.type"]) == (
        "deferred", "451",
    )  # fmt: skip
    assert first.end_time <= second.start_time
    assert whole.status.status_code is StatusCode.UNSET
    assert whole.attributes["notifier.attempts"] == 2


async def test_attempts_of_another_life_of_the_process_hang_under_the_same_span(tmp_path):
    """Its id follows from the message's, whoever makes it: after a restart, or in a replica."""
    options = {"retry_schedule": (3600.0,)}
    async with ScriptedRelay() as relay:
        relay.answer("DOT", "451 later", times=1)
        async with notifying(tmp_path, relay, **options) as service:
            before = Kept(service)
            id = await traced(service)
            await until_status(service, id, "deferred")
            await until(lambda: service.tally.attempts)  # it is counted after it is on disk
            (first,) = before.all()
        async with notifying(tmp_path, relay, **options) as service:
            after = Kept(service)
            await service.send_now(id)
            await ended(service, id)
            whole, second = after.all()
    assert first.parent.span_id == second.parent.span_id == whole.context.span_id
    assert first.context.trace_id == second.context.trace_id == TRACE
    assert [event.name for event in whole.events] == ["hurried"]


async def test_an_untraced_message_begins_a_trace_with_its_own_id(tmp_path):
    """So it is found by what every answer and log line has."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        kept = Kept(service)
        id = await submit_one(service)
        await ended(service, id)
        whole, tried = kept.all()
    assert f"{whole.context.trace_id:032x}" == f"{tried.context.trace_id:032x}" == id
    assert whole.parent is None
    assert tried.parent.span_id == whole.context.span_id


@pytest.mark.parametrize(
    ("traceparent", "sampler", "made"),
    [
        (TRACEPARENT[:-2] + "00", None, False),
        (TRACEPARENT[:-2] + "00", "always_on", True),
        (TRACEPARENT, "parentbased_always_off", True),
        ("", "parentbased_always_off", False),
        ("", "traceidratio", True),
    ],
)
async def test_whether_there_are_spans_is_the_callers_word_then_the_samplers(
    tmp_path, monkeypatch, traceparent, sampler, made
):
    """All of a message's, or none."""
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1.0")
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        kept = Kept(service)
        await ended(service, await traced(service, traceparent=traceparent))
        assert [span.name for span in kept.all()] == (["message", "attempt"] if made else [])


async def test_a_message_retried_by_a_person_has_a_span_for_each_life(tmp_path):
    """The first has ended, and its span has left: the second begins with the retry."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        relay.answer("DOT", "554 no", times=1)
        kept = Kept(service)
        id = await traced(service)
        assert (await ended(service, id)).status == "failed"
        await service.retry(id)
        delivery = await ended(service, id)
        spans = kept.all()
    failed, sent = named(spans, "message")
    assert failed.status.status_code is StatusCode.ERROR
    assert sent.status.status_code is StatusCode.UNSET
    assert failed.context.span_id != sent.context.span_id
    assert failed.parent.span_id == sent.parent.span_id == CALLER
    assert sent.start_time == nanoseconds(delivery.events[0].at)
    parents = [each.parent.span_id for each in named(spans, "attempt")]
    assert parents == [failed.context.span_id, sent.context.span_id]


async def test_an_unknown_outcome_is_an_error_of_the_attempt(tmp_path):
    """The link died after the final dot."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        relay.answer("DOT", CUT, times=1)
        kept = Kept(service)
        await ended(service, await traced(service))
        spans = kept.all()
    assert named(spans, "attempt")[0].attributes["error.type"] == "uncertain"
    assert named(spans, "message")[0].attributes["notifier.uncertain"] == 1


async def test_a_message_that_ends_without_an_attempt_is_a_span_all_the_same(tmp_path):
    """Cancelled, superseded, or too old."""
    clock = WallClock()
    async with ScriptedRelay() as relay, notifying(tmp_path, relay, clock=clock) as service:
        await service.pause()
        kept = Kept(service)
        await service.cancel(await traced(service))
        old = await traced(service, email(collapse_key="k"))
        late = await traced(service, email(collapse_key="k", ttl=60))
        clock.set(clock().replace(year=clock().year + 1))
        await ended(service, late)
        await ended(service, old)
        spans = kept.all()
    outcomes = [(each.attributes["notifier.status"], each.status.status_code) for each in spans]
    assert outcomes == [
        ("cancelled", StatusCode.UNSET),
        ("superseded", StatusCode.UNSET),
        ("expired", StatusCode.ERROR),
    ]


async def test_a_fault_in_making_a_span_stops_no_message(tmp_path, monkeypatch):
    """It is logged, with the message's id."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        kept = Kept(service)
        monkeypatch.setattr(kept._spans, "_place", None)
        with structlog.testing.capture_logs() as lines:
            id = await traced(service)
            assert (await ended(service, id)).status == "sent"
        kept.all()
    found = [line["id"] for line in lines if line["event"] == "span_not_made"]
    assert found == [id, id]


async def test_the_queue_of_spans_is_bounded_and_what_is_lost_is_counted(tmp_path, monkeypatch):
    """The oldest are dropped if no collector takes them. The stop waits up to its limit."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    release = threading.Event()

    class Stuck(SpanExporter):
        def export(self, spans):
            release.wait(30)
            return SpanExportResult.SUCCESS

    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        spans = Spans(Stuck())
        service.trace_with(spans)
        for _ in range(10):
            await ended(service, await submit_one(service))
        with structlog.testing.capture_logs() as lines:
            begun = time.monotonic()
            spans.close(0.1)
            assert time.monotonic() - begun < 10
    assert [(line["event"], line["n"]) for line in lines] == [("spans_lost", 20)]
    release.set()


async def test_an_exporter_that_raises_is_logged_as_one_that_refuses(tmp_path):
    """It is logged once for all batches. The thread goes on."""

    class Broken(SpanExporter):
        def export(self, spans):
            raise ZeroDivisionError

    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        spans = Spans(Broken())
        service.trace_with(spans)
        with structlog.testing.capture_logs() as lines:
            for _ in range(2):
                await ended(service, await submit_one(service))
                spans._provider.force_flush()
            spans.close(10.0)
    found = [line for line in lines if line["event"].startswith("spans")]
    assert [line["event"] for line in found] == ["spans_not_taken", "spans_lost"]
    assert "ZeroDivisionError" in found[0]["reason"]


# ---------------------------------------------------------------- when it is on


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "True"},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_a_collector_is_named(environ):
    """Nothing is said, either."""
    with structlog.testing.capture_logs() as lines:
        assert tracing.begin(environ, ()) is None
    assert lines == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_BSP_MAX_QUEUE_SIZE", "-1")],
)
def test_a_variable_with_a_wrong_value_is_logged_and_delays_no_mail(monkeypatch, variable, value):
    """Tracing is off, and one line of the log has the reason."""
    environ = {ENDPOINT: "http://127.0.0.1:1", variable: value}
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    with structlog.testing.capture_logs() as lines:
        assert tracing.begin(environ, ()) is None
    assert [line["event"] for line in lines] == ["tracing_off"]


def test_tracing_that_is_off_does_not_load_the_sdk():
    """It would take its time and memory."""
    program = "import sys, notifier.server.process; sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# ---------------------------------------------------------------- a real server, a real collector


async def send(server):
    """Post a message with a traceparent, and wait until it has left."""
    headers = {"traceparent": TRACEPARENT, "Prefer": f"wait={LIMIT:.0f}"}
    async with httpx2.AsyncClient(trust_env=False, timeout=2 * LIMIT) as client:
        answer = await client.post(f"{server.url}/v1/messages", json=message(1), headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "sent")
    return answer.json()


def span_events(server):
    return [line for line in server.log if "span" in line["event"] or "tracing" in line["event"]]


async def test_a_collector_gets_the_spans_by_otlp(tmp_path):
    """The last ones when the service stops. The relay is named with its address."""
    with Collector() as collector:
        async with ScriptedRelay() as relay:
            server = Server(tmp_path, relays=f"smtp://127.0.0.1:{relay.port}?name=main")
            server.variables = {ENDPOINT: collector.url}
            async with server:
                id = (await send(server))["id"]
                assert await server.stop() == 0
    spans = {span.name: span for span in collector.spans}
    whole, tried = spans["message"], spans["attempt"]
    assert len(collector.spans) == 2
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == tuple(TRACEPARENT.split("-")[1:3])
    assert tried.parent_span_id == whole.span_id
    assert values(whole.attributes)["notifier.message.id"] == id
    there = values(tried.attributes)
    assert (there["notifier.relay"], there["server.address"], there["server.port"]) == (
        "main", "127.0.0.1", relay.port,
    )  # fmt: skip
    assert collector.resource["service.name"] == "notifier"
    assert [line["event"] for line in span_events(server)] == ["tracing"]


async def test_the_service_is_called_as_the_environment_says(tmp_path):
    """As every other program that exports spans."""
    with Collector() as collector:
        server = Server(tmp_path)
        server.variables = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
            "OTEL_SERVICE_NAME": "mail",
        }
        async with server:
            await send(server)
            assert await server.stop() == 0
    assert collector.resource["service.name"] == "mail"


@pytest.mark.parametrize("trouble", ["down", "refusing"])
async def test_a_collector_that_takes_nothing_holds_up_neither_mail_nor_the_end(tmp_path, trouble):
    """
    One line says that spans are not taken, without what a URL may hide, and one how many were
    lost; the exit code is 0.
    """
    with Collector() as collector:
        collector.status = 503
        url = f"http://127.0.0.1:{free_port()}" if trouble == "down" else collector.url
        server = Server(tmp_path, grace="1s")
        server.variables = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/v1/traces?token=hunter2",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        async with server:
            await send(server)
            await until(lambda: len(span_events(server)) == 2)
            await send(server)
            assert await server.stop() == 0
    found = span_events(server)
    assert [line["event"] for line in found] == ["tracing", "spans_not_taken", "spans_lost"]
    assert found[-1]["n"] == 4
    text = json.dumps(server.log)
    assert not [each for each in ("hunter2", "opentelemetry") if each in text]


async def test_a_collector_that_never_answers_holds_up_neither_mail_nor_the_end(tmp_path):
    """The SDK would wait a minute for it: the grace is less."""
    with Collector() as collector:
        collector.hangs = True
        server = Server(tmp_path, grace="1s")
        server.variables = {
            ENDPOINT: collector.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        async with server:
            await send(server)
            assert await asyncio.to_thread(collector.asked.wait, LIMIT)
            await send(server)
            server.terminate()
            assert await asyncio.wait_for(server.process.wait(), LIMIT) == 0
    found = span_events(server)
    assert [(line["event"], line.get("n")) for line in found] == [
        ("tracing", None),
        ("spans_lost", 4),
    ]


async def test_a_collector_that_goes_down_and_comes_back_is_logged_once_each(tmp_path):
    """However many batches it has not taken; and why."""
    with Collector() as collector:
        collector.status = 400
        server = Server(tmp_path)
        server.variables = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
        }
        async with server:
            for _ in range(3):
                collector.asked.clear()
                await send(server)
                assert await asyncio.to_thread(collector.asked.wait, LIMIT)
            await until(lambda: len(span_events(server)) == 2)
            collector.status = 200
            await send(server)
            await until(lambda: len(span_events(server)) == 3)
            assert await server.stop() == 0
    found = span_events(server)
    assert [line["event"] for line in found[:3]] == [
        "tracing", "spans_not_taken", "spans_taken_again",
    ]  # fmt: skip
    assert "400" in found[1]["reason"]
    assert "opentelemetry" not in json.dumps(server.log)


async def test_without_the_extra_it_starts_and_names_it(tmp_path):
    """The variable is often set for every program of a platform: mail is worth more than spans."""
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError('No module')")
    server = Server(tmp_path)
    server.variables = {ENDPOINT: "http://127.0.0.1:1", "PYTHONPATH": str(tmp_path)}
    async with server:
        await send(server)
        assert await server.stop() == 0
    (line,) = span_events(server)
    assert (line["event"], line["level"]) == ("tracing_off", "warning")
    assert "notifier[otel]" in line["reason"]
