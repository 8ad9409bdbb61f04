"""Sessions: what the cookie is, what it opens, and when it ends."""

import asyncio
import json
from datetime import UTC, datetime
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from notifier.keys import Keys
from notifier.service import Notifier
from notifier.sessions import LIFETIME, MOST
from notifier.settings import Settings
from notifier.web.auth import COOKIE, SECURE_COOKIE
from notifier.web.ui import sign_in as signing
from tests.api_keys import OURS, look, made, signed_in
from tests.clocks import WallClock
from tests.waiting import LIMIT, until
from tests.web_client import LETTER, client_of, serving

PROXIED = {"X-Forwarded-Proto": "https", "Origin": "https://localhost"}


def key_in(folder, name="ann", *scopes):
    return made(folder, name, *(scopes or ("manage",)))["Authorization"].removeprefix("Bearer ")


def changed(folder, name, **terms):
    """The key of this name has other terms in the file now."""
    keys = Keys.read(folder / "keys.toml")
    keys._save(tuple(replace(each, **terms) if each.name == name else each for each in keys.all()))


async def test_the_cookie_is_not_the_key(tmp_path):
    """It is random, and the journal keeps its hash alone: nothing that opens is written down."""
    secret = key_in(tmp_path)
    async with serving(tmp_path) as (service, client):
        await signed_in(client, secret)
        first = client.cookies[COOKIE]
        await signed_in(client, secret)
        second = client.cookies[COOKIE]
        assert len({secret, first, second}) == 3
        assert not [part for part in secret.split("_", 2)[1:] if part in first]
        kept = json.dumps(await service.journal.values())
        for each in (secret, first, second):
            assert each not in kept
        headers = {"Cookie": f"{COOKIE}={first}"}
        client.cookies.clear()
        assert (await client.get("/v1/messages", headers=headers)).status_code == 401


@pytest.mark.parametrize("forged", ["", "x", "session:", "\xff" * 9, "a" * 5000, "ntf_key"])
async def test_a_wrong_session_opens_nothing(tmp_path, forged):
    """Also the key itself, where it stands for a session."""
    secret = key_in(tmp_path)
    async with serving(tmp_path) as (_, client):
        value = secret if forged == "ntf_key" else forged
        cookie = f"{COOKIE}={value}".encode("latin-1")
        for path, status in (("/v1/messages", 401), ("/monitor", 303)):
            assert (await client.get(path, headers={"Cookie": cookie})).status_code == status


async def test_behind_tls_the_cookie_is_for_this_host_alone(tmp_path):
    """
    `Secure`, and by a name that no other host and no plain page can set. A stranger's word on
    TLS is not believed.
    """
    secret = key_in(tmp_path)
    async with serving(tmp_path, public_path="/notifier") as (service, client):
        answer = await client.post("/sign-in", json={"key": secret}, headers=PROXIED)
        name, _, rest = answer.headers["set-cookie"].partition("=")
        token, *rules = rest.split("; ")
        assert name == SECURE_COOKIE == "__Host-notifier_session"
        rules = sorted(map(str.lower, rules))
        assert rules == ["httponly", "path=/", "samesite=strict", "secure"]
        client.cookies.clear()
        for sent, status in ((SECURE_COOKIE, 200), (COOKIE, 401)):
            headers = PROXIED | {"Cookie": f"{sent}={token}"}
            assert (await client.get("/v1/messages", headers=headers)).status_code == status
        async with client_of(service, client=("192.0.2.7", 1)) as stranger:
            answer = await stranger.post("/sign-in", json={"key": secret}, headers=PROXIED)
            assert answer.headers["set-cookie"].startswith(f"{COOKIE}=")
            assert "Secure" not in answer.headers["set-cookie"]


async def test_over_tls_of_our_own_it_is_secure_too(tmp_path):
    """By the scheme of the request."""
    secret = key_in(tmp_path)
    async with (
        serving(tmp_path) as (service, _),
        client_of(service, base_url="https://localhost") as client,
    ):
        headers = {"Origin": "https://localhost"}
        answer = await client.post("/sign-in", json={"key": secret}, headers=headers)
        assert "; Secure" in answer.headers["set-cookie"]
        assert (await client.get("/v1/messages")).status_code == 200


