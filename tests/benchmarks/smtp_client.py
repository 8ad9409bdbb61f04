"""
Hands numbered messages to an SMTP server, as an application does that uses it as its queue.

    python -m tests.benchmarks.smtp_client --port 2525 --count 20000

Connections are kept, and envelopes pipelined. It says what `tests.benchmarks.client` says.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

import uvloop

from tests.benchmarks.client import Answer, Load, Requests

CONTENT = (
    "From: us@example.org\r\nTo: nNUMBER@example.org\r\nSubject: Message NUMBER\r\n"
    "Message-ID: <NUMBER@bench.example.org>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    "Hello, this is number NUMBER. It says little, in a line or two, as most do.\r\n.\r\n"
)


async def reply(reader):
    """The code of one reply. RFC 5321, section 4.2."""
    while True:
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("the server has gone")
        if line[3:4] != b"-":
            return line[:3].decode()


async def session(port, numbers, answers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reply(reader)
    writer.write(b"EHLO client.example.org\r\n")
    await reply(reader)
    for number in numbers:
        sent = time.monotonic()
        writer.write(
            b"MAIL FROM:<us@example.org>\r\nRCPT TO:<n%08d@example.org>\r\nDATA\r\n" % number
        )
        codes = [await reply(reader) for _ in range(3)]
        if codes != ["250", "250", "354"]:
            raise SystemExit(f"the envelope was answered {codes}")
        writer.write(CONTENT.replace("NUMBER", f"{number:08d}").encode())
        code = await reply(reader)
        answers.append(Answer(number, sent, time.monotonic(), code))
    writer.close()


async def main(arguments):
    requests = Requests("http://127.0.0.1/", "", [], batch=0)
    load = Load(requests, count=arguments.count, first=arguments.first, rate=None)
    numbers = iter(range(load.next, load.end))
    async with asyncio.timeout(arguments.limit):
        await asyncio.gather(
            *itertools.starmap(
                session, [(arguments.port, numbers, load.answers)] * arguments.connections
            )
        )
    if arguments.times:
        load.write_times(arguments.times)
    sys.stdout.write(json.dumps(load.report()) + "\n")


def parsed(argv=None):
    parser = argparse.ArgumentParser(prog="tests.benchmarks.smtp_client")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=10_000, help="messages")
    parser.add_argument("--first", type=int, default=0, help="the first one's number")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--times", type=Path, help="where to write each message's times")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds after which it ends")
    return parser.parse_args(argv)


if __name__ == "__main__":
    uvloop.run(main(parsed()))
