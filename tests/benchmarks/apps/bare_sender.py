"""
The limit: a sender that has its messages in memory, and does nothing but SMTP.

    python -m tests.benchmarks.apps.bare_sender --port 2525 --count 20000

Over 16 connections, each message in one write with the commands of the next. It prints seconds and
seconds of CPU as JSON.
"""

import argparse
import asyncio
import json
import time

import uvloop

CONNECTIONS = 16
ENVELOPE = b"MAIL FROM:<us@example.org>\r\nRCPT TO:<n%08d@example.org>\r\nDATA\r\n"
CONTENT = (
    b"From: us@example.org\r\nTo: n%08d@example.org\r\nSubject: Message\r\n"
    b"Message-ID: <%08d@bench.example.org>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"Hello, this is one of many. It says little, in a line or two, as most do.\r\n"
)
LINE = b"A" * 76 + b"\r\n"  # of what is added
END = b".\r\n"


class Sender(asyncio.Protocol):
    def __init__(self, numbers, more):
        self.numbers = numbers
        self.more = more
        self.rest = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.talk = self.talking(transport.write)
        self.awaited = next(self.talk)

    def talking(self, write):
        """Writes, and yields what the last reply to each write begins with."""
        write(b"EHLO client.example.org\r\n")
        yield b"\n250 "
        number = next(self.numbers, None)
        if number is None:  # the other connections were faster
            return
        write(ENVELOPE % number)
        yield b"354"
        for following in self.numbers:
            write(self.content(number) + ENVELOPE % following)
            yield b"354"
            number = following
        write(self.content(number))
        yield b"250"

    def content(self, number):
        return b"".join((CONTENT % (number, number), self.more, END))

    def data_received(self, data):
        self.rest += data
        if self.awaited not in self.rest:
            return
        self.rest = b""
        self.awaited = next(self.talk, None)
        if self.awaited is None:
            self.transport.close()
            self.done.set_result(None)


async def main(arguments):
    loop = asyncio.get_running_loop()
    numbers = iter(range(arguments.count))
    more = LINE * (arguments.bytes // len(LINE))
    begun, spent = time.monotonic(), time.process_time()
    made = [
        await loop.create_connection(lambda: Sender(numbers, more), "127.0.0.1", arguments.port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(sender.done for _, sender in made))
    print(json.dumps({"seconds": time.monotonic() - begun, "cpu": time.process_time() - spent}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.benchmarks.apps.bare_sender")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=0, help="more of a content")
    uvloop.run(main(parser.parse_args()))
