"""Thousands who follow the feed: what they cost, and whether deliveries suffer."""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from tests.benchmarks.load import Sink, client, warm_up
from tests.benchmarks.peers import Notifier
from tests.benchmarks.processes import PYTHON, ROOT, until

READERS = 5_000
AT_ONCE = 200  # connecting
POSTED = 5_000
ROUNDS = 5  # of so many messages, without and with readers
IDLE_SECONDS = 20
WAITS = {
    "from": "us@example.org",
    "to": ["later@example.org"],
    "subject": "Later",
    "text": "This one waits, and nothing happens to it.",
}


def idle_readers(*_, **__):
    """The same load without and with those who follow one message that waits, or all."""
    for path in ("/v1/events?message={id}", "/v1/events"):
        with (
            tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name,
            Sink() as sink,
            Notifier(Path(name), sink) as server,
        ):
            warm_up(server, sink)
            _compare(server, sink, path.format(id=_waiting(server)), READERS)


def _compare(server, sink, path, count):
    _loaded(server, sink, 0)  # a new journal and new connections are slower for some seconds
    print(f"{path}: without readers {_loaded(server, sink, ROUNDS)}")
    before = server.family.roots[0].memory_info().rss
    with _Readers(server, path, count):
        grown = server.family.roots[0].memory_info().rss - before
        spent = server.family.cpu()
        time.sleep(IDLE_SECONDS)
        idle = (server.family.cpu() - spent) / IDLE_SECONDS * 100
        print(f"{count:,} readers: {grown / count / 1000:.1f} kB each; while nothing"
              f" happens {idle:.1f} % of a core")  # fmt: skip
        loaded = _loaded(server, sink, 2 * ROUNDS)
        print(f"{path}: with {count:,} readers {loaded};"
              f" peak RSS {server.family.rss():.0f} MB", flush=True)  # fmt: skip


def _waiting(server):
    """The id of a message that will not be sent today."""
    later = datetime.now(UTC) + timedelta(days=1)
    body = json.dumps(WAITS | {"send_at": later.isoformat()}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.at("/v1/messages"), body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["id"]


def _loaded(server, sink, first):
    """What is done in a second, the median of some rounds."""
    rounds = [_round(server, sink, first + each) for each in range(ROUNDS)]
    delivered, cpu, p99 = (statistics.median(each) for each in zip(*rounds, strict=True))
    return (f"{delivered:,.0f} delivered/s, {cpu:.0f} µs CPU a message,"
            f" accepted within p99 {p99:.0f} ms")  # fmt: skip


def _round(server, sink, number):
    sink.ask("reset")
    spent = server.family.cpu()
    report = client(server, count=POSTED, first=number * POSTED)
    until(lambda: sink.has(POSTED), server.last_output, seconds=90)
    seconds = sink.ask("report")["last"] - report["begun"]
    cpu = (server.family.cpu() - spent) / POSTED * 1e6
    return POSTED / seconds, cpu, report["accept_ms"]["p99"]


class _Readers:
    """A process that follows over many connections."""

    def __init__(self, server, path, count):
        self.command = [PYTHON, "-m", "tests.benchmarks.readers", "--port", str(server.port)]
        self.command += ["--path", path, "--count", str(count)]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        json.loads(self.process.stdout.readline())  # all have come
        return self

    def __exit__(self, *exc_info):
        self.process.stdin.close()
        print(f"  what they read: {self.process.stdout.readline().strip()}")
        self.process.wait(30)
        self.process.stdout.close()


class _Reader(asyncio.Protocol):
    """Counts what it reads, and looks no further."""

    octets = 0
    events = 0
    lost = 0

    def __init__(self, path, begun):
        self.path, self.begun = path, begun

    def connection_made(self, transport):
        self.transport = transport
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def data_received(self, data):
        if self.begun is not None:
            self.begun.set_result(None)
            self.begun = None
        _Reader.octets += len(data)
        _Reader.events += data.count(b"event: message")

    def connection_lost(self, error):
        _Reader.lost += 1


async def main(arguments):
    loop = asyncio.get_running_loop()
    transports = []
    for _ in range(0, arguments.count, AT_ONCE):
        begun = [loop.create_future() for _ in range(AT_ONCE)]
        made = [
            loop.create_connection(
                lambda each=each: _Reader(arguments.path, each), "127.0.0.1", arguments.port
            )
            for each in begun
        ]
        transports += [transport for transport, _ in await asyncio.gather(*made)]
        await asyncio.gather(*begun)
    print(json.dumps({"open": len(transports)}), flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(120):
            await loop.run_in_executor(None, sys.stdin.read)  # until whoever started us is done
    print(json.dumps({"octets": _Reader.octets, "events": _Reader.events, "lost": _Reader.lost}))
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.benchmarks.readers")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/events")
    parser.add_argument("--count", type=int, default=READERS)
    uvloop.run(main(parser.parse_args()))
