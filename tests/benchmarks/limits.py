"""What no service of this kind can do without: each part by itself, with nothing around it."""

import json
import os
import subprocess
import tempfile
import time

import psutil

from tests.benchmarks.figures import Figures
from tests.benchmarks.peers import SERVE, Peer, listens
from tests.benchmarks.postfix import PACKAGE, program
from tests.benchmarks.processes import PYTHON, ROOT, until
from tests.process import free_port

APPS = "tests.benchmarks.apps"


class Bare(Peer):
    name = "limit: an ASGI application that only parses"
    delivers = False

    def start(self):
        app = f"{APPS}.bare_app:app"
        self.run(PYTHON, "-m", *SERVE, "--lifespan", "off", app, "--port", str(self.port))


def sender(sink, count):
    """SMTP alone."""
    sink.ask("reset")
    rate, cpu = alone("bare_sender", count, "--port", str(sink.port))
    if sink.ask("report")["distinct"] != count:
        raise SystemExit(f"the bare sender did not deliver each: {sink.ask('report')}")
    return Figures(delivered=rate, cpu=cpu)


def journal(_, count):
    """SQLite alone: a message in, out, and its end."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        rate, cpu = alone("bare_journal", count, "--folder", name)
    return Figures(accepted=rate, delivered=rate, cpu=cpu)


def alone(app, count, *options):
    """Messages a second, and CPU in µs a message."""
    command = [PYTHON, "-m", f"{APPS}.{app}", "--count", str(count), *options]
    done = subprocess.run(
        command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE, timeout=60
    )
    found = json.loads(done.stdout)
    return count / found["seconds"], found["cpu"] / count * 1e6


def postfix_tools(_, count):
    """What smtp-source can hand to smtp-sink."""
    port = free_port()
    # Root is asked to name a user to run as.
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = psutil.Popen(
        [program("smtp-sink"), *user, "-c", f"127.0.0.1:{port}", "1024"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: listens(port), "smtp-sink does not listen")
        begun = time.monotonic()
        load = ["-s", "16", "-l", "600", "-m", str(count), "-d"]
        load += ["-f", "us@example.org", "-t", "ann@example.org"]
        subprocess.run([program("smtp-source"), *load, f"127.0.0.1:{port}"], check=True, timeout=60)
        rate = count / (time.monotonic() - begun)
    finally:
        process.terminate()
        process.wait(10)
    return Figures(accepted=rate, delivered=rate)


def without_postfix_tools():
    return "" if program("smtp-sink") and program("smtp-source") else PACKAGE
