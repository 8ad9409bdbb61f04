"""
Where the microseconds of a message go: py-spy samples the server under full load, and each sample
counts for the outermost function of ours that it lies in, or for the library around it.
"""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.benchmarks.load import Sink, client, warm_up
from tests.benchmarks.peers import Notifier
from tests.benchmarks.processes import ROOT, until

RATE = 250  # samples a second
# What a frame's file tells, the innermost that is known decides.
STEPS = {
    "uvicorn/": "HTTP: uvicorn",
    "litestar/": "HTTP: Litestar",
    "notifier/web/": "HTTP: our handlers, the answer",
    "notifier/keys/": "keys and limits",
    "notifier/limits.py": "keys and limits",
    "notifier/desk.py": "admission",
    "notifier/admission.py": "admission",
    "notifier/compose/": "composing, addresses",
    "notifier/journal/sqlite/additions.py": "journal: new rows",
    "notifier/journal/sqlite/inserts.py": "journal: new rows",
    "notifier/journal/sqlite/rows.py": "journal: rows",
    "notifier/journal/sqlite/claims.py": "journal: claims",
    "notifier/journal/sqlite/writer.py": "journal: commit, fsync",
    "notifier/journal/": "journal: records, threads, answers",
    "notifier/smtp/": "SMTP",
    "notifier/dispatch.py": "dispatch",
    "notifier/deliveries.py": "dispatch",
    "notifier/lanes.py": "dispatch",
    "notifier/logs/": "log lines",
    "structlog/": "log lines",
    "notifier/feed.py": "feed",
    "notifier/history.py": "figures of a day",
}


def costs(count):
    pyspy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if pyspy is None:
        raise SystemExit("not installed: py-spy (pip install -e '.[benchmarks]')")
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name,
        Sink() as sink,
        Notifier(Path(name), sink) as server,
    ):
        warm_up(server, sink)
        stacks = Path(name) / "stacks"
        command = [pyspy, "record", "--pid", str(server.family.roots[0].pid), "--format", "raw"]
        command += ["--rate", str(RATE), "--duration", "60", "--full-filenames"]
        before = server.family.cpu()
        sampling = subprocess.Popen(
            [*command, "--output", str(stacks)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            client(server, count=count)
            until(lambda: sink.has(count), server.told, seconds=60)
        finally:
            sampling.send_signal(2)  # it writes what it has
            sampling.wait(30)
        spent = (server.family.cpu() - before) / count * 1e6
        tell(stacks.read_text().splitlines(), spent)


def tell(stacks, spent):
    """A table of the steps, given all the CPU of a message."""
    samples = Counter()
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        samples[step_of(stack.split(";"))] += int(number)
    total = sum(samples.values())
    print(f"| step | µs CPU/message, of {spent:.0f} |\n|---|---|")
    for step, number in samples.most_common():
        print(f"| {step} | {spent * number / total:.0f} |")


def step_of(frames):
    for frame in reversed(frames):
        for place, step in STEPS.items():
            if place in frame:
                return step
    return "event loop, interpreter"
