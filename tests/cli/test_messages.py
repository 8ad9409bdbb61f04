"""`notifier messages`, `backup` and `prune`: with a server, and without one."""

import asyncio
import contextlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from tests.process import Server, environment, message, run, run_async
from tests.relay import ScriptedRelay
from tests.waiting import LIMIT


async def post(server, number, **changes):
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(f"{server.url}/v1/messages", json=message(number, **changes))
    assert answer.status_code == 202
    return answer.json()["id"]


async def later(server, number, **changes):
    """A message that waits for an hour."""
    due = datetime.now(UTC) + timedelta(hours=1)
    return await post(server, number, send_at=due.isoformat(), **changes)


async def test_messages_are_seen_and_changed_with_and_without_a_server(server):
    """By HTTP while it runs and from the journal while it does not, with the same answers."""
    first, second = await later(server, 1), await later(server, 2)
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        listed = await run_async("messages", "list", "--json", **server.settings)
        assert ("from the server" in listed.stderr) is running
        assert ("no server answers at" in listed.stderr) is not running
        assert [each["id"] for each in json.loads(listed.stdout)["items"]] == [second, first]
        id = first if running else second
        done = await run_async("messages", "cancel", id, **server.settings)
        assert (done.returncode, done.stdout) == (0, f"{id} cancelled\n")
        shown = await run_async("messages", "show", id, **server.settings)
        assert shown.stdout.startswith(f"{id}  cancelled\n")
        again = await run_async("messages", "cancel", id, **server.settings)
        assert again.returncode == 1
        assert "cannot be cancelled" in again.stderr
        table = await run_async("messages", "list", "--status", "cancelled", **server.settings)
        assert id in table.stdout
        retried = await run_async("messages", "retry", id, "--json", **server.settings)
        assert json.loads(retried.stdout)["status"] == "queued"
    unknown = await run_async("messages", "show", "0" * 32, **server.settings)
    assert unknown.returncode == 1
    assert "no message has the id" in unknown.stderr


async def test_each_of_several_messages_has_its_own_outcome(server):
    """What cannot be done stops nothing else; with --json each is a line."""
    ids = [await later(server, number) for number in range(3)]
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        verb, status = ("cancel", "cancelled") if running else ("retry", "queued")
        done = await run_async("messages", verb, *ids, ids[0], "abc", "--json", **server.settings)
        assert done.returncode == 1
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(each["id"], each["status"]) for each in lines] == [(id, status) for id in ids]
        _, again, unknown = done.stderr.splitlines()
        assert again.startswith(f"notifier: {ids[0]}: ")
        assert again.endswith(
            f"a message that is {status} cannot be {'cancelled' if running else 'retried'}"
        )
        assert unknown.startswith("notifier: abc: ")


async def test_held_messages_are_copied_and_settled_with_and_without_a_server(server):
    """The copy by a server alone; settled by ids or by a filter, with who knew it, and how."""
    lost = {"to": ["drop-after-dot@simulator.notifier"], "on_uncertain": "hold"}
    ids = [await post(server, number, **lost) for number in range(3)]
    async with httpx2.AsyncClient(trust_env=False, timeout=30, base_url=server.url) as client:
        async with asyncio.timeout(LIMIT):
            while (await client.get("/v1/messages/count?status=held")).json()["count"] < 3:
                await asyncio.sleep(0.01)
    copy = ("messages", "copy", ids[0], "--to", "right@example.org")
    copied = await run_async(*copy, **server.settings)
    made = copied.stdout.split()
    assert (copied.returncode, made[1]) == (0, "queued"), copied.stderr
    shown = await run_async("messages", "show", made[0], **server.settings)
    assert f"copy of   {ids[0]}" in shown.stdout
    settle = ("messages", "settle", "--why", "it came")
    first = await run_async(*settle, ids[0], "--as", "sent", **server.settings)
    assert (first.returncode, first.stdout) == (0, f"{ids[0]} sent\n"), first.stderr
    assert await server.stop() == 0
    rest = ("--status", "held", "--yes", "--as", "failed")
    done = await run_async(*settle, *rest, **server.settings)
    assert (done.returncode, done.stdout) == (0, "2 settled\n"), done.stderr
    shown = await run_async("messages", "show", ids[1], "--json", **server.settings)
    last = json.loads(shown.stdout)["timeline"][-1]
    assert (last["what"], last["detail"]) == ("settled", "as failed: it came")
    assert last["by"].startswith("cli:")


OURS = ("--tag", "ours", "--yes")


