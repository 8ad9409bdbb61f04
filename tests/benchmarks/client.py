"""
Posts numbered messages over keep-alive connections, as fast as they are answered or at a rate.

    python -m tests.benchmarks.client --url http://127.0.0.1:8014/v1/messages --count 20000

It prints one line of JSON. Each message's recipient is `nNUMBER@example.org`, so that it can be
found again at the sink. NUMBER stands for the number in the body and in header fields.
`--times PATH` writes a line `KEY SENT ANSWERED STATUS` for each, in
seconds of CLOCK_MONOTONIC. With `--rate` the load is open-loop: a message counts from the moment
when it was due, so that a server that stalls cannot hide behind a client that waits for it.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

NUMBER = b"NUMBER"  # stands for the message's number in a body
BODY = (
    '{"from": "us@example.org", "to": ["nNUMBER@example.org"], "subject": "Message NUMBER",'
    ' "text": "Hello, this is number NUMBER. It says little, in a line or two, as most do."}'
)
MOST_RECONNECTS = 1000  # in all; a server that is gone is not worth more
RECONNECT_SECONDS = 0.05
TAKEN_SECONDS = 0.3  # for the server to take the connections, before the load begins at its rate
LOST = "lost"  # what is counted as status when a connection breaks before the answer


class Answer(NamedTuple):
    """One message, or one batch: its first number, and what became of it."""

    number: int
    sent: float
    answered: float
    status: str


class Requests:
    """Builds each request from pieces, between which its number stands with as many digits."""

    def __init__(self, url: str, body: str, headers: list[str], *, batch: int) -> None:
        target = urlsplit(url)
        self.host, self.port = target.hostname or "127.0.0.1", target.port or 80
        self.batch = batch
        self.pieces = body.encode().split(NUMBER)
        length = len(self.body(0))
        lines = [
            f"POST {target.path or '/'}{'?' + target.query if target.query else ''} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            f"Content-Length: {length}",
            *headers,
        ]
        self.head = ("\r\n".join(lines) + "\r\n\r\n").encode().split(NUMBER)

    def body(self, number: int) -> bytes:
        if not self.batch:
            return (b"%08d" % number).join(self.pieces)
        each = [(b"%08d" % n).join(self.pieces) for n in range(number, number + self.batch)]
        return b"[" + b",".join(each) + b"]"

    def request(self, number: int) -> bytes:
        return (b"%08d" % number).join(self.head) + self.body(number)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way. RFC 9112."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.rest = b""
        self.number: int | None = None
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.load.ready(self)

    def send(self, number: int, due: float | None) -> None:
        self.number = number
        now = time.monotonic()
        self.sent = now if due is None else due
        self.load.lag = max(self.load.lag, now - self.sent)
        self.transport.write(self.load.requests.request(number))

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        if not whole(data):
            self.rest = data
            return
        self.rest = b""
        number, self.number = self.number, None
        if number is not None:
            self.load.answered(number, self.sent, data[9:12].decode("latin-1"))
        if b"\r\nconnection: close" in data[: data.find(b"\r\n\r\n")].lower():
            self.transport.close()
        else:
            self.load.ready(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.number is not None:
            self.load.answered(self.number, self.sent, LOST)
        self.load.lost(self)


def whole(data: bytes) -> bool:
    """Whether an answer has come to its end."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = data[:end].lower()
    found = head.find(b"\r\ncontent-length:")
    if found >= 0:
        line_end = head.find(b"\r\n", found + 2)
        length = int(head[found + 17 : line_end if line_end > 0 else end])
        return len(data) >= end + 4 + length
    if b"\r\ntransfer-encoding: chunked" in head:
        return data.endswith(b"\r\n0\r\n\r\n")
    return True


