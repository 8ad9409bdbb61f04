"""/v1/callbacks: what an operator sees of callbacks, and can do about them."""

import pytest

from notifier.keys import KeyScope
from tests.api_keys import made
from tests.applications import add_callback, callbacks_of
from tests.provider import Site
from tests.waiting import until
from tests.web_client import LETTER, final, problem_of, serving

GONE = 410, b"no more"


@pytest.fixture
def headers(tmp_path):
    """A key that may do everything, and one that may only read."""
    every = (KeyScope.SEND, KeyScope.MANAGE)
    return made(tmp_path, "shop", *every), made(tmp_path, "reader", KeyScope.READ)


async def listed(client, headers):
    answer = await client.get("/v1/callbacks", headers=headers)
    assert answer.status_code == 200
    return answer.json()["items"]


async def test_an_operator_sees_tests_resumes_and_replays(tmp_path, headers):
    """From the first answer, which pauses it, to the end; no secret is shown."""
    manager, reader = headers
    async with Site(GONE, (200, b"hello")) as site:
        add_callback(tmp_path, "shop", f"http://user:secret@127.0.0.1:{site.port}/hook?token=x")
        async with serving(tmp_path) as (_, client):
            begun = await listed(client, reader)
            for _ in range(2):
                sent = await client.post("/v1/messages", json=LETTER, headers=manager)
                client.headers = manager
                message = await final(client, sent.json()["id"])
                await until(lambda: _state(client, reader, "paused"))
            (paused,) = await listed(client, reader)
            tested = await client.post("/v1/callbacks/shop/test", headers=manager)
            resumed = await client.post("/v1/callbacks/shop/resume", headers=manager)
            await until(lambda: len(site.requests) == 3)
            await until(lambda: _state(client, reader, "working", waiting=0))
            query = {"since": message["created_at"]}
            replayed = await client.post("/v1/callbacks/shop/replay", params=query, headers=manager)
            await until(lambda: len(site.requests) == 4)
    place = f"http://127.0.0.1:{site.port}/hook?..."
    assert begun == [
        {
            "key": "shop",
            "url": place,
            "events": ["sent", "failed", "expired", "held", "bounced", "complained"],
            "state": "working",
            "reason": None,
            "since": None,
            "waiting": 0,
            "oldest_waiting_at": None,
            "last_answers": [],
        }
    ]
    assert paused["waiting"] == 1
    assert paused["reason"] == "it answered 410: no more"
    assert paused["last_answers"][0]["code"] == 410
    assert paused["last_answers"][0]["outcome"] == "gone"
    answer = tested.json()
    assert (answer["ok"], answer["code"], answer["reply"]) == (True, 200, "hello")
    assert resumed.json()["state"] == "working"
    assert replayed.json() == {"count": 1}
    assert [each["type"] for each in callbacks_of(site)] == [
        "message.sent", "callback.test", "message.sent", "message.sent",
    ]  # fmt: skip
    assert site.requests[0][1]["authorization"].startswith("Basic ")


async def _state(client, headers, state, **more):
    (found,) = await listed(client, headers)
    return found["state"] == state and all(found[name] == more[name] for name in more)


async def test_actions_need_manage(tmp_path, headers):
    """Reading is for `read`, acting for `manage`."""
    _, reader = headers
    add_callback(tmp_path, "shop", "http://127.0.0.1:9/")
    async with serving(tmp_path) as (_, client):
        for verb in ("test", "resume", "replay?since=2026-01-01T00:00:00Z"):
            answer = await client.post(f"/v1/callbacks/shop/{verb}", headers=reader)
            problem_of(answer, 403, "forbidden")


async def test_a_key_without_a_callback_is_not_found(tmp_path, headers):
    """The error names those that have one."""
    manager, _ = headers
    add_callback(tmp_path, "shop", "http://127.0.0.1:9/")
    async with serving(tmp_path) as (_, client):
        answer = await client.post("/v1/callbacks/reader/test", headers=manager)
        assert answer.status_code == 404
        problem = answer.json()
        assert problem["detail"].endswith("the keys with a callback: shop")
        answer = await client.post("/v1/callbacks/shop/replay", headers=manager)
        problem = problem_of(answer, 422, "invalid-parameter")
        assert problem["errors"][0]["parameter"] == "since"
