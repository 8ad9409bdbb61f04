"""
A relay that takes every mail, as fast as one core can, and remembers when each final dot came.

    python -m tests.benchmarks.sink --port 0 [--delay MS] [--delay-dot MS] [--key header]

At the start it prints `{"port": ...}`, a line of JSON as all that follow. On stdin it is asked
`report`, which prints the figures; `times PATH`, which writes the arrivals to a file, a line
`KEY SECONDS` each, and prints the figures; `reset`, which forgets everything; and `quit`. SIGTERM
prints the figures and ends it, as does the end of stdin where that is a pipe.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
import stat
import sys
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path

import uvloop

EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 67108864\r\n"
REPLIES = {
    b"EHLO": EHLO,
    b"HELO": b"250 sink\r\n",
    b"NOOP": b"250 OK\r\n",
    b"RSET": b"250 OK\r\n",
    b"VRFY": b"252 perhaps\r\n",
}
END = b"\r\n.\r\n"


class Record:
    """What has come in. Times are those of CLOCK_MONOTONIC, which all processes share."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.arrivals: list[tuple[bytes, float]] = []
        self.octets = 0
        self.connections = 0
        self.open = 0
        self.peak = 0

    def report(self) -> dict[str, object]:
        times = [at for _, at in self.arrivals]
        distinct = len({key for key, _ in self.arrivals})
        seconds = max(times) - min(times) if times else 0.0
        return {
            "messages": len(times),
            "distinct": distinct,
            "duplicates": len(times) - distinct,
            "octets": self.octets,
            "connections": self.connections,
            "peak_connections": self.peak,
            "first": min(times, default=None),
            "last": max(times, default=None),
            "seconds": seconds,
            "per_second": (len(times) - 1) / seconds if seconds else None,
            "cpu_seconds": time.process_time(),
        }

    def write_times(self, path: Path) -> None:
        path.write_text("".join(f"{key.decode()} {at!r}\n" for key, at in self.arrivals))


class Session(asyncio.Protocol):
    """One client. Answers all the commands that one read brings with one write."""

    def __init__(self, record: Record, *, delay: float, delay_dot: float, header: bool) -> None:
        self.record = record
        self.delay = delay
        self.delay_dot = delay_dot
        self.header = header
        self.rest = b""
        self.in_data = False
        self.begun = False  # some of the content has been seen
        self.key = b""
        self.outbox: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.record.connections += 1
        self.record.open += 1
        self.record.peak = max(self.record.peak, self.record.open)
        self.reply(b"220 sink ESMTP\r\n", self.delay)

    def connection_lost(self, error: Exception | None) -> None:
        self.record.open -= 1

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        self.rest = b""
        position = 0
        replies: list[bytes] = []
        dots = False
        while position < len(data):
            if self.in_data:
                after = self.content(data, position)
                if self.in_data:  # it goes on
                    break
                replies.append(b"250 2.0.0 taken\r\n")
                dots = True
            else:
                after = data.find(b"\n", position) + 1
                if not after:
                    self.rest = data[position:]
                    break
                replies.append(self.command(data[position:after]))
            position = after
        if replies:
            self.reply(b"".join(replies), self.delay + (self.delay_dot if dots else 0.0))

    def command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"MAIL":
            self.key = b""
            return b"250 2.1.0 OK\r\n"
        if verb == b"RCPT":
            if not self.header:
                self.key = line[line.find(b"<") + 1 : line.rfind(b"@")]
            return b"250 2.1.5 OK\r\n"
        if verb == b"DATA":
            self.in_data = True
            self.begun = False
            return b"354 go ahead\r\n"
        if verb == b"QUIT":
            asyncio.get_running_loop().call_later(self.delay, self.transport.close)
            return b"221 bye\r\n"
        return REPLIES.get(verb, b"500 what?\r\n")

    def content(self, data: bytes, position: int) -> int:
        """Take in content from there on, and tell where it ends, if it does."""
        if not self.begun:
            if len(data) - position < 3:
                self.rest = data[position:]
                return len(data)
            self.begun = True
            if data.startswith(b".\r\n", position):  # nothing but the dot
                return self.taken(position + 3)
        if self.header and not self.key:
            self.key = bench_number(data, position)
        end = data.find(END, position)
        if end < 0:
            # Keep only what may be the beginning of the end.
            kept = data[max(position, len(data) - len(END) + 1) :]
            self.record.octets += len(data) - position - len(kept)
            self.rest = kept
            return len(data)
        self.record.octets += end + 2 - position
        return self.taken(end + len(END))

    def taken(self, after: int) -> int:
        self.record.arrivals.append((self.key, time.monotonic()))
        self.in_data = False
        return after

    def reply(self, reply: bytes, delay: float) -> None:
        if delay:
            # Timers of the same moment may fire in any order; the outbox keeps it.
            self.outbox.append(reply)
            asyncio.get_running_loop().call_later(delay, self.write_next)
        else:
            self.transport.write(reply)

    def write_next(self) -> None:
        reply = self.outbox.popleft()
        if not self.transport.is_closing():
            self.transport.write(reply)


def bench_number(data: bytes, position: int) -> bytes:
    """What the header X-Bench says, if it has come whole."""
    begin = data.find(b"X-Bench: ", position)
    end = data.find(b"\r\n", begin)
    return data[begin + 9 : end] if 0 <= begin < end else b""


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def obey(record: Record, done: asyncio.Event, line: str) -> None:
    """Do what a line of stdin asks."""
    word, _, rest = line.strip().partition(" ")
    match word:
        case "report":
            say(**record.report())
        case "times":
            record.write_times(Path(rest))
            say(**record.report())
        case "reset":
            record.reset()
            say(reset=True)
        case "quit":
            done.set()
        case _:
            say(error=f"unknown: {word!r}")


def read_stdin(loop: asyncio.AbstractEventLoop, record: Record, done: asyncio.Event) -> None:
    for line in sys.stdin:
        loop.call_soon_threadsafe(obey, record, done, line)
    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):  # whoever started us has gone
        loop.call_soon_threadsafe(done.set)


async def main(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    record, done = Record(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    session = partial(
        Session,
        record,
        delay=arguments.delay / 1000,
        delay_dot=arguments.delay_dot / 1000,
        header=arguments.key == "header",
    )
    tls = None
    if arguments.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.tls)
    server = await loop.create_server(session, "127.0.0.1", arguments.port, backlog=1024, ssl=tls)
    say(port=server.sockets[0].getsockname()[1])
    threading.Thread(target=read_stdin, args=(loop, record, done), daemon=True).start()
    await done.wait()
    say(**record.report())
    server.close()


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.sink")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", type=Path, help="PEM of key and certificates: TLS from the start")
    parser.add_argument("--delay", type=float, default=0.0, help="ms before each reply")
    parser.add_argument("--delay-dot", type=float, default=0.0, help="ms more after a final dot")
    parser.add_argument(
        "--key",
        choices=("recipient", "header"),
        default="recipient",
        help="what tells mails apart: the last recipient's local part, or the X-Bench header",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    uvloop.run(main(parsed()))
    sys.stdout.flush()
    os._exit(0)  # the thread that reads stdin cannot be told to stop