class Load:
    """The run: what is to be sent, what is under way, and what came of it."""

    def __init__(self, requests: Requests, *, count: int, first: int, rate: float | None) -> None:
        self.requests = requests
        self.step = requests.batch or 1
        self.next = first
        self.left = -(-count // self.step)  # requests that are not answered yet
        self.end = first + self.left * self.step
        self.rate = rate
        self.answers: list[Answer] = []
        self.idle: deque[Connection] = deque()
        self.due: deque[tuple[int, float]] = deque()  # open loop: due, but no connection is free
        self.lag = 0.0  # how late the latest was sent after it was due
        self.open = 0
        self.reconnects = 0
        self.done = asyncio.Event()
        self.reconnecting: set[asyncio.Task[None]] = set()
        self.running = False

    async def run(self, *, connections: int, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await asyncio.gather(*(self.connect() for _ in range(connections)))
                self.running = True
                if self.rate:
                    await asyncio.sleep(TAKEN_SECONDS)
                    pace = self.rate, asyncio.get_running_loop()
                    threading.Thread(target=self.keep_pace, args=pace, daemon=True).start()
                else:
                    while self.idle and self.next < self.end:
                        self.ready(self.idle.popleft())
                await self.done.wait()
        except TimeoutError:
            sys.stderr.write(f"not all was answered within {limit} s\n")

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(
            lambda: Connection(self), self.requests.host, self.requests.port
        )
        self.open += 1

    def keep_pace(self, rate: float, loop: asyncio.AbstractEventLoop) -> None:
        """
        Tell the loop of each message when it is due, from a thread. The timers of uvloop count
        whole milliseconds; with shorter ones the loop would never rest, and take a core.
        """
        begun, interval = time.monotonic(), self.step / rate
        with contextlib.suppress(RuntimeError):  # the loop was closed, because time was up
            for sent, number in enumerate(range(self.next, self.end, self.step)):
                due = begun + sent * interval
                time.sleep(max(0.0, due - time.monotonic()))
                loop.call_soon_threadsafe(self.come_due, number, due)

    def come_due(self, number: int, due: float) -> None:
        self.due.append((number, due))
        self.pump()

    def pump(self) -> None:
        while self.idle and self.due:
            self.idle.popleft().send(*self.due.popleft())

    def ready(self, connection: Connection) -> None:
        if self.running and not self.rate and self.next < self.end:
            self.next += self.step
            connection.send(self.next - self.step, None)
            return
        self.idle.append(connection)
        self.pump()

    def answered(self, number: int, sent: float, status: str) -> None:
        self.answers.append(Answer(number, sent, time.monotonic(), status))
        self.left -= 1
        if self.left == 0:
            self.done.set()

    def lost(self, connection: Connection) -> None:
        """A connection broke. Its message is not sent again: it may have been accepted."""
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        task = asyncio.create_task(self.reconnect())
        self.reconnecting.add(task)
        task.add_done_callback(self.reconnecting.discard)

    async def reconnect(self) -> None:
        while self.left and self.reconnects < MOST_RECONNECTS:
            self.reconnects += 1
            await asyncio.sleep(RECONNECT_SECONDS)
            with contextlib.suppress(OSError):
                return await self.connect()
        if not self.open:
            self.done.set()
        return None

    def report(self) -> dict[str, object]:
        statuses = Counter(answer.status for answer in self.answers)
        accepted = [answer for answer in self.answers if answer.status.startswith("2")]
        begun = min((answer.sent for answer in self.answers), default=0.0)
        ended = max((answer.answered for answer in accepted), default=begun)
        waits = sorted((answer.answered - answer.sent) * 1000 for answer in accepted)
        return {
            "accepted": len(accepted) * self.step,
            "accepted_per_second": len(accepted) * self.step / (ended - begun or 1.0),
            "seconds": ended - begun,
            "begun": begun,
            "accept_ms": {
                "p50": percentile(waits, 0.50),
                "p99": percentile(waits, 0.99),
                "max": waits[-1] if waits else None,
            },
            "statuses": statuses,
            "unanswered": self.left,
            "reconnects": self.reconnects,
            "lag_ms": self.lag * 1000,
            "cpu_seconds": time.process_time(),
        }

    def write_times(self, path: Path) -> None:
        with path.open("w") as file:
            for answer in self.answers:
                for number in range(answer.number, answer.number + self.step):
                    file.write(
                        f"n{number:08d} {answer.sent!r} {answer.answered!r} {answer.status}\n"
                    )


def percentile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.client")
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, default=10_000, help="messages")
    parser.add_argument("--first", type=int, default=0, help="the first one's number")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, help="messages a second; else as fast as answered")
    parser.add_argument("--batch", type=int, default=0, help="messages a request, as an array")
    parser.add_argument("--body", type=Path, help="a file of JSON with NUMBER in it")
    parser.add_argument("--header", action="append", default=[], help="such as 'X-Api-Key: k'")
    parser.add_argument("--times", type=Path, help="where to write each message's times")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds after which it ends")
    return parser.parse_args(argv)


async def main(arguments: argparse.Namespace) -> None:
    body = arguments.body.read_text() if arguments.body else BODY
    requests = Requests(arguments.url, body, arguments.header, batch=arguments.batch)
    load = Load(requests, count=arguments.count, first=arguments.first, rate=arguments.rate)
    await load.run(connections=arguments.connections, limit=arguments.limit)
    if arguments.times:
        load.write_times(arguments.times)
    sys.stdout.write(json.dumps(load.report()) + "\n")


if __name__ == "__main__":
    uvloop.run(main(parsed()))
