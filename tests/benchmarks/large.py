"""What a message of 1 MB costs the service, its client and the relay, and what is the least."""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.conditions import Large, TlsSink
from tests.benchmarks.costs import sampled
from tests.benchmarks.figures import shown, spread
from tests.benchmarks.limits import Bare, alone
from tests.benchmarks.load import LIMIT_SECONDS, Sink, client
from tests.benchmarks.processes import ROOT, until

COUNT = 150  # messages of a run
WARM_UP = 32
WARM_UP_FIRST = 90_000_000
CONNECTIONS = 8  # so many are handed in at a time
OCTETS = 1_000_000
SAMPLES = 250  # a second
KINDS = {"plain": Sink, "over TLS to the relay": TlsSink}


class BareLarge(Bare):
    body = Large.body


def large(report, *, rounds, **_):
    """In turns. The limits are each measured once a round, with contents of the same size."""
    found = {name: [] for name in KINDS}
    least = {"parsing": [], "a sender": [], "SQLite": []}
    for _ in range(rounds):
        for name, sink in KINDS.items():
            found[name].append(_run(sink))
        with Sink() as sink:
            least["parsing"].append(_parsed(sink))
            least["a sender"].append(_alone("bare_sender", "--port", str(sink.port)))
        with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder:
            least["SQLite"].append(_alone("bare_journal", "--folder", folder))
    report.runs |= found | {f"limit: {name}": runs for name, runs in least.items()}
    report.table(
        "messages of 1 MB", "delivered/s", "service, CPU ms", "of that its loop", "client, CPU ms",
        "relay, CPU ms",
    )  # fmt: skip
    for name, runs in found.items():
        report.row(name, *(spread([run[each] for run in runs]) for each in runs[0]))
    report.table("limit", "CPU ms a message of 1 MB")
    for name, runs in least.items():
        report.row(name, spread(runs))
    report.row("all three", shown(sum(map(statistics.median, least.values()))))
    report.table("step of a message of 1 MB", "CPU µs")
    steps = report.runs["steps of 1 MB"] = _steps()
    for name, spent in sorted(steps.items(), key=lambda each: -each[1]):
        report.row(name, shown(spent))


def _run(kind):
    """Delivered in a second, and CPU in ms a message of all that take part."""
    with _server(kind) as (server, sink):
        before, of_sink = server.family.cpu(), sink.ask("report")["cpu_seconds"]
        of_loop = _loop_seconds(server)
        posted = client(server, count=COUNT, connections=CONNECTIONS)
        until(lambda: sink.has(COUNT), server.last_output, seconds=LIMIT_SECONDS)
        time.sleep(0.3)
        taken = sink.ask("report")
        return {
            "delivered": COUNT / (taken["last"] - posted["begun"]),
            "service": (server.family.cpu() - before) / COUNT * 1e3,
            "loop": (_loop_seconds(server) - of_loop) / COUNT * 1e3,
            "client": posted["cpu_seconds"] / COUNT * 1e3,
            "relay": (taken["cpu_seconds"] - of_sink) / COUNT * 1e3,
        }


def _steps():
    with _server(Sink) as (server, sink):
        _, steps, _ = sampled(server, sink, COUNT, None, SAMPLES)
    return steps


@contextlib.contextmanager
def _server(kind):
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder,
        kind() as sink,
        Large(Path(folder), sink) as server,
    ):
        _warm_up(server)
        until(lambda: sink.has(WARM_UP), server.last_output)
        time.sleep(0.3)  # for the last records
        sink.ask("reset")
        yield server, sink


def _parsed(sink):
    """CPU in ms of an application that parses the body and does nothing with it."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder,
        BareLarge(Path(folder), sink) as server,
    ):
        _warm_up(server)
        before = server.family.cpu()
        client(server, count=COUNT, connections=CONNECTIONS)
        return (server.family.cpu() - before) / COUNT * 1e3


def _warm_up(server):
    client(server, count=WARM_UP, first=WARM_UP_FIRST, connections=CONNECTIONS)


def _alone(app, *options):
    _, cpu = alone(app, COUNT, "--bytes", str(OCTETS), *options)
    return cpu / 1e3


def _loop_seconds(server):
    """Of the main thread."""
    process = server.family.roots[0]
    return sum(
        each.user_time + each.system_time for each in process.threads() if each.id == process.pid
    )
