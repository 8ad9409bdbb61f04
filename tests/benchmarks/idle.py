"""
What a service costs that has nothing to do, and how long it takes from its start to ready.

Wake-ups are the times that a thread of it went to sleep of itself: each time it must have been
woken. strace, where it is there, tells by which calls; it is a measurement of its own, because a
process that is traced is woken more often.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import shown, spread
from tests.benchmarks.processes import PYTHON, ROOT, Family, until
from tests.process import environment, free_port

LIFE_SECONDS = 30.0  # before it counts as at rest
REST_SECONDS = 60.0
CALLS = 8  # of those that strace counts, the most frequent
REQUEST = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CONFIGURED = {"nothing": {}, "a relay": {"relays": "smtp://127.0.0.1:9"}}


class Version:
    """The code that is measured: what is checked out here, or another commit."""

    def __init__(self, name, folder=ROOT):
        self.name, self.folder = name, folder


@contextlib.contextmanager
def version(ref):
    """A worktree of its own, with this environment's packages."""
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"],
        cwd=ROOT, check=False, capture_output=True,
    )  # fmt: skip
    if known.returncode:
        raise SystemExit(f"--against {ref}: git knows no such commit here")
    git = ("git", "worktree")
    with _folder() as parent:
        folder = parent / "tree"
        subprocess.run([*git, "add", "--quiet", "--detach", folder, ref], cwd=ROOT, check=True)
        try:
            yield Version(ref, folder)
        finally:
            subprocess.run([*git, "remove", "--force", folder], cwd=ROOT, check=True)


class Service:
    """One that is started, and left alone."""

    def __init__(self, version, folder, settings):
        self.version, self.folder = version, folder
        self.port = free_port()
        self.settings = {"data_dir": folder / "data", "port": self.port} | settings

    def __enter__(self):
        self.family, log = Family(), self.folder / "log"
        begun = time.monotonic()
        self.process = self.family.start(
            PYTHON, "-m", "notifier", "serve", log=log, env=environment(**self.settings),
            cwd=self.version.folder,
        )  # fmt: skip
        try:
            until(self.ready, lambda: log.read_text()[-2000:], pause=0.002)
        except BaseException:
            self.family.end()
            raise
        self.start_seconds = time.monotonic() - begun
        return self

    def __exit__(self, *exc_info):
        self.family.end()

    def ready(self):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 2) as s,
        ):
            s.sendall(REQUEST)
            return b" 200 " in s.recv(100)
        return False

    def memory(self):
        """MB that are in use now, shared pages in whole."""
        return self.process.memory_info().rss / 1e6

    def threads(self):
        return len(self.process.threads())

    def slept(self):
        """How often its threads have gone to sleep of themselves."""
        files = Path(f"/proc/{self.process.pid}/task").glob("*/status")
        return sum(
            int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read_text(), re.MULTILINE)[1])
            for file in files
        )


def idle(report, *, against, rounds):
    """Tables: at rest, its calls of the system, and start to ready."""
    with contextlib.ExitStack() as stack:
        versions = [Version("this")]
        if against:
            versions.append(stack.enter_context(version(against)))
        _starts(report, versions, rounds)
        _rest(report, versions)


def _rest(report, versions):
    """All of them side by side: they do nothing that could disturb another."""
    with contextlib.ExitStack() as stack:
        services = {}
        for each in versions:
            for name, settings in CONFIGURED.items():
                folder = stack.enter_context(_folder())
                services[each.name, name] = stack.enter_context(Service(each, folder, settings))
        at_start = {key: each.memory() for key, each in services.items()}
        time.sleep(LIFE_SECONDS)
        before = {key: (each.slept(), each.family.cpu()) for key, each in services.items()}
        time.sleep(REST_SECONDS)
        report.table(
            "version", "configured", "RSS MB when ready", "RSS MB at rest", "wake-ups/s",
            "CPU ms/s", "threads",
        )  # fmt: skip
        for key, each in services.items():
            slept, cpu = before[key]
            found = [
                at_start[key],
                each.memory(),
                (each.slept() - slept) / REST_SECONDS,
                (each.family.cpu() - cpu) / REST_SECONDS * 1000,
            ]
            report.runs[f"at rest, {', '.join(key)}"] = found
            report.row(*key, *map(shown, found), each.threads())
        _calls(report, services["this", "nothing"])


def _calls(report, service):
    """Which calls of the system it makes while it does nothing."""
    if shutil.which("strace") is None:
        sys.stderr.write("not installed: strace\n")
        return
    with tempfile.NamedTemporaryFile("r", prefix="strace-") as found:
        tracing = subprocess.Popen(
            ["strace", "-c", "-f", "-o", found.name, "-p", str(service.process.pid)],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(REST_SECONDS)
        tracing.send_signal(2)  # it writes what it has
        tracing.wait(30)
        # % time, seconds, usecs/call, calls, errors (or nothing), syscall
        rows = [line.split() for line in found.read().splitlines()[2:]]
    counted = {row[-1]: int(row[3]) for row in rows if len(row) > 4 and row[3].isdigit()}
    total = counted.pop("total", 0)
    report.table("system call", "calls/s without work")
    for name, calls in sorted(counted.items(), key=lambda each: -each[1])[:CALLS]:
        report.row(name, shown(calls / REST_SECONDS))
    report.row("all", shown(total / REST_SECONDS))


def _starts(report, versions, rounds):
    """In turns, after one start of each that is not counted: it compiles the modules."""
    found = {each.name: [] for each in versions}
    for number in range(rounds + 1):
        for each in versions:
            with _folder() as folder, Service(each, folder, CONFIGURED["a relay"]) as service:
                if number:
                    found[each.name].append(service.start_seconds * 1000)
    report.runs["start to ready, ms"] = found
    report.table("version", "start to ready, ms", "ratio to the other version")
    for name, times in found.items():
        pairs = zip(found["this"], times, strict=True)
        share = "" if name == "this" else spread([ours / theirs for ours, theirs in pairs])
        report.row(name, spread(times), share)


@contextlib.contextmanager
def _folder():
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        yield Path(name)
