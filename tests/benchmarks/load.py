"""One run: a peer, the client that loads it, and the sink that it delivers to."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import Figures, percentile
from tests.benchmarks.processes import ROOT, until

LIMIT_SECONDS = 120.0  # for any one run
CONNECTIONS = 64
WARM_UP = 64  # messages before a run, numbered from there:
WARM_UP_FIRST = 90_000_000
SETTLED_SECONDS = 1.0  # after a warm-up: what a service does once, soon after its start, is over


class Sink:
    """The relay: a process that takes everything."""

    scheme = "smtp"
    parameters = "messages_per_connection=1000"  # of its URL

    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.sink", *self.options],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = json.loads(self.process.stdout.readline())["port"]
        return self

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}?{self.parameters}"

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def has(self, count):
        return self.ask("report")["messages"] >= count

    def __exit__(self, *exc_info):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def client(peer, *, count, first=0, times=None, rate=None, connections=CONNECTIONS):
    """Post messages to a peer, and report."""
    if peer.smtp:
        module, where = "smtp_client", ["--port", str(peer.port)]
    else:
        module, where = "client", ["--url", peer.url, "--batch", str(peer.batch)]
        if peer.body:
            (peer.folder / "body").write_text(peer.body)
            where += ["--body", str(peer.folder / "body")]
        where += [part for each in peer.headers for part in ("--header", each)]
    options = {"--count": count, "--first": first, "--connections": connections}
    options |= {"--times": times} if times else {}
    options |= {"--rate": rate} if rate else {}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *where]
        + [str(each) for option in options.items() for each in option],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        timeout=LIMIT_SECONDS,
    )
    report = json.loads(done.stdout)
    if report["accepted"] < count:
        raise SystemExit(f"{peer.name}: not all was accepted: {report}")
    return report


def run(peer_class, sink, *, count, rate=None, **options):
    """One run on a fresh queue."""
    # On the disk of the project, not in memory: what a queue costs is its disk, too.
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name,
        peer_class(Path(name), sink, **options) as peer,
    ):
        warm_up(peer, sink)
        return measured(peer, sink, count=count, rate=rate)


def measured(peer, sink, *, count, first=0, rate=None):
    """What a peer that runs makes of so many messages."""
    sink.ask("reset")
    folder = peer.folder
    before, written = peer.family.cpu(), peer.family.written()
    report = client(peer, count=count, first=first, times=folder / "sent", rate=rate)
    if not peer.delivers:
        spent = peer.family.cpu() - before
        return Figures(report["accepted_per_second"], cpu=spent / count * 1e6)
    until(lambda: sink.has(count), peer.last_output, seconds=LIMIT_SECONDS, pause=0.05)
    peer.settle(count)
    time.sleep(0.3)  # for the last records
    spent, rss = peer.family.cpu() - before, peer.family.rss()
    arrived = sink.ask(f"times {folder / 'arrived'}")
    # A message of the warm-up may come again from a peer that delivers at least once.
    if arrived["distinct"] < count or arrived["duplicates"]:
        raise SystemExit(f"{peer.name}: not each was delivered once: {arrived}")
    waits = _waits(folder)
    return Figures(
        accepted=report["accepted_per_second"],
        delivered=count / (arrived["last"] - report["begun"]),
        p50=percentile(waits, 0.50),
        p99=percentile(waits, 0.99),
        cpu=spent / count * 1e6,
        rss=rss,
        written=(peer.family.written() - written) / count,
    )


def warm_up(peer, sink):
    """Files, caches and workers are in use before it counts, and the start is over."""
    sink.ask("reset")
    client(peer, count=WARM_UP, first=WARM_UP_FIRST)
    if peer.delivers:
        until(lambda: sink.has(WARM_UP), peer.last_output)
        peer.settle(WARM_UP)
    time.sleep(SETTLED_SECONDS)
    sink.ask("reset")


def times_of(sink, folder):
    """When each message arrived, in order."""
    sink.ask(f"times {folder / 'arrived'}")
    lines = (folder / "arrived").read_text().splitlines()
    return sorted(float(line.split()[1]) for line in lines)


def _waits(folder):
    """Milliseconds from POST to final dot, in order."""
    sent = {}
    for line in (folder / "sent").read_text().splitlines():
        key, at, *_ = line.split()
        sent[key] = float(at)
    arrived = (line.split() for line in (folder / "arrived").read_text().splitlines())
    return sorted((float(at) - sent[key]) * 1000 for key, at in arrived)
