"""What one, two and three replicas on one PostgreSQL do, with clients that go round them."""

import asyncio
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.benchmarks.figures import shown, spread
from tests.benchmarks.load import LIMIT_SECONDS, Sink, client, warm_up
from tests.benchmarks.peers import Notifier, NotifierBatch
from tests.benchmarks.processes import ROOT, until
from tests.postgres import Cluster, missing

SETS = ((1, 32), (1, 128), (2, 128), (3, 128))  # replicas, and the workers of each
HEAD = (
    "replicas", "workers", "load", "accepted/s", "delivered/s", "CPU µs/message", "PostgreSQL's",
    "its WAL, kB/message", "its size, kB/message", "its commits/message",
)  # fmt: skip
# What more than one machine needs is computed from the row with most replicas and single posts.
PAPER = (10_000, 100_000)  # messages a second
BUSY = 0.6  # of a core: what is left is for peaks, and for replicas that are started anew
ROUND_TRIP = 0.020  # seconds to a relay in another place; a message costs one
DAY = 86_400


def compare(report, *, count, rounds):
    """A row for each set of replicas: what their workers wait for, and that all share the cores."""
    if why := missing():
        raise SystemExit(why)
    report.table(*HEAD)
    cluster = Cluster(durable=True)
    try:
        cluster.start()
        for kind in (Notifier, NotifierBatch):
            for replicas, workers in SETS:
                found = [_run(kind, cluster, replicas, workers, count) for _ in range(rounds)]
                load = f"batches of {kind.batch}" if kind.batch else "single posts"
                report.runs[f"{replicas} of {workers}, {load}"] = found
                cells = [spread(each) for each in zip(*found, strict=True)]
                report.row(replicas, workers, load, *cells)
                if kind is Notifier:
                    most = [*map(statistics.median, zip(*found, strict=True))]
        on_paper(report, *most[2:])
    finally:
        cluster.remove()


def on_paper(report, cpu, database, log, size, commits):
    """What a second's messages need, given what each needs."""
    report.table("on paper", "a message", *(f"{each:,} a second" for each in PAPER))
    rows = (
        (f"replicas, cores that are {BUSY:.0%} busy", f"{cpu:,.0f} µs", cpu / 1e6 / BUSY),
        (
            f"PostgreSQL, cores that are {BUSY:.0%} busy",
            f"{database:,.0f} µs",
            database / 1e6 / BUSY,
        ),
        ("PostgreSQL, commits a second", shown(commits), commits),
        ("PostgreSQL, MB of WAL a second", f"{log:.1f} kB", log / 1000),
        ("PostgreSQL, GB a day of retention", f"{size:.1f} kB", size * DAY / 1e6),
        (
            f"connections to relays that are {ROUND_TRIP * 1000:.0f} ms away",
            "one round trip",
            ROUND_TRIP,
        ),
    )
    for what, each, factor in rows:
        report.row(what, each, *(f"{factor * rate:,.0f}" for rate in PAPER))


def _run(kind, cluster, replicas, workers, count):
    """A row's figures: all of them a second, or a message."""
    settings = {"journal": cluster.new_database(), "workers": workers}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name, Sink() as sink:
        peers = []
        try:
            for number in range(replicas):
                folder = Path(name) / str(number)
                folder.mkdir()
                peers.append(kind(folder, sink, **settings).__enter__())
            for peer in peers:
                warm_up(peer, sink)
            return _loaded(peers, sink, cluster, count)
        finally:
            for peer in peers:
                peer.__exit__(None, None, None)


def _loaded(peers, sink, cluster, count):
    whole = max(1, peers[0].batch)  # requests, so that no two clients send the same number
    share = count // len(peers) // whole * whole
    before = [peer.family.cpu() for peer in peers]
    used = _used(cluster)
    with ThreadPoolExecutor(len(peers)) as threads:
        reports = [
            *threads.map(
                lambda peer: client(
                    peer, count=share, first=peers.index(peer) * share,
                    connections=64 // len(peers),
                ),
                peers,
            )
        ]  # fmt: skip
    total = share * len(peers)
    until(lambda: sink.has(total), peers[0].last_output, seconds=LIMIT_SECONDS, pause=0.05)
    time.sleep(1.2)  # for the last records, and for PostgreSQL's own counts
    arrived = sink.ask(f"times {peers[0].folder / 'arrived'}")
    if arrived["distinct"] != total or arrived["duplicates"]:
        raise SystemExit(f"not each was delivered once: {arrived}")
    spent = sum(peer.family.cpu() - was for peer, was in zip(peers, before, strict=True))
    return (
        sum(report["accepted_per_second"] for report in reports),
        total / (arrived["last"] - min(report["begun"] for report in reports)),
        spent / total * 1e6,
        *((now - was) / total for now, was in zip(_used(cluster), used, strict=True)),
    )


def _used(cluster):
    """By PostgreSQL: µs of CPU, kB of WAL, which a standby would be sent, kB of disk, commits."""
    [row] = asyncio.run(
        cluster.execute(
            "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn, sum(pg_database_size(datname)),"
            " sum(xact_commit) FROM pg_stat_database"
        )
    )
    log, size, commits = map(float, row)
    return _cpu(cluster.pid()) * 1e6, log / 1000, size / 1000, commits


def _cpu(pid):
    """Seconds of a server and of those that it has started."""
    root = psutil.Process(pid)
    total = 0.0
    for each in (root, *root.children(recursive=True)):
        try:
            total += sum(each.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total
