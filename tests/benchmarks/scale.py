"""What stays the same while messages pile up: memory, accepting, claiming, listing, restarting."""

import contextlib
import json
import signal
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.benchmarks.figures import percentile, shown
from tests.benchmarks.load import Sink, client
from tests.benchmarks.peers import Notifier, NotifierBatch
from tests.benchmarks.processes import ROOT

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SINGLES = 2_000  # posts by which the rate of accepting is measured
CLAIM_SECONDS = 3.0
CALLS = 20  # of each list
BODY = (
    '{"from": "us@example.org", "to": ["nNUMBER@example.org"], "subject": "Message NUMBER",'
    ' "text": "Hello, this is number NUMBER. It says little, in a line or two, as most do.",'
    ' "reference": "rNUMBER", "tags": ["orders"]}'
)
LISTS = {
    "newest": "",
    "by status": "status=queued",
    "by tag": "tag=orders",
    "by address": "to=n00000007@example.org",
    "nothing found": "tag=none",
    "failed": "status=failed",
    "by reference, deep": "reference=r00000001",
    "by time": "created_after=2020-01-01T00:00:00Z&created_before=2020-01-02T00:00:00Z",
}
HEAD = (
    "waiting", "accepted/s, in batches", "accepted/s", "claimed and delivered/s", "peak RSS MB",
    "restart to ready", "after `kill -9`", "slowest list",
)  # fmt: skip


class Heap:
    """A server whose queue is paused, on a journal that outlives it."""

    def __init__(self, folder, sink):
        self.folder, self.sink = folder, sink
        self.count = 0

    def start(self):
        self.server = NotifierBatch(self.folder, self.sink, max_backlog=2_000_000)
        self.server.body = BODY
        self.server.__enter__()

    def call(self, path, method="GET"):
        request = urllib.request.Request(self.server.at(path), method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def fill(self, size):
        """The rate at which it took what was missing."""
        report = client(self.server, count=size - self.count, first=self.count)
        self.count = size
        return report["accepted_per_second"]

    def take_singly(self):
        self.server.batch, self.server.path = 0, Notifier.path
        report = client(self.server, count=SINGLES, first=80_000_000 + self.count)
        self.server.batch, self.server.path = NotifierBatch.batch, NotifierBatch.path
        return report["accepted_per_second"]

    def deliver_some(self):
        """Messages a second that leave while the queue runs."""
        self.sink.ask("reset")
        self.call("/v1/queue/resume", "POST")
        time.sleep(CLAIM_SECONDS)
        self.call("/v1/queue/pause", "POST")
        time.sleep(0.5)
        return self.sink.ask("report")["per_second"] or 0.0

    def list_times(self):
        for name, query in LISTS.items():
            times = []
            for _ in range(CALLS):
                begun = time.monotonic()
                self.call(f"/v1/messages?limit=50&{query}")
                times.append((time.monotonic() - begun) * 1000)
            yield name, percentile(sorted(times), 0.5)

    def restart(self, number):
        """Seconds from starting it again to ready."""
        process = self.server.family.roots[0]
        process.send_signal(number)
        process.wait(30)
        self.start()
        return self.server.start_seconds

    def stop(self):
        with contextlib.suppress(AttributeError):
            self.server.__exit__()

    def grown(self, size):
        """What is found with so many waiting."""
        found = {"batches": self.fill(size), "singles": self.take_singly()}
        rss = self.server.family.rss()
        found["lists"] = dict(self.list_times())
        rss = max(rss, self.server.family.rss())
        found["ready"] = self.restart(signal.SIGTERM)
        found["after kill"] = self.restart(signal.SIGKILL)
        found["delivered"] = self.deliver_some()
        return found | {"rss": max(rss, self.server.family.rss())}


def waiting(report, sizes=SIZES, **_):
    """The curve from a thousand to a million."""
    report.table(*HEAD)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name, Sink() as sink:
        heap = Heap(Path(name), sink)
        try:
            heap.start()
            heap.call("/v1/queue/pause", "POST")
            for size in sizes:
                found = report.runs[f"{size} waiting"] = heap.grown(size)
                cells = [found[name] for name in ("batches", "singles", "delivered", "rss")]
                times = [f"{found[name]:.2f} s" for name in ("ready", "after kill")]
                slowest = max(found["lists"].values())
                report.row(f"{size:,}", *map(shown, cells), *times, f"{slowest:.1f} ms")
        finally:
            heap.stop()
