"""`notifier messages`, `backup` and `prune`: with a server, and without one."""

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from tests.process import Server, message
from tests.relay import ScriptedRelay
from tests.test_cli import run, run_async


async def post(server, number, **changes):
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{server.url}/v1/messages", json=message(number, **changes))
    assert answer.status_code == 202
    return answer.json()["id"]


@pytest.fixture
async def server(tmp_path):
    async with Server(tmp_path) as server:
        yield server


async def later(server, number):
    """A message that waits for an hour."""
    return await post(server, number, send_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())


async def test_messages_are_seen_and_changed_with_and_without_a_server(server):
    """By HTTP while it runs and from the journal while it does not, with the same answers."""
    first, second = await later(server, 1), await later(server, 2)
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        listed = await run_async("messages", "list", "--json", **server.settings)
        assert ("from the server" in listed.stderr) is running
        assert ("no server runs" in listed.stderr) is not running
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


def test_without_server_and_journal_it_says_so(tmp_path):
    """And makes none, which would look like one without messages."""
    done = run("messages", "list", data_dir=tmp_path / "none", port=1)
    assert done.returncode == 1
    assert "there is no journal" in done.stderr
    assert not (tmp_path / "none").exists()


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

        async with httpx2.AsyncClient(trust_env=False) as client:
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
    async with Server(restored) as again, httpx2.AsyncClient(trust_env=False) as client:
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


async def test_check_tells_machines_what_each_step_has_shown():
    """As JSON, and by the exit code."""
    async with ScriptedRelay() as relay:
        relay.answer("MAIL", "550 not you")
        url = f"smtp://127.0.0.1:{relay.port}?name=ours"
        done = await run_async("check", "--json", relays=url, default_from="us@example.org")
    (look,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert look["relay"] == "ours"
    assert [each["ok"] for each in look["findings"]] == [True, True, True, True, False]
    assert look["findings"][-1]["said"] == "550 not you"
