"""Signing in with a key: what the cookie opens, and for whom alone."""

import pytest

from notifier.keys import KeyScope
from tests.api_keys import OURS, made, signed_in
from tests.web_client import LETTER, serving

FOREIGN = [
    {},
    {"Origin": "null"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.fixture
async def locked(tmp_path):
    """A service with one key for each scope, and a client that has none."""
    secrets = {}
    for scope in (KeyScope.SEND, KeyScope.READ, KeyScope.MANAGE):
        shown = made(tmp_path, scope.value, scope)["Authorization"]
        secrets[scope.value] = shown.removeprefix("Bearer ")
    async with serving(tmp_path) as (service, client):
        yield service, client, secrets


async def test_a_key_becomes_a_cookie(locked):
    """No script can read it, no other site sends it, and it is never shown again."""
    _, client, secrets = locked
    answer = await signed_in(client, f"  {secrets['read']}\n")
    assert answer.json() == {"name": "read", "scopes": ["read"]}
    rules = answer.headers["set-cookie"].lower().split("; ")[1:]
    assert sorted(rules) == ["httponly", "path=/", "samesite=strict"]
    assert (await client.get("/v1/messages")).status_code == 200
    assert (await client.get("/monitor")).status_code == 200


async def test_signing_out_takes_it_away(locked):
    """From then on nothing opens."""
    _, client, secrets = locked
    await signed_in(client, secrets["read"])
    await client.post("/sign-out", headers=OURS)
    assert (await client.get("/v1/messages")).status_code == 401


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_foreign_page_neither_signs_in_nor_acts(locked, headers):
    """With the cookie there, and with no cookie: only a page of ours does."""
    _, client, secrets = locked
    for path in ("/sign-in", "/sign-out"):
        body = {"key": secrets["read"]} if path == "/sign-in" else None
        assert (await client.post(path, json=body, headers=headers)).status_code == 403
    await signed_in(client, secrets["manage"])
    assert (await client.post("/v1/queue/pause", headers=headers)).status_code == 403
    assert (await client.get("/v1/messages", headers=headers)).status_code == 200
    assert (await client.post("/v1/queue/pause", headers=OURS)).status_code == 200


async def test_a_program_needs_no_origin(locked):
    """Whoever shows the key itself was not tricked into it."""
    _, client, secrets = locked
    headers = {"Authorization": f"Bearer {secrets['manage']}"}
    assert (await client.post("/v1/queue/pause", headers=headers)).status_code == 200


async def test_to_look_is_not_to_act(locked):
    """A `read` cookie sees, and changes nothing."""
    _, client, secrets = locked
    await signed_in(client, secrets["read"])
    assert (await client.post("/v1/queue/pause", headers=OURS)).status_code == 403
    assert (await client.post("/v1/messages", json=LETTER, headers=OURS)).status_code == 403


@pytest.mark.parametrize("path", ["/monitor?status=sent&q=a+b", "/monitor/messages/abc", "/inbox"])
async def test_a_caller_without_read_is_led_to_the_sign_in(locked, path):
    """And comes back to where they wanted to go. A key that only sends may not look either."""
    _, client, secrets = locked
    for key in (None, secrets["send"]):
        if key:
            assert (await signed_in(client, key)).status_code == 200
        answer = await client.get(path)
        assert answer.status_code == 303
        _, _, asked = answer.headers["location"].partition("/sign-in?next=")
        assert client.build_request("GET", f"/x?next={asked}").url.params["next"] == path
    assert "needs the scope" in (await client.get("/sign-in")).text


@pytest.mark.parametrize("body", [b"", b"{}", b'{"key": 7}', b'{"key": "' + b"a" * 2000 + b'"}'])
async def test_a_wrong_key_is_refused(locked, body):
    """Whatever is sent there."""
    _, client, _ = locked
    headers = OURS | {"Content-Type": "application/json"}
    answer = await client.post("/sign-in", content=body, headers=headers)
    assert answer.status_code in (400, 413, 422)
    assert "set-cookie" not in answer.headers


async def test_a_wrong_key_is_refused_in_words(locked):
    """And nothing is kept of it."""
    _, client, secrets = locked
    answer = await signed_in(client, secrets["read"][:-1] + "!")
    assert (answer.status_code, answer.json()["detail"]) == (401, "this service has no such key")
    assert "set-cookie" not in answer.headers
