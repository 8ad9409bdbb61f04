"""Told to stop while it starts: the process ends with 0, and leaves nothing behind."""

import asyncio
import contextlib
import itertools
import signal
import socket
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from notifier.deliveries import Status
from notifier.journal.sqlite import SqliteJournal
from notifier.service import Notifier
from notifier.settings import Settings
from tests.dispatching import entry
from tests.process import Server, free_port
from tests.relay import SILENCE, ScriptedRelay
from tests.waiting import until

QUICK = 12.0  # seconds; of which Python takes some to start and to end
MESSAGES = 8


@contextlib.contextmanager
def nobody_listens():
    yield f"postgresql://us@127.0.0.1:{free_port()}/ours"


@contextlib.contextmanager
def nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://us@127.0.0.1:{listener.getsockname()[1]}/ours"


@contextlib.contextmanager
def somebody_writes(folder):
    """Another program holds the file: it is waited for."""
    (folder / "data").mkdir()
    path = folder / "data" / "notifier.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (one)")
        db.execute("BEGIN EXCLUSIVE")
        yield f"sqlite:{path}"


@pytest.mark.parametrize("kind", ["nobody listens", "nobody answers", "somebody writes"])
async def test_a_start_that_waits_for_its_journal_is_broken_off(kind, tmp_path):
    """SIGTERM ends it with 0, at once, without a word of a crash."""
    slow = {
        "nobody listens": nobody_listens,
        "nobody answers": nobody_answers,
        "somebody writes": partial(somebody_writes, tmp_path),
    }[kind]
    with slow() as url:
        server = await Server(tmp_path, journal=url).start(ready=False)
        try:
            await until(lambda: any(line["event"] == "starting" for line in events(server)))
            async with asyncio.timeout(QUICK):
                assert await server.stop() == 0
        finally:
            await server.kill()
    said = [line["event"] for line in events(server)]
    assert "draining" in said
    assert "crashed" not in said
    if kind != "somebody writes":  # SQLite waits in a thread, which nobody can break off
        assert "not_closed" not in said
    assert "Traceback" not in (tmp_path / "log.jsonl").read_text()


def events(server):
    path = server.folder / "log.jsonl"
    return server.log if path.exists() else []


def drained(server, times):
    """Whether it was told to stop so many times, and knows it."""
    return sum(line["event"] == "draining" for line in events(server)) >= times


def handles_sigterm(pid):
    """Whether a process has a handler for it: before, it is the system that ends it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    raise AssertionError(pid)


async def stuck(folder):
    """A journal with messages that are due."""
    folder.mkdir()
    journal = SqliteJournal(str(folder / "notifier.db"))
    await journal.open()
    await journal.add([entry(number) for number in range(MESSAGES)])
    await journal.close()


async def left(folder):
    """How many there are by status; `open` finds the journal in order."""
    journal = SqliteJournal(str(folder / "notifier.db"))
    await journal.open()
    counts = (await journal.backlog()).counts
    await journal.close()
    return counts


@pytest.mark.parametrize("after", [0.0, 0.2, 0.4, 0.6, 0.8, 1.2])
async def test_a_stop_at_any_moment_ends_with_0(after, tmp_path):
    """A stop at each moment of the start ends with 0, and claims are given back."""
    await stuck(tmp_path / "data")
    async with ScriptedRelay() as relay:
        relay.answer("MAIL", SILENCE)
        server = Server(tmp_path, relays=f"smtp://{relay.host}:{relay.port}", grace="100ms")
        await server.start(ready=False)
        try:
            await until(lambda: handles_sigterm(server.process.pid))
            await asyncio.sleep(after)
            async with asyncio.timeout(QUICK):
                assert await server.stop() == 0
        finally:
            await server.kill()
    assert "Traceback" not in (tmp_path / "log.jsonl").read_text()
    counts = await left(tmp_path / "data")
    assert counts[Status.SENDING] == 0
    assert counts[Status.QUEUED] + counts[Status.DEFERRED] == MESSAGES


async def test_a_second_sigterm_does_not_cut_short_what_is_under_way(tmp_path):
    """Supervisors repeat it; the message that is being sent is finished within the grace."""
    await stuck(tmp_path / "data")
    async with ScriptedRelay() as relay:
        relay.hold("DOT")
        url = f"smtp://{relay.host}:{relay.port}"
        async with Server(tmp_path, relays=url, workers=1, grace="30s") as server:
            await relay.until_held(1)
            for times in (1, 2):
                server.terminate()
                await until(partial(drained, server, times))
            relay.release()
            assert await server.stop() == 0
        assert len(relay.received) == 1
    assert (await left(tmp_path / "data"))[Status.SENDING] == 0


async def test_a_start_cancelled_at_any_step_leaves_nothing(tmp_path):
    """Broken off after one turn of the loop, or two, and so on, until it comes through."""
    await stuck(tmp_path / "data")
    async with ScriptedRelay() as relay:
        relay.answer("MAIL", SILENCE)
        settings = Settings(data_dir=str(tmp_path / "data"), relays=(relay.spec,), grace=0.0)
        for turns in itertools.count():
            service = Notifier(settings)
            opening = asyncio.create_task(service.__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            came_through = opening.done() or not opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
                came_through = True
            if came_through:
                await service.__aexit__(None, None, None)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not {task for task in others if "tests.relay" not in repr(task.get_coro())}
            counts = await left(tmp_path / "data")
            assert counts[Status.SENDING] == 0, turns
            if came_through:
                break
    assert turns > 5
