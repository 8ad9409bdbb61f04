"""Processes that a benchmark starts, what they cost, and how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
READY_SECONDS = 20.0
END_SECONDS = 20.0
PYTHON = sys.executable


class Family:
    """Processes with all their children, those that have ended and were waited for included."""

    def __init__(self):
        self.roots = []

    def start(self, *command, log, env=None, cwd=ROOT):
        with log.open("ab") as output:
            process = psutil.Popen(
                command, cwd=cwd, env=os.environ | (env or {}), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip
        self.roots.append(process)
        return process

    def living(self):
        for root in self.roots:
            if root.is_running():
                yield from (root, *root.children(recursive=True))

    def cpu(self):
        """Seconds, so far."""
        return sum(sum(_unless_gone(each.cpu_times, (0.0,))[:4]) for each in self.living())

    def written(self):
        """Kilobytes to disk, so far."""
        return sum(_unless_gone(lambda each=each: _written(each), 0.0) for each in self.living())

    def rss(self):
        """MB: the peak of each, summed. What processes share is counted for each of them."""
        return sum(_unless_gone(lambda each=each: _peak(each.pid), 0.0) for each in self.living())

    def end(self):
        for process in reversed(self.roots):
            if process.is_running():
                process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(self.roots, END_SECONDS)
        for process in left:
            for each in (*process.children(recursive=True), process):
                each.kill()
        psutil.wait_procs(left, END_SECONDS)


def _peak(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) * 1024 / 1e6 if found else 0.0


def _written(process):
    return process.io_counters().write_bytes / 1000


def _unless_gone(ask, otherwise):
    try:
        return ask()
    except (psutil.Error, FileNotFoundError, ProcessLookupError):
        return otherwise


def until(condition, what, *, seconds=READY_SECONDS, pause=0.02):
    """Wait for a condition; how many seconds that took. Raises SystemExit when it takes longer."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + seconds:
            raise SystemExit(f"waited {seconds} s in vain: {what() if callable(what) else what}")
        time.sleep(pause)
    return time.monotonic() - begun
