"""What could hold up everybody else: a very large message, and dropping what is old."""

import asyncio
import base64
import contextlib
import json
import os
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from notifier.deliveries import Status
from notifier.housekeeping.pruning import prune
from notifier.intake.admission import Admission
from notifier.intake.submission import new_id
from notifier.journal import Entry, journal_at
from notifier.messages import Email
from notifier.settings import Settings
from tests.benchmarks.figures import percentile
from tests.benchmarks.load import Sink, warm_up
from tests.benchmarks.peers import Notifier
from tests.benchmarks.processes import ROOT, until

LARGE_BYTES = 10_000_000  # of the body that is posted
LARGE = 5  # such messages, one after another
SMALL_PER_SECOND = 200
TICK_SECONDS = 0.002
PRUNED = 50_000
PORTION = 1_000


def stalls(*_, **__):
    """How long requests made to be heavy hold the loop, and how much memory they take."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        asyncio.run(_print_stalls(Path(name)))


async def _print_stalls(folder):
    # Its requests take 1.3 GB: other benchmarks run without them.
    from tests import heavy_requests

    print("| what is asked | loop held, ms | memory, MB |\n|---|---:|---:|")
    async for name, held, memory, _ in heavy_requests.measured(folder):
        print(f"| {name} | {held * 1000:.0f} | {memory:.0f} |", flush=True)


class Lag:
    """How late a loop does what was due: the longest of all, and 99 of 100."""

    async def __aenter__(self):
        self.late = []
        self.task = asyncio.create_task(self.measure())
        return self

    async def measure(self):
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.late.append((time.monotonic() - due) * 1000)

    async def __aexit__(self, *exc_info):
        self.task.cancel()

    def __str__(self):
        return spread(self.late)


def spread(times):
    ordered = sorted(times)
    return (
        f"p50 {percentile(ordered, 0.5):.1f}, p99 {percentile(ordered, 0.99):.1f},"
        f" longest {ordered[-1]:.1f} ms"
    )


def large_messages(*_, **__):
    """How long a probe waits while messages of 10 MB come in and go out, and the small ones."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name,
        Sink() as sink,
        Notifier(Path(name), sink) as server,
    ):
        warm_up(server, sink)
        quiet = asyncio.run(_probed(server, sink, large=0))
        loud = asyncio.run(_probed(server, sink, large=LARGE))
    print(f"/livez, small messages alone:    {spread(quiet)}")
    print(f"/livez, with {LARGE} messages of 10 MB: {spread(loud)}")


async def _probed(server, sink, *, large):
    sink.ask("reset")
    times = []
    probing = asyncio.create_task(_probe(server.port, times))
    small = asyncio.create_task(_post_small(server.port))
    for _ in range(large):
        await asyncio.to_thread(_post_large, server)
    await small
    # Until they have left, too.
    wanted = SMALL_PER_SECOND * 3 + large
    await asyncio.to_thread(until, lambda: sink.has(wanted), server.last_output)
    probing.cancel()
    return times


async def _probe(port, times):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        begun = time.monotonic()
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await _answered(reader)
        times.append((time.monotonic() - begun) * 1000)
        await asyncio.sleep(TICK_SECONDS)


async def _post_small(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(_message("small")).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for _ in range(SMALL_PER_SECOND * 3):
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await _answered(reader)
        await asyncio.sleep(1 / SMALL_PER_SECOND)


async def _answered(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    await reader.readexactly(length)


def _message(name, **more):
    return {"from": "us@example.org", "to": [f"{name}@example.org"], "subject": name,
            "text": "Hello."} | more  # fmt: skip


def _post_large(server):
    content = base64.b64encode(os.urandom(LARGE_BYTES * 3 // 4)).decode()
    attachment = {"filename": "film.bin", "content_type": "video/mp4", "content": content}
    body = json.dumps(_message("large", attachments=[attachment])).encode()
    request = urllib.request.Request(
        server.url, data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def pruning(*_, **__):
    """How late the loop, and a new message, are while what is old is dropped."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        asyncio.run(_pruned(name))


async def _pruned(folder):
    settings = Settings(data_dir=folder, body_retention=0.0)
    journal = journal_at(settings.journal, data_dir=folder)
    await journal.open()
    try:
        now = datetime.now(UTC)
        fresh = _entry(settings, now)
        long_ago = now - timedelta(seconds=settings.retention + 1)
        for _ in range(PRUNED // PORTION):
            await journal.add([_ended(fresh, long_ago) for _ in range(PORTION)])
        waits = []
        adding = asyncio.create_task(_keep_adding(journal, fresh, waits))
        await asyncio.sleep(2)
        before, waits[:] = spread(waits), []
        begun = time.monotonic()
        async with Lag() as lag:
            dropped = await prune(journal, settings, now)
        seconds = time.monotonic() - begun
        adding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await adding
    finally:
        await journal.close()
    print(f"pruned {dropped} messages at {dropped / seconds:,.0f}/s; the loop was late: {lag}")
    print(f"a new message was on disk after {spread(waits)}; without pruning {before}")


def _entry(settings, now):
    admission = Admission(settings, templates=None, carriers=None)
    email = Email(sender="us@example.org", to=("ann@example.org",), subject="S", text="Hello.")
    return admission.admit(email, id=new_id(now), key=None, now=now)


def _ended(entry, at):
    delivery = replace(entry.delivery, id=new_id(at), status=Status.SENT, created_at=at,
                       finished_at=at)  # fmt: skip
    return Entry(delivery, entry.content)


async def _keep_adding(journal, entry, waits):
    while True:
        delivery = replace(entry.delivery, id=new_id(datetime.now(UTC)))
        begun = time.monotonic()
        await journal.add([Entry(delivery, entry.content)])
        waits.append((time.monotonic() - begun) * 1000)
        await asyncio.sleep(TICK_SECONDS)
