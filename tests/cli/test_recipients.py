"""`notifier recipients`: with a server, and without one."""

import json


async def test_a_person_is_exported_with_and_without_a_server(server, tmp_path):
    """By HTTP while it runs and from the journal while it does not; to the output or to a file."""
    await server.run("-m", "notifier", "suppressions", "add", "Ann@example.net")
    written = tmp_path / "ann.jsonl"
    counts = []
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        done = await server.command("recipients", "export", "ANN@example.net")
        assert done.exit_code == 0, done.exception
        assert ("from the server" in done.stderr) is running
        first, *_, last = map(json.loads, done.stdout.splitlines())
        assert (first["kind"], first["address"]) == ("export", "ann@example.net")
        assert last["kind"] == "end"
        counts.append(last["counts"])
        done = await server.command("recipients", "export", "ann@example.net", str(written))
        assert done.exit_code == 0
        assert json.loads(written.read_text().splitlines()[-1])["counts"]["suppressions"] == 1
    online, offline = counts
    # Each export is told in the audit, as is whoever put the address on the list.
    assert online == offline | {"audit": 2}
    assert offline["audit"] == 4


async def test_a_person_is_erased_with_and_without_a_server(server):
    """At once where nothing is waited for; what is told is also JSON, and is not asked for."""
    pseudonyms = set()
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        await server.run("-m", "notifier", "suppressions", "add", "Ann@example.net")
        refused = await server.command("recipients", "erase", "ann@example.net")
        assert refused.exit_code == 2
        assert "give --yes" in refused.stderr
        done = await server.command("recipients", "erase", "--yes", "--json", "ANN@example.net")
        assert done.exit_code == 0, done.exception
        assert ("from the server" in done.stderr) is running
        erasure = json.loads(done.stdout)
        assert erasure["state"] == "done"
        assert erasure["counts"]["suppressions"] == 1
        pseudonyms.add(erasure["erased"])
        told = await server.command("recipients", "erase", "--yes", "ann@example.net")
        assert told.stdout.startswith(f"{erasure['erased']}  done\n")
        assert "not reached:\n  backups" in told.stdout
        left = await server.command("recipients", "export", "ann@example.net")
        assert '"address":"erased:' in left.stdout
    assert len(pseudonyms) == 1


async def test_invalid_address_is_reported(server):
    """With the server's words, and with those of the journal."""
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        for command in (("export",), ("erase", "--yes")):
            done = await server.command("recipients", *command, "no one@example.net")
            assert done.exit_code == 1
            assert "/address" in str(done.exception)
            assert done.stdout == ""
