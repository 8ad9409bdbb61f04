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

from tests.benchmarks.load import Sink, client, warm_up
from tests.benchmarks.peers import Notifier
from tests.benchmarks.processes import ROOT, until

RATE = 250  # samples a second
# What a frame's file tells, the innermost that is known decides.
STEPS = {
    "uvicorn/": "HTTP: uvicorn",
    "litestar/": "HTTP: Litestar",
    "notifier/server/protocol.py": "HTTP: reading and writing",
    "notifier/web/": "HTTP: our handlers, the answer",
    "notifier/keys/": "keys and limits",
    "notifier/intake/rates.py": "keys and limits",
    "notifier/intake/submission.py": "admission",
    "notifier/intake/admission.py": "admission",
    "notifier/compose/": "composing, addresses",
    "notifier/journal/sqlite/additions.py": "journal: new rows",
    "notifier/journal/sqlite/inserts.py": "journal: new rows",
    "notifier/journal/sqlite/rows.py": "journal: rows",
    "notifier/journal/sqlite/claims.py": "journal: claims",
    "notifier/journal/sqlite/writer.py": "journal: commit, fsync",
    "notifier/journal/": "journal: records, threads, answers",
    "notifier/smtp/": "SMTP",
    "notifier/dispatch/dispatcher.py": "dispatch",
    "notifier/deliveries.py": "dispatch",
    "notifier/dispatch/shares.py": "dispatch",
    "notifier/logs/": "log lines",
    "structlog/": "log lines",
    "notifier/feed.py": "feed",
    "notifier/housekeeping/history.py": "figures of a day",
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
        process = server.family.roots[0]
        command = [pyspy, "record", "--pid", str(process.pid), "--format", "raw", "--threads"]
        command += ["--rate", str(RATE), "--duration", "60", "--full-filenames"]
        before = cpu_by_thread(process)
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
        spent = {
            thread: (seconds - before.get(thread, 0.0)) / count * 1e6
            for thread, seconds in cpu_by_thread(process).items()
        }
        tell(stacks.read_text().splitlines(), spent)


def cpu_by_thread(process):
    """Seconds."""
    return {each.id: each.user_time + each.system_time for each in process.threads()}


def tell(stacks, spent):
    """A table of the steps, given the CPU of a message by thread."""
    samples = defaultdict(Counter)
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        thread, *frames = stack.split(";")
        samples[int(re.search(r"\d+", thread)[0])][step_of(frames)] += int(number)
    steps = Counter()
    for thread, counted in samples.items():
        for step, number in counted.items():
            steps[step] += spent.get(thread, 0.0) * number / counted.total()
    print(f"| step | µs CPU/message, of {sum(spent.values()):.0f} |\n|---|---|")
    for step, worth in steps.most_common():
        print(f"| {step} | {worth:.0f} |")


def step_of(frames):
    for frame in reversed(frames):
        for place, step in STEPS.items():
            if place in frame:
                return step
    return "event loop, interpreter"
