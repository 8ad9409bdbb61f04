"""`notifier keys`, and what keys there are when a server starts."""

import asyncio
import json
import os
import re
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import httpx2
import pytest

from notifier.cli import add_key, cli, main
from notifier.keys import KeyKind, Keys, KeyScope
from tests.process import Server, environment, free_port, run_async
from tests.waiting import LIMIT
from tests.web_client import LETTER

SECRET = re.compile(r"ntf_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


NOBODY = 65534  # the service's user, as far as this is concerned


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def keys(tmp_path, monkeypatch, capsys):
    """`notifier keys`, in this process: one of its own for each takes half a second."""

    def run_here(*arguments, folder=tmp_path, **settings):
        with monkeypatch.context() as patch:
            for name, value in environment(data_dir=folder, **settings).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["notifier", "keys", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(ended.value.code, *capsys.readouterr())

    return run_here


async def made(folder, *arguments):
    """A key's secret, made by a process of its own."""
    done = await run_async("keys", "add", *arguments, data_dir=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def call(url, secret=None, **changes):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    with httpx2.Client(trust_env=False, timeout=LIMIT) as client:
        return client.post(f"{url}/v1/messages", json=LETTER | changes, headers=headers)


async def until_answered(status, url, secret=None):
    """The first answer of this status: the server looks at the file once a second."""
    async with asyncio.timeout(LIMIT):
        while (answer := await asyncio.to_thread(call, url, secret)).status_code != status:
            pass
    return answer


# --- add --------------------------------------------------------------------------------------


def test_a_key_is_printed_once_and_kept_as_a_hash(keys, tmp_path):
    """Standard output has the secret alone, and the data folder is made if it does not exist."""
    folder = tmp_path / "not" / "yet"
    done = keys("add", "billing", folder=folder)
    secret = done.stdout.removesuffix("\n")
    assert SECRET.fullmatch(secret)
    assert "not shown again" in done.stderr
    assert secret not in done.stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    assert secret[17:] not in (folder / "keys.toml").read_text()
    (key,) = Keys.read(folder / "keys.toml").all()
    assert (key.name, key.id, key.kind) == ("billing", secret.split("_")[1], KeyKind.LIVE)
    assert key.scopes == {KeyScope.SEND}


def test_every_option_is_a_term_of_the_key(keys, tmp_path):
    """All of them at once, into the file that NOTIFIER_API_KEYS names."""
    file = tmp_path / "elsewhere.toml"
    done = keys(
        "add", "team", "--json", "--kind", "team",
        "--scope", "send", "--scope", "read", "--sender", "us@x.org", "--sender", "@y.org",
        "--recipient-domain", "z.org", "--recipient", "ann@z.org", "--recipient", "@z.org",
        "--country", "us", "--country", "CA",
        "--rate", "60", "--daily", "1000", "--expires", "2099-01-31",
        "--return-path", "b+*@example.org",
        api_keys=file,
    )  # fmt: skip
    told = json.loads(done.stdout)
    (key,) = Keys.read(file).all()
    assert SECRET.fullmatch(told["key"])
    assert told.items() >= {"name": "team", "scopes": ["send", "read"], "valid": True}.items()
    assert key.scopes == {KeyScope.SEND, KeyScope.READ}
    assert (key.senders, key.recipients) == (("us@x.org", "@y.org"), ("ann@z.org", "@z.org"))
    assert (key.recipient_domains, key.kind) == (("z.org",), KeyKind.TEAM)
    assert (key.rate, key.daily, key.countries) == (60, 1000, ("US", "CA"))
    assert key.return_path == "b+*@example.org"
    assert f"{key.expires:%Y-%m-%d %H:%M}" == "2099-02-01 00:00"
    assert not (tmp_path / "keys.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a b"], "keys.a b: a name is"),
        (["x", "--rate", "0", "--sender", "nobody"], "keys.x.rate: "),
        (["x", "--rate", "0", "--sender", "nobody"], "keys.x.senders: "),
        (["x", "--kind", "team"], "keys.x.recipients: "),
        (["x", "--country", "USA"], "keys.x.countries: 'USA' is not a country"),
        (["x", "--recipient", "a@b.org"], "only a key of the kind 'team'"),
        (["x", "--expires", "tomorrow"], "expires: 'tomorrow' is neither"),
        (["x", "--expires", "2020-01-01"], "--expires: 2020-01-01 is in the past"),
        (["x", "--scope", "fly"], "'fly' is not one of"),
        (["x", "--kind", "dead"], "'dead' is not one of"),
        (["x", "--daily", "many"], "not a valid integer"),
        (["x", "--return-path", "bounces"], "not a bare address"),
        (["taken"], "there is a key named 'taken' already"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(keys, tmp_path, arguments, told):
    """Exit code 2, the fault in words, and the file as it was."""
    keys("add", "taken")
    before = (tmp_path / "keys.toml").read_bytes()
    done = keys("add", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""
    assert (tmp_path / "keys.toml").read_bytes() == before


def test_the_choices_are_those_that_there_are():
    """The command lists scopes and kinds by itself, in order that help needs no more loaded."""
    choices = {each.name: getattr(each.type, "choices", None) for each in add_key.params}
    assert list(choices["scopes"]) == [scope.value for scope in KeyScope]
    assert list(choices["kind"]) == [kind.value for kind in KeyKind]
    assert set(cli.commands["keys"].commands) == {"add", "list", "revoke"}


# --- list, revoke -----------------------------------------------------------------------------


def test_the_list_shows_what_each_key_may_do(keys, tmp_path):
    """A line for each, or all of it as JSON; never a hash or a secret."""
    empty = keys("list")
    assert empty.returncode == 0
    assert "no keys" in empty.stdout
    assert json.loads(keys("list", "--json").stdout) == []
    secret = keys("add", "a", "--rate", "5", "--scope", "manage").stdout.strip()
    keys("add", "b", "--sender", "@x.org", "--expires", "2099-01-31", "--kind", "test")
    keys("revoke", "a")
    table = keys("list").stdout
    head, a, b = table.splitlines()
    assert head.split()[:4] == ["NAME", "ID", "STATE", "KIND"]
    assert a.split()[0] == "a"
    assert "revoked 20" in a
    assert "manage" in a
    assert "5/min" in a
    assert b.split()[1:] == [
        b.split()[1], "until", "2099-02-01", "00:00", "test", "send", "none", "@x.org", "any",
    ]  # fmt: skip
    told = keys("list", "--json").stdout
    assert [(each["name"], each["valid"]) for each in json.loads(told)] == [
        ("a", False),
        ("b", True),
    ]
    hashes = [
        each["sha256"]
        for each in tomllib.loads((tmp_path / "keys.toml").read_text())["keys"].values()
    ]
    for text in (table, told):
        assert not [each for each in (secret[17:], *hashes) if each in text]


def test_a_revoked_key_stays_known(keys, tmp_path):
    """Its name cannot be given again, since messages bear it; an unknown one is a fault."""
    keys("add", "a")
    done = keys("revoke", "a")
    assert done.returncode == 0
    assert "the key 'a' was revoked on" in done.stdout
    told = json.loads(keys("revoke", "a", "--json").stdout)
    assert told["valid"] is False
    assert keys("add", "a").returncode == 2
    unknown = keys("revoke", "b")
    assert unknown.returncode == 2
    assert "no key is named 'b'; known: a" in unknown.stderr


async def test_a_revoked_keys_messages_are_cancelled(keys, tmp_path):
    """At a running server and in the journal; those of other keys stay. It is tried before."""
    data = tmp_path / "data"
    given = {"folder": data, "port": free_port()}
    shop, boss = (keys("add", name, "--scope", scope, **given).stdout.strip() for name, scope in
                  (("shop", "send"), ("boss", "manage")))  # fmt: skip
    other = keys("add", "other", **given).stdout.strip()
    later = {"send_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    server = Server(tmp_path)
    server.port = server.settings["port"] = given["port"]
    server.url = f"http://127.0.0.1:{server.port}"
    async with server:
        for secret in (shop, shop, other):
            answer = await asyncio.to_thread(call, server.url, secret, **later)
            assert answer.status_code == 202
        refused = keys("revoke", "shop", "--cancel", **given)
        assert refused.returncode == 1
        assert "401" in refused.stderr
        assert all(key.revoked is None for key in Keys.read(data / "keys.toml").all())
        done = keys("revoke", "shop", "--cancel", "--json", "--api-key", boss, **given)
        assert (done.returncode, json.loads(done.stdout)["cancelled"]) == (0, 2), done.stderr
        assert (await asyncio.to_thread(call, server.url, shop)).status_code == 401
        assert await server.stop() == 0
    offline = ("revoke", "other", "--cancel", "--offline")
    done = await asyncio.to_thread(keys, *offline, **given)
    assert done.stdout.splitlines()[-1] == "1 cancelled"
    assert keys("revoke", "other", "--url", "http://127.0.0.1:9", **given).returncode == 2


@pytest.mark.parametrize("arguments", [["add", "x"], ["list"], ["revoke", "x"]])
def test_a_broken_file_is_reported_and_left_alone(keys, tmp_path, arguments):
    """Exit code 2 with the file's name, for each of the commands."""
    (tmp_path / "keys.toml").write_text("[keys.x]\nid = 1\n")
    done = keys(*arguments)
    assert done.returncode == 2
    assert f"{tmp_path}/keys.toml: keys.x.sha256: is missing" in done.stderr
    assert (tmp_path / "keys.toml").read_text() == "[keys.x]\nid = 1\n"


# --- serve, send ------------------------------------------------------------------------------


def events(server):
    return {line["event"]: line for line in server.log}


async def test_a_running_server_takes_up_keys_and_loses_them(tmp_path):
    """Open on loopback while there is none, and says so; then only who has a key gets in."""
    async with Server(tmp_path) as server:
        data = server.settings["data_dir"]
        assert events(server)["anonymous"]["level"] == "info"
        assert "anonymous_anywhere" not in events(server)
        assert (
            "neither the message nor NOTIFIER_DEFAULT_FROM"
            in events(server)["default_sender"]["why"]
        )
        assert "texts_to_every_country" not in events(server)
        assert call(server.url).status_code == 202
        secret = (await run_async("keys", "add", "a", data_dir=data)).stdout.strip()
        await until_answered(401, server.url)
        assert call(server.url, secret).status_code == 202
        await run_async("keys", "revoke", "a", data_dir=data)
        answer = await until_answered(401, server.url, secret)
        assert "revoked" in answer.json()["detail"]
        assert await server.stop() == 0
        assert secret[17:] not in (tmp_path / "log.jsonl").read_text()


async def test_with_a_key_it_may_listen_anywhere(tmp_path):
    """Without one it does not start; with one it does, and lets nobody else in."""
    data = tmp_path / "data"
    port = free_port()
    refused = await run_async("serve", data_dir=data, host="0.0.0.0", port=port)
    assert refused.returncode == 2
    assert "NOTIFIER_ANONYMOUS=anywhere" in refused.stderr
    data.mkdir()
    (data / "keys.toml").write_text("# nobody yet\n")
    refused = await run_async("serve", data_dir=data, host="0.0.0.0", port=port)
    assert refused.returncode == 2
    secret = await made(data, "a")
    async with Server(tmp_path, host="0.0.0.0") as server:
        assert call(server.url).status_code == 401
        assert call(server.url, secret).status_code == 202
        assert not {"anonymous", "anonymous_anywhere"} & events(server).keys()


async def test_open_to_everybody_is_warned_of(tmp_path):
    """NOTIFIER_ANONYMOUS=anywhere says it in words, and the log says what it means."""
    async with Server(tmp_path, host="0.0.0.0", anonymous="anywhere") as server:
        warning = events(server)["anonymous_anywhere"]
        assert warning["level"] == "warning"
        assert "`notifier keys add`" in warning["why"]
        assert call(server.url).status_code == 202


@pytest.mark.parametrize(("countries", "told"), [(None, True), ("us, ca", False)])
async def test_texts_to_every_country_are_a_warning_at_the_start(tmp_path, countries, told):
    """The warning comes if a provider would send them and no country is named."""
    given = {"sms_provider": "https://127.0.0.1:1/", "default_from": "us@example.org"}
    given |= {"sms_countries": countries} if countries else {}
    async with Server(tmp_path, **given) as server:
        assert ("texts_to_every_country" in events(server)) is told
        assert "default_sender" not in events(server)


async def test_a_broken_file_stops_the_start(tmp_path):
    """Exit code 2, before anything listens: which keys there are cannot be known."""
    (tmp_path / "keys.toml").write_text("[keys")
    done = await run_async("serve", data_dir=tmp_path, port=free_port())
    assert done.returncode == 2
    assert f"{tmp_path}/keys.toml: is not TOML" in done.stderr
    assert "listening" not in done.stderr


async def test_send_shows_its_key(tmp_path):
    """--api-key takes KEY or @FILE. Without a key that may send, the reason is printed."""
    secret = await made(tmp_path / "data", "a")
    other = await made(tmp_path / "data", "reader", "--scope", "read")
    file = tmp_path / "key"
    file.write_text(f"{secret}\n")
    async with Server(tmp_path) as server:

        async def send(*arguments):
            return await run_async(
                "send", "--to", "a@x.org", "--text", "x", "--url", server.url, *arguments
            )

        assert "queued" in (await send("--api-key", secret)).stdout
        assert (await send("--api-key", f"@{file}", "--wait", "10")).stdout.endswith(" sent\n")
        for arguments, told in (
            ((), "401: an API key is needed"),
            (("--api-key", secret[:-1]), "401: this service has no such key"),
            (("--api-key", other), "403: the key 'reader' lacks the scope 'send'"),
        ):
            done = await send(*arguments)
            assert done.returncode == 1
            assert told in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_files_made_by_root_belong_to_the_service(keys, tmp_path):
    """The file is its folder's owner's at first, and stays whose it is."""
    os.chown(tmp_path, NOBODY, NOBODY)
    assert keys("add", "first").returncode == 0
    assert keys("add", "second").returncode == 0
    status = (tmp_path / "keys.toml").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (NOBODY, NOBODY, 0o600)
