"""`notifier suppressions`: with a server, and without one."""

import json


async def test_the_list_is_seen_and_changed_with_and_without_a_server(server, tmp_path):
    """By HTTP while it runs and in the journal while it does not, with the same answers."""
    exported = tmp_path / "list.csv"
    for running in (True, False):
        if not running:
            assert await server.stop() == 0
        added = await server.command(
            "suppressions", "add", "Ann@x.org", "@y.org", "--key", "shop", "--until", "2100-01-31",
        )  # fmt: skip
        assert ("from the server" in added.stderr) is running
        assert (added.exit_code, added.stdout) == (0, "ann@x.org suppressed\n@y.org suppressed\n")
        listed = await server.command("suppressions", "list", "--domain", "x.org", "--json")
        (entry,) = json.loads(listed.stdout)["items"]
        assert entry["until"] == "2100-02-01T00:00:00Z"
        assert entry["source"] == "anonymous" if running else entry["source"].startswith("cli:")
        table = await server.command("suppressions", "list")
        assert [line.split()[0] for line in table.stdout.splitlines()] == [
            "ADDRESS", "@y.org", "ann@x.org",
        ]  # fmt: skip
        assert (await server.command("suppressions", "export", str(exported))).exit_code == 0
        assert exported.read_text().splitlines()[1].startswith("@y.org,manual,shop,")
        removed = await server.command("suppressions", "remove", "ann@x.org", "bob@x.org")
        assert removed.stdout == "ann@x.org removed\n"
        assert "bob@x.org" in str(removed.exception)
        taken = await server.command("suppressions", "remove", "--key", "shop", "--yes")
        assert taken.stdout == "1 removed\n"
        imported = await server.command("suppressions", "import", str(exported))
        assert imported.stdout == "2 imported\n"
        taken = await server.command("suppressions", "remove", "--reason", "manual", "--yes")
        assert taken.stdout == "2 removed\n"
        assert (await server.command("suppressions", "list")).stdout == "no suppressions\n"


async def test_wrong_input_is_reported(server, tmp_path):
    """A wrong address, a wrong end, a wrong line; neither or both ways to select."""
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("address\nnobody\n")
    for arguments, told in (
        (("add", "nobody"), "is not an address, a domain or a number"),
        (("add", "a@x.org", "--until", "soon"), "--until: 'soon' is neither a date nor a time"),
        (("import", str(wrong)), "line 2: 'nobody' is not an address"),
        (("remove",), "Give either addresses or options"),
        (("remove", "a@x.org", "--domain", "x.org"), "Give either addresses or options"),
        (("remove", "--domain", "x.org"), "give --yes"),
    ):
        done = await server.command("suppressions", *arguments)
        assert done.exit_code
        assert told in f"{done.stderr} {done.exception}"