async def test_a_session_outlives_a_restart_until_it_is_signed_out(tmp_path):
    """On the server: the cookie that somebody has kept opens nothing any more."""
    secret = key_in(tmp_path)
    async with serving(tmp_path) as (_, client):
        await signed_in(client, secret)
        token = client.cookies[COOKIE]
    cookie = {"Cookie": f"{COOKIE}={token}"}
    async with serving(tmp_path) as (service, client):
        assert (await client.get("/v1/messages", headers=cookie)).status_code == 200
        assert (await client.post("/sign-out", headers=OURS | cookie)).status_code == 200
        assert (await client.get("/v1/messages", headers=cookie)).status_code == 401
        assert not [word for word in await service.journal.values() if word.startswith("session")]
    async with serving(tmp_path) as (_, client):
        assert (await client.get("/v1/messages", headers=cookie)).status_code == 401


async def test_a_session_ends_with_its_key(tmp_path):
    """Revoked, expired, with other scopes, or gone from the file: it opens nothing."""
    ends = [{"revoked": datetime.now(UTC)}, {"expires": datetime.now(UTC)}]
    for number, terms in enumerate([*ends, {"scopes": frozenset({"read"})}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        secret = key_in(folder)
        async with serving(folder) as (service, client):
            await signed_in(client, secret)
            assert (await client.get("/v1/messages")).status_code == 200
            changed(folder, "ann", **terms)
            look(service)
            assert (await client.get("/v1/messages")).status_code == 401
            assert (await client.get("/monitor")).status_code == 303


async def test_a_session_has_an_end(tmp_path):
    """Whatever is done meanwhile; and what has ended is dropped with the next sign-in."""
    secret = key_in(tmp_path)
    clock = WallClock()
    async with (
        Notifier(Settings(data_dir=str(tmp_path)), clock=clock) as service,
        client_of(service) as client,
    ):
        await signed_in(client, secret)
        clock.shift = LIFETIME * 0.99
        assert (await client.get("/v1/messages")).status_code == 200
        clock.shift = LIFETIME
        assert (await client.get("/v1/messages")).status_code == 401
        client.cookies.clear()
        await signed_in(client, secret)
        sessions = [each for each in await service.journal.values() if each.startswith("session")]
        assert len(sessions) == 1


async def test_one_key_has_so_many_sessions(tmp_path):
    """The next one ends the oldest: nobody fills the journal by signing in."""
    secret = key_in(tmp_path)
    async with serving(tmp_path) as (service, client):
        tokens = []
        for _ in range(MOST + 1):
            client.cookies.clear()
            await signed_in(client, secret)
            tokens.append(client.cookies[COOKIE])
        assert await service.sessions.known(tokens[0]) is None
        assert await service.sessions.known(tokens[1])
        assert await service.sessions.known(tokens[-1])


async def test_the_oldest_session_ends_first_in_whatever_order_the_journal_has_them(tmp_path):
    """A database promises no order of its rows."""
    secret = key_in(tmp_path)
    async with serving(tmp_path) as (service, client):
        tokens = []
        for _ in range(MOST):
            client.cookies.clear()
            await signed_in(client, secret)
            tokens.append(client.cookies[COOKIE])
        kept = await service.journal.values()
        with pytest.MonkeyPatch.context() as patch:
            backwards = AsyncMock(return_value=dict(reversed(kept.items())))
            patch.setattr(service.journal, "values", backwards)
            await service.sessions.load()
        client.cookies.clear()
        await signed_in(client, secret)
        known = [await service.sessions.known(token) is not None for token in tokens]
    assert known == [False, *[True] * (MOST - 1)]


async def test_each_sign_in_is_logged(tmp_path):
    """By the key's name; in vain by address and the key's id, without what was tried."""
    secret = key_in(tmp_path)
    async with serving(tmp_path) as (_, client):
        with capture_logs() as logs:
            await signed_in(client, secret[:-1] + "!")
            await signed_in(client, secret)
            await client.post("/sign-out", headers=OURS)
    told = {each["event"]: each for each in logs}
    assert told["sign_in_refused"]["key_id"] == secret.split("_")[1]
    assert told["sign_in_refused"]["client"] == "127.0.0.1"
    assert told["signed_in"]["by"] == told["signed_out"]["by"] == "monitor:ann"
    assert secret.split("_", 2)[2][:-1] not in json.dumps(logs, default=str)


@pytest.mark.usefixtures("no_time_passes")
async def test_wrong_keys_are_slowed_by_address(tmp_path):
    """Only that address is slowed, as the local proxy reports it. A right key always works."""
    secret = key_in(tmp_path)
    async with serving(tmp_path) as (_, client):

        async def tried(key, address):
            headers = OURS | {"X-Forwarded-For": f"10.9.9.9, {address}"}
            return await client.post("/sign-in", json={"key": key}, headers=headers)

        answers = [await tried("ntf_x", "192.0.2.1") for _ in range(signing.WRONG_A_MINUTE + 1)]
        assert [each.status_code for each in answers] == [401] * signing.WRONG_A_MINUTE + [429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert (await tried("ntf_x", "192.0.2.2")).status_code == 401
        assert (await tried(secret, "192.0.2.1")).status_code == 200


async def test_an_action_in_the_monitor_names_its_caller(tmp_path):
    """`by` in the timeline, and in the log: the key's name, and that it was in a browser."""
    secret = key_in(tmp_path, "ann", "manage", "send")
    async with serving(tmp_path) as (_, client):
        await signed_in(client, secret)
        with capture_logs() as logs:
            assert (await client.post("/v1/queue/pause", headers=OURS)).status_code == 200
            accepted = (await client.post("/v1/messages", json=LETTER, headers=OURS)).json()
            path = f"/v1/messages/{accepted['id']}/cancel"
            cancelled = (await client.post(path, headers=OURS)).json()
    assert [(each["what"], each["by"]) for each in cancelled["timeline"]] == [
        ("accepted", "monitor:ann"),
        ("cancelled", "monitor:ann"),
    ]
    by = {each["event"]: each.get("by") for each in logs}
    assert by["paused"] == by["changed"] == "monitor:ann"


@pytest.mark.parametrize("how", ["key", "session", "signed out", "first key"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events?digest=true", "/inbox/events"])
async def test_an_open_stream_ends_with_its_key_or_session(tmp_path, how, path):
    """A key that is revoked, a session that ends, and the first key where there was none."""
    if how != "first key":
        secret = key_in(tmp_path)
    async with serving(tmp_path) as (service, client):
        headers = {}
        if how == "key":
            headers = {"Authorization": f"Bearer {secret}"}
        elif how != "first key":
            await signed_in(client, secret)
        streaming = asyncio.create_task(client.get(path, headers=headers))
        await until(lambda: service.feed.watched or service.mailbox._listeners)
        if how == "signed out":
            assert (await client.post("/sign-out", headers=OURS)).status_code == 200
        elif how == "first key":
            key_in(tmp_path)
        else:
            Keys.read(tmp_path / "keys.toml").revoke("ann", datetime.now(UTC))
        look(service)
        async with asyncio.timeout(LIMIT):
            answer = await streaming
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")


async def test_replicas_share_sessions(tmp_path, postgres):
    """Signed in at one, at home in the other at once; signed out at one, at no other."""
    url = await postgres.database()
    secret = key_in(tmp_path)
    file = str(tmp_path / "keys.toml")
    async with (
        serving(tmp_path / "1", journal=url, api_keys=file) as (_, one),
        serving(tmp_path / "2", journal=url, api_keys=file) as (service, other),
    ):
        await signed_in(one, secret)
        cookie = {"Cookie": f"{COOKIE}={one.cookies[COOKIE]}"}
        assert (await other.get("/v1/messages", headers=cookie)).status_code == 200
        assert (await one.post("/sign-out", headers=OURS)).status_code == 200
        await until(lambda: service.sessions.key_of(one_token(cookie)) is None)
        assert (await other.get("/v1/messages", headers=cookie)).status_code == 401


def one_token(cookie):
    return cookie["Cookie"].partition("=")[2]
