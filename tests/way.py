"""
The way of one message through our own code: every function of `notifier` that it passes, in
order, from its POST to the 202, and from the claim to `sent` on disk.

    python -m tests.way            # how many functions and files
    python -m tests.way --names    # each of them

Only what every one of several messages passes is counted, so that a background task that
happens to run meanwhile is not.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import threading
from pathlib import Path

import structlog
import uvicorn

import notifier
from notifier.server.protocol import Client
from notifier.web.app import create_app
from tests.relay import ScriptedRelay
from tests.service import notifying
from tests.waiting import LIMIT, until

PACKAGE = Path(notifier.__file__).parent
RUNS = 5
LETTER = {
    "from": "us@example.org",
    "to": ["ann@example.org"],
    "subject": "Hello",
    "text": "It works.",
}


class Tracer:
    """Notes each named function of the package that any thread enters while it is on."""

    def __init__(self):
        self._passed = None

    def install(self):
        """Before the threads that are to be traced begin."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    @contextlib.contextmanager
    def on(self):
        """The functions that are entered within, as file and name, in order of first entry."""
        passed = self._passed = {}
        try:
            yield passed
        finally:
            self._passed = None

    def _note(self, frame, event, argument):
        passed = self._passed
        if passed is None or event != "call":
            return
        code = frame.f_code
        if code.co_filename.startswith(str(PACKAGE)) and not code.co_name.startswith("<"):
            passed[str(Path(code.co_filename).relative_to(PACKAGE)), code.co_qualname] = None


@contextlib.asynccontextmanager
async def listening(service):
    """The port of a real server around the service, and its open connections."""
    app = create_app(service)
    config = uvicorn.Config(app, port=0, http=Client, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], server.server_state.connections
    finally:
        server.should_exit = True
        await running


async def post(port, number):
    """The id of an accepted message, and its connection. It has an idempotency key of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(LETTER).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: way-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    async with asyncio.timeout(LIMIT):
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 202"), answer
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        message = json.loads(await reader.readexactly(length))
    return message["id"], writer


async def ways():
    """What a message passes until its 202, and from the claim until it is sent."""
    tracer = Tracer()
    tracer.install()
    accepted, sent = [], []
    with tempfile.TemporaryDirectory() as folder:
        async with (
            ScriptedRelay() as relay,
            notifying(folder, relay) as service,
            listening(service) as (port, connections),
        ):
            done = set()
            service.feed.listen(lambda each: each.status == "sent" and done.add(each.id))
            for number in range(RUNS + 1):
                await service.pause()
                with tracer.on() as passed:
                    id, connection = await post(port, number)
                connection.close()
                await until(lambda: not connections)  # its end belongs to neither way
                with tracer.on() as left:
                    service.dispatcher.resume()  # not the service's, which writes to the journal
                    await until(lambda: id in done)  # noqa: B023 - it is awaited within the round
                if number:  # the first one opens connections and fills caches
                    accepted.append(passed)
                    sent.append(left)
    sys.setprofile(None)
    threading.setprofile(None)
    return common(accepted), common(sent)


def common(runs):
    """What every run passed, in the order of the last."""
    return [each for each in runs[-1] if all(each in run for run in runs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--names", action="store_true", help="print each function")
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    for title, way in zip(("POST to 202", "claim to sent"), asyncio.run(ways()), strict=True):
        files = {file for file, _ in way}
        print(f"{title}: {len(way)} functions in {len(files)} files")
        if arguments.names:
            for file, name in way:
                print(f"    {file}: {name}")


if __name__ == "__main__":
    main()
