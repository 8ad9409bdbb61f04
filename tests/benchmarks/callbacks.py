"""How fast applications get callbacks, and what one that hangs does to others."""

import asyncio
import contextlib
import json
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import uvloop

from tests.api_keys import made
from tests.applications import add_callback
from tests.benchmarks.figures import percentile
from tests.process import Server

TOLD = 10_000  # callbacks of the measurement of speed
BATCH = 500
KEYS = 10
A_SECOND = 100  # messages, of all keys together
SECONDS = 20
OK = b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n"


class _Application(asyncio.Protocol):
    """Answers at once, and notes how late each callback came; `hangs`: never answers."""

    def __init__(self, late, *, hangs=False):
        self.late = late
        self.hangs = hangs
        self.rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.rest += data
        head, found, body = self.rest.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.rest = body[length:]
        happened = datetime.fromisoformat(json.loads(body[:length])["timestamp"])
        self.late.append((datetime.now(UTC) - happened).total_seconds())
        if not self.hangs:
            self.transport.write(OK)


def _serve(ports, asked):
    """A process of its own: as many applications as asked for, the last of which may hang."""

    async def run():
        loop, late = asyncio.get_running_loop(), []
        servers = []
        for number in range(KEYS):
            hangs = number == KEYS - 1
            noted = [] if hangs else late
            make = lambda noted=noted, hangs=hangs: _Application(noted, hangs=hangs)  # noqa: E731  bound to this round
            servers.append(await loop.create_server(make, "127.0.0.1", 0))
        ports.put([each.sockets[0].getsockname()[1] for each in servers])
        while await asyncio.to_thread(asked.recv):
            asked.send(list(late))
            late.clear()

    uvloop.run(run())


@contextlib.contextmanager
def applications():
    """The ports of applications, and a call that tells how late callbacks came since the last."""
    ports = multiprocessing.Queue()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(ports, theirs), daemon=True)
    process.start()

    def late():
        ours.send(True)
        return ours.recv()

    try:
        yield ports.get(), late
    finally:
        process.kill()
        process.join()


def callbacks(*_, **__):
    """Print what `asyncio.run` measures."""
    with (
        tempfile.TemporaryDirectory(prefix="callbacks-") as folder,
        applications() as (ports, late),
    ):
        asyncio.run(_speed(Path(folder) / "speed", ports, late))
        for name, count in (("alone", KEYS - 1), ("beside one that hangs", KEYS)):
            asyncio.run(_beside(Path(folder) / name.replace(" ", "-"), ports[:count], late, name))


@contextlib.asynccontextmanager
async def _service(folder, ports):
    """A server whose keys send callbacks to these applications, and a client for each key."""
    data = folder / "data"
    data.mkdir(parents=True)
    headers = [made(data, f"k{number}", "send", "manage") for number in range(len(ports))]
    for number, port in enumerate(ports):
        add_callback(data, f"k{number}", f"http://127.0.0.1:{port}/")
    async with Server(folder, log_level="warning") as server, contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx2.AsyncClient(base_url=server.url, headers=each, timeout=60, trust_env=False)
            )
            for each in headers
        ]
        yield clients, server


def _letter(number):
    return {
        "from": "us@example.org",
        "to": ["success@simulator.notifier"],
        "subject": f"Message {number}",
        "text": "Hello.",
    }


async def _speed(folder, ports, late):
    """All callbacks are sent again, as fast as it goes."""
    async with _service(folder, ports[:1]) as ((client,), server):
        since = datetime.now(UTC).isoformat()
        for start in range(0, TOLD, BATCH):
            batch = [_letter(number) for number in range(start, start + BATCH)]
            (await client.post("/v1/messages/batch", json=batch)).raise_for_status()
        while await _waiting(client) or await _counted(client) < TOLD:
            await asyncio.sleep(0.2)
        late()
        before = _cpu(server.process.pid)
        begun = time.monotonic()
        answer = await client.post("/v1/callbacks/k0/replay", params={"since": since})
        count, sent = answer.json()["count"], 0
        while sent < count:
            await asyncio.sleep(0.1)
            sent += len(late())
        seconds = time.monotonic() - begun
        used = (_cpu(server.process.pid) - before) / seconds
        print(
            f"{count} callbacks to one application in {seconds:.1f} s: {count / seconds:.0f} a"
            f" second; the server used {used:.0%} of a core",
            flush=True,
        )


async def _beside(folder, ports, late, name):
    """How late callbacks come at a steady load."""
    async with _service(folder, ports) as (clients, _):
        numbers = iter(range(10**6))
        late()
        begun = time.monotonic()
        sent = 0
        async with asyncio.TaskGroup() as posts:
            while (now := time.monotonic()) < begun + SECONDS:
                if sent < (now - begun) * A_SECOND:
                    client = clients[sent % len(clients)]
                    posts.create_task(client.post("/v1/messages", json=_letter(next(numbers))))
                    sent += 1
                else:
                    await asyncio.sleep(0.002)
        while await _counted(clients[0]) < sent:
            await asyncio.sleep(0.1)
        took = time.monotonic() - begun
        await asyncio.sleep(1)
        found = sorted(late())
        print(
            f"{name}: {len(found)} callbacks, p50 {percentile(found, 0.5) * 1000:.1f} ms,"
            f" p99 {percentile(found, 0.99) * 1000:.1f} ms after the event;"
            f" {sent / took:.0f} messages a second",
            flush=True,
        )


async def _waiting(client):
    items = (await client.get("/v1/callbacks")).json()["items"]
    return sum(each["waiting"] for each in items)


async def _counted(client):
    stats = (await client.get("/v1/stats")).json()
    return stats["counts"].get("sent", 0)


def _cpu(pid):
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
