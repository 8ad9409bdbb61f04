"""
Where the microseconds of a message go: py-spy samples the server under full load, and each sample
counts for the innermost of our functions that it lies in, or for the library around it. What the
samples of a thread are worth is the thread's own CPU time: one that waits is sampled, too.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from msgspec import Struct

from tests.benchmarks.capabilities import Keyed, Told
from tests.benchmarks.load import Sink, client, warm_up
from tests.benchmarks.peers import Notifier, NotifierBatch
from tests.benchmarks.processes import ROOT, until


class Load(Struct):
    """What the server is given to do while it is sampled."""

    name: str
    kind: type
    rate: float | None = None
    share: float = 1.0  # of the messages of a run
    samples: int = 250  # a second

    def messages(self, count):
        return round(self.rate * RATE_SECONDS if self.rate else count * self.share)


RATE_SECONDS = 15  # at a rate
LOADS = {
    "full": Load("full load", Notifier),
    "half": Load("1,200 messages a second", Notifier, rate=1200),
    "slow": Load("10 messages a second", Notifier, rate=10, samples=1000),
    "keyed": Load("API key, idempotency key, return path", Keyed, share=0.5),
    "told": Load("callbacks besides", Told, share=0.2),
    "batch": Load("batches of 100", NotifierBatch),
}
# What a frame's file tells, the innermost that is known decides.
STEPS = {
    "uvicorn/": "HTTP: uvicorn",
    "litestar/": "HTTP: Litestar",
    "notifier/server/protocol.py": "HTTP: reading and writing",
    "notifier/web/": "HTTP: our handlers, the answer",
    "notifier/keys/": "keys and limits",
    "notifier/intake/rates.py": "keys and limits",
    "notifier/intake/": "admission",
    "notifier/compose/": "composing, addresses",
    "notifier/verp.py": "return paths",
    "notifier/smtp/return_path.py": "return paths",
    "notifier/journal/sqlite/additions.py": "journal: new rows",
    "notifier/journal/sqlite/rows.py": "journal: rows",
    "notifier/journal/sqlite/claims.py": "journal: claims",
    "notifier/journal/sqlite/changes.py": "journal: outcomes",
    "notifier/journal/sqlite/writer.py": "journal: commit, fsync",
    "notifier/journal/": "journal: records, threads, answers",
    "notifier/smtp/": "SMTP",
    "notifier/callbacks/": "callbacks",
    "notifier/http_client.py": "callbacks",
    "httpx2/": "callbacks",
    "httpcore2/": "callbacks",
    "notifier/dispatch/": "dispatch",
    "notifier/deliveries.py": "dispatch",
    "notifier/logs/": "log lines",
    "structlog/": "log lines",
    "notifier/feed.py": "feed",
    "notifier/housekeeping/history.py": "figures of a day",
    "notifier/housekeeping/": "housekeeping",
}


def costs(report, loads, count):
    """A table for each load: its steps, and what each costs a message."""
    pyspy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if pyspy is None:
        raise SystemExit("not installed: py-spy (pip install -e '.[benchmarks]')")
    for name in loads:
        load = LOADS[name]
        with (
            tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder,
            Sink() as sink,
            load.kind(Path(folder), sink) as server,
        ):
            warm_up(server, sink)
            _sampled(report, name, server, sink, pyspy, load.messages(count))


def _sampled(report, name, server, sink, pyspy, count):
    load, stacks = LOADS[name], server.folder / "stacks"
    process = server.family.roots[0]
    command = [pyspy, "record", "--pid", str(process.pid), "--format", "raw", "--threads"]
    command += ["--rate", str(load.samples), "--duration", "90", "--full-filenames"]
    before = cpu_by_thread(process)
    sampling = subprocess.Popen(
        [*command, "--output", str(stacks)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        client(server, count=count, rate=load.rate)
        until(lambda: sink.has(count), server.told, seconds=60)
        server.settle(count)
    finally:
        sampling.send_signal(2)  # it writes what it has
        sampling.wait(30)
    spent = {
        thread: (seconds - before.get(thread, 0.0)) / count * 1e6
        for thread, seconds in cpu_by_thread(process).items()
    }
    steps = worth(stacks.read_text().splitlines(), spent)
    report.runs[name] = steps
    report.table(f"step, {load.name}", f"CPU µs/message, of {sum(spent.values()):.0f}")
    for step, each in steps.most_common():
        report.row(step, f"{each:.0f}")


def cpu_by_thread(process):
    """Seconds."""
    return {each.id: each.user_time + each.system_time for each in process.threads()}


def worth(stacks, spent):
    """Each step's share, given the CPU of a message by thread."""
    samples = defaultdict(Counter)
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        thread, *frames = stack.split(";")
        samples[int(re.search(r"\d+", thread)[0])][step_of(frames)] += int(number)
    steps = Counter()
    for thread, counted in samples.items():
        for step, number in counted.items():
            steps[step] += spent.get(thread, 0.0) * number / counted.total()
    return steps


def step_of(frames):
    for frame in reversed(frames):
        for place, step in STEPS.items():
            if place in frame:
                return step
    return "event loop, interpreter"