async def test_all_that_match_are_changed_with_and_without_a_server(server):
    """By the filters of the list, where somebody has said yes; those of another tag are not."""
    for number in range(3):
        await later(server, number, tags=["ours"])
    other = await later(server, 9, tags=["theirs"])
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        unasked = await run_async("messages", "cancel", "--tag", "ours", **server.settings)
        assert unasked.returncode == 2
        assert "give --yes" in unasked.stderr
        verb, done = ("cancel", "cancelled") if running else ("retry", "retried")
        changed = await run_async("messages", verb, *OURS, **server.settings)
        assert (changed.returncode, changed.stdout) == (0, f"3 {done}\n")
        none = await run_async("messages", verb, *OURS, "--json", **server.settings)
        assert json.loads(none.stdout) == {"count": 0}
    shown = await run_async("messages", "show", other, "--json", **server.settings)
    assert json.loads(shown.stdout)["status"] == "scheduled"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cancel",), "either the ids of messages or options"),
        (("retry", "abc", "--tag", "x"), "either the ids of messages or options"),
        (("list", "--status", "faild"), "'faild' is not one of 'scheduled'"),
    ],
)
def test_the_selection_of_messages_must_be_right(arguments, told):
    """As wrong usage, before anything is asked or opened."""
    done = run("messages", *arguments, port=1)
    assert done.returncode == 2
    assert told in done.stderr


async def test_a_wrong_filter_is_named(server):
    """In the same words by HTTP and from the journal."""
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        asked = ("messages", "list", "--created-after", "yesterday")
        done = await run_async(*asked, **server.settings)
        assert done.returncode == 1
        assert "created_after" in done.stderr
        assert "RFC3339" in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_copy_is_looked_into_while_the_server_runs(server, tmp_path):
    """A restore can be rehearsed: cancelling in the copy does not change the server's journal."""
    id = await later(server, 1)
    (tmp_path / "restored").mkdir()
    await run_async("backup", str(tmp_path / "restored/notifier.db"), **server.settings)
    there = server.settings | {"data_dir": tmp_path / "restored"}
    done = await run_async("messages", "cancel", "--offline", id, **there)
    assert (done.returncode, done.stdout) == (0, f"{id} cancelled\n")
    assert f"from the journal in {tmp_path / 'restored'}" in done.stderr
    shown = await run_async("messages", "show", id, "--json", **there)
    assert json.loads(shown.stdout)["status"] == "scheduled"
    refused = await run_async("messages", "list", "--offline", **server.settings)
    assert refused.returncode == 75


def test_without_server_and_journal_it_says_so(tmp_path):
    """And makes none, which would look like one without messages."""
    done = run("messages", "list", data_dir=tmp_path / "none", port=1)
    assert done.returncode == 1
    assert f"there is no journal in {tmp_path / 'none'}" in done.stderr
    assert not (tmp_path / "none").exists()
    for command in (("prune",), ("backup", str(tmp_path / "copy.db"))):
        done = run(*command, data_dir=tmp_path / "none")
        assert done.returncode == 74
        assert "there is no journal" in done.stderr
    assert not (tmp_path / "none").exists()
    astray = run("backup", str(tmp_path / "nowhere/copy.db"), data_dir=tmp_path)
    assert astray.returncode == 1
    assert f"there is no folder {tmp_path / 'nowhere'}" in astray.stderr


