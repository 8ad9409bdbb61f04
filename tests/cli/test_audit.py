"""`notifier audit`, with a server and without one; and that no command is forgotten in it."""

import asyncio
import json

import click
import httpx2
import pytest

from notifier.audit.records import actor
from notifier.cli import cli
from tests.process import Server, message
from tests.waiting import LIMIT

LOST = message(1, to=["drop-after-dot@simulator.notifier"], on_uncertain="hold")
# Commands that change something, and where the test does it: what the audit calls it.
TOLD = {
    "keys add": "make-key",
    "keys revoke": "revoke-key",
    "messages cancel": "cancel",
    "messages retry": "retry",
    "messages settle": "settle",
    "prune": "prune",
    "recipients erase": "erase-recipient",
    "recipients export": "export-recipient",
    "serve": "start",
    "suppressions add": "add-suppression",
    "suppressions import": "import-suppressions",
    "suppressions remove": "remove-suppression",
}
# Commands of which nothing is told by themselves, and why.
UNTOLD = {
    "audit": "it reads",
    "backup": "it reads, while the server has the journal",
    "callbacks list": "it reads",
    "callbacks replay": "the server tells of it, with the key of the call",
    "callbacks resume": "the server tells of it, with the key of the call",
    "callbacks test": "the server tells of it, with the key of the call",
    "check": "it reads",
    "config": "it reads",
    "healthcheck": "it reads",
    "keys list": "it reads",
    "messages copy": "the server tells of it, with the key of the call",
    "messages list": "it reads",
    "messages show": "it reads",
    "reports add": "the server tells of it, with the key of the call",
    "send": "the server tells of it, with the key of the call",
    "sendmail": "the server tells of it, with the key of the call",
    "suppressions export": "it reads",
    "suppressions list": "it reads",
}


def commands(group, before=""):
    """The names of all commands, such as `keys add`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


@pytest.fixture
async def server(tmp_path):
    secret = "smtp://ann:hush@127.0.0.1:9"
    async with Server(tmp_path, relays=secret) as server:
        yield server


async def records(server, *filters):
    listed = await server.command("audit", "--json", *filters)
    assert listed.exit_code == 0, listed.stderr
    return json.loads(listed.stdout)["items"]


def test_no_command_that_changes_something_is_forgotten():
    """The next test does each without a server, or its reason stands in the list."""
    assert sorted(commands(cli)) == sorted(TOLD.keys() | UNTOLD.keys())


async def test_acts_without_a_server_name_the_systems_user(server, tmp_path):
    """Each command that changes the journal or the keys, and the start with its settings."""
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        id = (await client.post("/v1/messages", json=LOST)).json()["id"]
        async with asyncio.timeout(LIMIT):
            while (await client.get(f"/v1/messages/{id}")).json()["status"] != "held":
                await asyncio.sleep(0.02)
    await server.stop()
    file = tmp_path / "list.csv"
    file.write_text("bob@x.org\neve@x.org\n")
    acts = {
        "messages retry": (id,),
        "messages cancel": (id,),
        "messages settle": ("--as", "sent", id),
        "suppressions add": ("ann@x.org",),
        "suppressions import": (str(file),),
        "suppressions remove": ("ann@x.org",),
        "prune": (),
        "recipients erase": ("--yes", "nobody@x.org"),
        "recipients export": ("ann@x.org",),
        "keys add": ("shop",),
        "keys revoke": ("shop",),
    }
    for command, arguments in acts.items():
        done = await server.command(*command.split(), *arguments)
        assert done.exit_code == 0, (command, done.output)
    await server.start()  # it finds what became of the keys
    await server.stop()
    found = await records(server)
    assert sorted({each["what"] for each in found}) == sorted({*TOLD.values(), "send"})
    by = {each["what"]: each["by"] for each in found}
    assert by.pop("send") == "anonymous"
    assert set(by.values()) == {actor()}
    start = next(each for each in found if each["what"] == "start")
    assert "NOTIFIER_RELAYS=" in start["detail"]
    assert "hush" not in start["detail"]
    (imported,) = (each for each in found if each["what"] == "import-suppressions")
    assert imported["count"] == 2


async def test_it_is_seen_and_exported_with_and_without_a_server(server, tmp_path):
    """By HTTP while it runs and in the journal while it does not, with the same answers."""
    file = tmp_path / "audit.jsonl"
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        for verb in ("pause", "resume"):
            assert (await client.post(f"/v1/queue/{verb}")).status_code == 200
    for running in (True, False):
        if not running:
            await server.stop()
        table = (await server.command("audit")).stdout.splitlines()
        assert [line.split()[3] for line in table] == [
            "WHAT", "resume-queue", "pause-queue", "start",
        ]  # fmt: skip
        paged = await server.command("audit", "--limit", "1")
        assert ("from the server" in paged.stderr) is running
        cursor = paged.stdout.split("--cursor ")[1].strip()
        (second,) = await records(server, "--limit", "1", "--cursor", cursor)
        assert second["what"] == "pause-queue"
        assert [each["what"] for each in await records(server, "--by", actor())] == ["start"]
        assert await records(server, "--since", "2999-01-31") == []
        assert (await server.command("audit", "--what", "none")).stdout == "no records\n"
        exported = await server.command("audit", "--by", "anonymous", "--export", str(file))
        assert exported.exit_code == 0, exported.output
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [each["what"] for each in lines] == ["resume-queue", "pause-queue"]
        wrong = await server.command("audit", "--since", "yesterday")
        assert "since" in str(wrong.exception)
        both = await server.command("audit", "--export", "-", "--json")
        assert "--export writes all" in both.output
