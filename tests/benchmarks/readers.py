"""Thousands who follow the feed: what they cost, and whether deliveries suffer."""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.benchmarks.load import Sink, client, warm_up
from tests.benchmarks.peers import Notifier
from tests.benchmarks.processes import PYTHON, ROOT, until

READERS = 5_000
AT_ONCE = 200  # connecting
POSTED = 5_000
IDLE_SECONDS = 10


def idle_readers(count=READERS):
    """The same load without and with them."""
    for path in ("/v1/events?message=none", "/v1/events"):
        with (
            tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name,
            Sink() as sink,
            Notifier(Path(name), sink) as server,
        ):
            warm_up(server, sink)
            print(f"{path}: without readers {_loaded(server, sink, 0)}")
            before = server.family.roots[0].memory_info().rss
            with _Readers(server, path, count):
                grown = server.family.roots[0].memory_info().rss - before
                spent = server.family.cpu()
                time.sleep(IDLE_SECONDS)
                idle = (server.family.cpu() - spent) / IDLE_SECONDS * 100
                print(f"{count:,} readers: {grown / count / 1000:.1f} kB each; while nothing"
                      f" happens {idle:.0f} % of a core")  # fmt: skip
                loaded = _loaded(server, sink, 1)
                print(f"{path}: with {count:,} readers {loaded};"
                      f" peak RSS {server.family.rss():.0f} MB", flush=True)  # fmt: skip


def _loaded(server, sink, number):
    sink.ask("reset")
    report = client(server, count=POSTED, first=number * POSTED)
    until(lambda: sink.has(POSTED), server.told, seconds=90)
    seconds = sink.ask("report")["last"] - report["begun"]
    waits = report["accept_ms"]
    return f"{POSTED / seconds:,.0f} delivered/s, accepted within p99 {waits['p99']:.0f} ms"


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