async def test_a_backup_under_load_holds_what_was_acknowledged(tmp_path):
    """Copied while messages arrive; put into a new data directory it is whole, and served."""
    acknowledged = []

    async with (
        ScriptedRelay() as relay,
        Server(tmp_path, relays=f"smtp://127.0.0.1:{relay.port}") as server,
    ):

        async def load(client):
            while True:
                answer = await client.post(
                    f"{server.url}/v1/messages", json=message(len(acknowledged))
                )
                acknowledged.append(answer.json()["id"])

        async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
            loads = [asyncio.create_task(load(client)) for _ in range(4)]
            while len(acknowledged) < 100:
                await asyncio.sleep(0.01)
            before = list(acknowledged)
            copy = tmp_path / "copy.db"
            done = await run_async("backup", str(copy), **server.settings)
            for each in loads:
                each.cancel()
            await asyncio.gather(*loads, return_exceptions=True)
        assert done.returncode == 0, done.stderr
        assert copy.stat().st_mode & 0o777 == 0o600
        refused = await run_async("backup", str(copy), **server.settings)
        assert refused.returncode == 1
        assert "not overwritten" in refused.stderr
        assert await server.stop() == 0

    restored = tmp_path / "restored"
    (restored / "data").mkdir(parents=True)
    copy.rename(restored / "data" / "notifier.db")
    db = sqlite3.connect(restored / "data" / "notifier.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = {id for (id,) in db.execute("SELECT id FROM deliveries")}
    db.close()
    assert set(before) <= kept
    async with Server(restored) as again, httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(f"{again.url}/v1/messages/{before[0]}")
        assert answer.status_code == 200
    assert not list(tmp_path.glob("*.partial"))


async def test_prune_drops_what_is_past_its_time(server):
    """Without a server; while one runs, it says that it prunes by itself."""
    id = await later(server, 1)
    await run_async("messages", "cancel", id, **server.settings)
    running = await run_async("prune", **server.settings)
    assert running.returncode == 75
    assert "prunes by itself" in running.stderr
    await server.stop()
    short = server.settings | {"retention": "1ms", "body_retention": "1ms"}
    done = await run_async("prune", **short)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.startswith("0 rows")
    shown = await run_async("messages", "show", id, **server.settings)
    assert "no message has the id" in shown.stderr


def on_a_terminal(*arguments, stdin="", watch=lambda shown: None, **settings):
    """
    A command whose stdin and stderr are a terminal: its exit code, what it printed, and what
    stands there, which `watch` is told whenever there is more of it.
    """
    ours, theirs = pty.openpty()
    try:
        os.write(ours, stdin.encode())
        process = subprocess.Popen(
            [sys.executable, "-m", "notifier", *arguments],
            env=environment(**settings) | {"COLUMNS": "80"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # at its end
            while piece := os.read(ours, 65536):
                shown += piece
                watch(shown.decode(errors="replace"))
        printed, _ = process.communicate(timeout=LIMIT)
    finally:
        os.close(ours)
    return process.returncode, printed.decode(), shown.decode()


async def test_a_terminal_is_shown_how_far_it_is(server, tmp_path):
    """A terminal shows the progress of backup, prune and bulk changes; files show none of it."""
    for number in range(3):
        await later(server, number, tags=["ours"])
    await server.stop()
    copy, other = tmp_path / "copy.db", tmp_path / "other.db"
    code, printed, shown = on_a_terminal("backup", str(copy), **server.settings)
    assert (code, printed.startswith(f"{copy}: 3 messages")) == (0, True)
    assert re.search(r"copying .*100%.*checking", shown, re.DOTALL)
    assert run("backup", str(other), **server.settings).stderr == ""
    cancel = ("messages", "cancel", "--tag", "ours")
    code, printed, shown = on_a_terminal(*cancel, stdin="n\n", **server.settings)
    assert (code, printed) == (130, "")
    assert "3 messages match. Cancel them?" in shown
    code, printed, shown = on_a_terminal(*cancel, stdin="y\n", **server.settings)
    assert (code, printed) == (0, "3 cancelled\n")
    assert "3/3" in shown
    short = server.settings | {"retention": "1ms", "body_retention": "1ms"}
    code, printed, shown = on_a_terminal("prune", **short)
    assert (code, "rows dropped" in printed) == (0, True)
    assert "dropping rows" in shown
    assert run("prune", **short).stderr == ""


class Slow(BaseHTTPRequestHandler):
    """A server that changes what matches only once somebody sees that it is at it."""

    def do_GET(self):
        self.answer({"count": 7, "more": False})

    def do_POST(self):
        assert self.server.seen.wait(LIMIT)
        self.answer({"count": 7})

    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


def test_a_terminal_is_shown_that_a_server_is_still_at_it():
    """It does not say how far it is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as web:
        web.seen = threading.Event()
        serving = threading.Thread(target=web.serve_forever, args=(0.01,))
        serving.start()
        code, printed, _ = on_a_terminal(
            *("messages", "retry", "--status", "failed", "--yes"),
            watch=lambda shown: "retry: messages" in shown and web.seen.set(),
            port=web.server_port,
        )
        web.shutdown()
        serving.join(LIMIT)
    assert (code, printed) == (0, "7 retried\n")


async def test_check_prints_each_step_as_json():
    """As JSON, and by the exit code."""
    async with ScriptedRelay() as relay:
        relay.answer("MAIL", "550 not you")
        url = f"smtp://127.0.0.1:{relay.port}?name=ours,capture:"
        done = await run_async("check", "--json", relays=url, default_from="us@example.org")
    (look,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert (look["relay"], look["port"], look["ok"]) == ("ours", relay.port, False)
    assert [each["ok"] for each in look["findings"]] == [True, True, True, True, False]
    assert look["findings"][-1]["said"] == "us@example.org: 550 not you"
