"""
What notifier does in a second, and what a message costs.

    python -m tests.benchmarks [--count 20000] [--runs 3]

Starts the server, a sink and a client as processes of their own on loopback, and prints a
table: the medians of several runs at full load, then one run at half of what was reached,
where the time from POST to final dot tells how long a message takes.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from msgspec import Struct

from tests.process import environment, free_port

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 120.0  # for any one run


class Figures(Struct):
    """One run. Times in milliseconds, CPU in microseconds a message, memory in MB."""

    accepted: float
    delivered: float
    p50: float
    p99: float
    cpu: float
    rss: float


class Sink:
    """The relay: a process that takes everything."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.sink"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = json.loads(self.process.stdout.readline())["port"]
        return self

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __exit__(self, *exc_info):
        self.process.stdin.close()
        self.process.wait(10)


class Server:
    """notifier on a fresh data directory."""

    def __init__(self, folder, sink, **settings):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        relays = f"smtp://127.0.0.1:{sink.port}?messages_per_connection=1000"
        self.environment = environment(
            relays=relays, data_dir=folder / "data", port=self.port, **settings
        )
        self.log = folder / "log.jsonl"

    def __enter__(self):
        begun = time.monotonic()
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "notifier", "serve"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        while not self.ready():
            if time.monotonic() > begun + 15 or self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.01)
        self.start_seconds = time.monotonic() - begun
        return self

    def ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def cpu(self):
        times = self.process.cpu_times()
        return times.user + times.system

    def rss(self):
        return self.process.memory_info().rss / 1e6

    def __exit__(self, *exc_info):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def client(server, folder, *, count, rate=None, connections=64, path="/v1/messages", batch=0):
    arguments = ["--url", server.url + path, "--count", str(count)]
    arguments += ["--times", str(folder / "sent"), "--connections", str(connections)]
    arguments += ["--rate", str(rate)] if rate else []
    arguments += ["--batch", str(batch)] if batch else []
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.client", *arguments],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        timeout=LIMIT_SECONDS,
    )
    return json.loads(done.stdout)


def run(sink, *, count, **load):
    """One run on a fresh journal; how long the server took to start, and its figures."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        sink.ask("reset")
        with Server(folder, sink) as server:
            before = server.cpu()
            report = client(server, folder, count=count, **load)
            if report["accepted"] != count:
                raise SystemExit(f"not all was accepted: {report}")
            deadline = time.monotonic() + LIMIT_SECONDS
            while sink.ask("report")["messages"] < count and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.2)  # for the last records
            spent, rss = server.cpu() - before, server.rss()
            arrived = sink.ask(f"times {folder / 'arrived'}")
            if arrived["distinct"] != count or arrived["duplicates"]:
                raise SystemExit(f"not each was delivered once: {arrived}")
            waits = _waits(folder)
            figures = Figures(
                accepted=report["accepted_per_second"],
                delivered=count / (arrived["last"] - report["begun"]),
                p50=waits[len(waits) // 2],
                p99=waits[len(waits) * 99 // 100],
                cpu=spent / count * 1e6,
                rss=rss,
            )
            return server.start_seconds, figures


def _waits(folder):
    """Milliseconds from POST to final dot, in order."""
    sent = {}
    for line in (folder / "sent").read_text().splitlines():
        key, at, *_ = line.split()
        sent[key] = float(at)
    arrived = (line.split() for line in (folder / "arrived").read_text().splitlines())
    return sorted((float(at) - sent[key]) * 1000 for key, at in arrived)


def median(runs):
    return Figures(*(statistics.median(each) for each in zip(*map(_values, runs), strict=True)))


def _values(figures):
    return [getattr(figures, name) for name in Figures.__struct_fields__]


def row(name, figures):
    return (
        f"| {name} | {figures.accepted:,.0f} | {figures.delivered:,.0f} | {figures.p50:.1f} "
        f"| {figures.p99:.1f} | {figures.cpu:.0f} | {figures.rss:.0f} |"
    )


def main():
    parser = argparse.ArgumentParser(prog="tests.benchmarks")
    parser.add_argument("--count", type=int, default=20_000, help="messages a run")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with Sink() as sink:
        run(sink, count=min(arguments.count, 2000))  # so that files and caches are warm
        full = [run(sink, count=arguments.count) for _ in range(arguments.runs)]
        best = median([figures for _, figures in full])
        rate = int(best.delivered / 2)
        _, half = run(sink, count=min(arguments.count, rate * 8), rate=rate)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores for all of it\n")
    print("| load | accepted/s | delivered/s | p50 ms | p99 ms | CPU µs/message | RSS MB |")
    print("|---|---|---|---|---|---|---|")
    print(row("full, 64 connections", best))
    print(row(f"half, {rate}/s", half))
    starts = [seconds for seconds, _ in full]
    print(f"\nstart to ready: {statistics.median(starts):.2f} s; median of {len(full)} runs")


if __name__ == "__main__":
    main()
