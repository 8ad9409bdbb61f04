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

from tests.benchmarks.capabilities import Keyed, WithCallbacks
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


RATE_SECONDS = 15  # at a rate
PACKAGE = str(ROOT / "notifier")
FUNCTIONS = 40  # that are kept with the steps
LOADS = {
    "full": Load("full load", Notifier),
    "half": Load("half load", Notifier),
    "slow": Load("10 a second", Notifier, rate=10, samples=1000),
    "keyed": Load("API key, idempotency key, return path", Keyed, share=0.5),
    "callbacks": Load("API key, idempotency key, return path, callbacks", WithCallbacks, share=0.2),
    "batch": Load("batches of 100", NotifierBatch),
}
# What a frame's file tells, the innermost that is known decides.
STEPS = {
    "uvicorn/": "HTTP: uvicorn",
    "litestar/": "HTTP: Litestar",
    "notifier/server/protocol.py": "HTTP: reading and writing",
    "notifier/web/bodies.py": "HTTP: JSON",
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
    "notifier/journal/sqlite/contents.py": "journal: contents",
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
    """A table of the steps, and what each costs a message at each load."""
    if "half" in loads and "full" not in loads:
        raise SystemExit("'half' is half of what 'full' reaches: name both")
    loads = [name for name in LOADS if name in loads]
    half = None
    for name in loads:
        load = LOADS[name]
        rate = half if name == "half" else load.rate
        messages = round(rate * RATE_SECONDS if rate else count * load.share)
        with (
            tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder,
            Sink() as sink,
            load.kind(Path(folder), sink) as server,
        ):
            warm_up(server, sink)
            sys.stderr.write(f"{load.name}: {messages} messages\n")
            delivered, steps, functions = sampled(server, sink, messages, rate, load.samples)
        report.runs[name] = {"steps": steps, "functions": functions}
        half = delivered / 2 if name == "full" else half
    _print(report, loads)


def _print(report, loads):
    report.table("step, CPU µs/message", *(LOADS[name].name for name in loads))
    runs = [report.runs[name]["steps"] for name in loads]
    steps = set().union(*runs)
    for step in sorted(steps, key=lambda each: [-steps.get(each, 0.0) for steps in runs]):
        report.row(step, *(f"{steps.get(step, 0.0):.0f}" for steps in runs))
    report.row("all", *(f"{sum(steps.values()):.0f}" for steps in runs))


def sampled(server, sink, count, rate, samples):
    """Messages delivered in a second, what each step cost, and the costliest functions."""
    pyspy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if pyspy is None:
        raise SystemExit("not installed: py-spy (pip install -e '.[benchmarks]')")
    stacks, process = server.folder / "stacks", server.family.roots[0]
    command = [pyspy, "record", "--pid", str(process.pid), "--format", "raw", "--threads"]
    command += ["--rate", str(samples), "--duration", "90", "--full-filenames", "--nonblocking"]
    before = cpu_by_thread(process)
    sampling = subprocess.Popen(
        [*command, "--output", str(stacks)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        begun = client(server, count=count, rate=rate)["begun"]
        until(lambda: sink.has(count), server.last_output, seconds=60)
        server.settle(count)
    finally:
        sampling.send_signal(2)  # it writes what it has
        sampling.wait(30)
    spent = {
        thread: (seconds - before.get(thread, 0.0)) / count * 1e6
        for thread, seconds in cpu_by_thread(process).items()
    }
    delivered = count / (sink.ask("report")["last"] - begun)
    found = stacks.read_text().splitlines()
    functions = worth(found, spent, function_of).most_common(FUNCTIONS)
    return delivered, worth(found, spent, step_of), functions


def cpu_by_thread(process):
    """Seconds."""
    return {each.id: each.user_time + each.system_time for each in process.threads()}


def worth(stacks, spent, place_of):
    """Each place's share, given the CPU of a message by thread."""
    samples = defaultdict(Counter)
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        thread, *frames = stack.split(";")
        samples[int(re.search(r"\d+", thread)[0])][place_of(frames)] += int(number)
    steps = Counter()
    for thread, counted in samples.items():
        for step, number in counted.items():
            steps[step] += spent.get(thread, 0.0) * number / counted.total()
    return steps


def function_of(frames):
    """Of ours, the innermost."""
    return next((each for each in reversed(frames) if PACKAGE in each), "none of ours")


def step_of(frames):
    for frame in reversed(frames):
        for place, step in STEPS.items():
            if place in frame:
                return step
    return "event loop, interpreter"
