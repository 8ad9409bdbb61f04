"""Saying over HTTP what became of messages."""

import asyncio

import pytest

from notifier.deliveries import Status
from tests.deliveries import entry
from tests.web_client import LETTER, final, problem_of, serving


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, retry_schedule=(3600.0,)) as (service, client):
        yield service, client


async def uncertain(client, **changes):
    """The id of a message whose outcome is unknown: held, unless it is to be sent again."""
    asked = {"to": ["drop-after-dot@simulator.notifier"], "on_uncertain": "hold"} | changes
    id = (await client.post("/v1/messages", json=LETTER | asked)).json()["id"]
    if asked["on_uncertain"] == "hold":
        assert (await final(client, id))["status"] == "held"
    else:
        while (await client.get(f"/v1/messages/{id}")).json()["status"] != "deferred":
            await asyncio.sleep(0)
    return id


async def settle(client, id, **body):
    return await client.post(f"/v1/messages/{id}/settle", json=body)


async def test_a_held_message_is_settled(web):
    """The answer is the message; the timeline and `explain` say who knew it, and how."""
    service, client = web
    id = await uncertain(client)
    explained = (await client.get(f"/v1/messages/{id}/explain")).json()["explanation"]
    assert f"POST /v1/messages/{id}/settle" in explained
    answer = await settle(client, id, **{"as": "sent", "why": "she has it"})
    assert answer.status_code == 200
    message = answer.json()
    assert (message["status"], message["recipients"][0]["status"]) == ("sent", "accepted")
    last = message["timeline"][-1]
    assert (last["what"], last["detail"]) == ("settled", "as sent: she has it")
    assert last["by"] == "anonymous"
    explained = (await client.get(f"/v1/messages/{id}/explain")).json()["explanation"]
    assert "settled as sent: she has it" in explained
    assert "unknown" not in explained
    assert service.tally.ended["email", "sent"] == 1


async def test_a_message_that_would_be_sent_again_is_not(client):
    """Settled while it waits for its next try."""
    id = await uncertain(client, on_uncertain="resend")
    assert (await settle(client, id, **{"as": "failed"})).json()["status"] == "failed"


async def test_a_finished_message_is_counted_once(web):
    """Cancelled, then known to have arrived: the counters have it once, and followers hear it."""
    service, client = web
    id = await uncertain(client)
    await client.post(f"/v1/messages/{id}/cancel")
    ended = dict(service.tally.ended)
    with service.feed.subscribe(id) as changes:
        message = (await settle(client, id, **{"as": "sent"})).json()
        assert (await changes.next()).status == "sent"
    assert dict(service.tally.ended) == ended
    assert [each["what"] for each in message["timeline"]][-2:] == ["cancelled", "settled"]


async def test_settling_a_known_outcome_is_a_409(client):
    """With the reason; the message stays as it is."""
    id = (await client.post("/v1/messages", json=LETTER)).json()["id"]
    await final(client, id)
    problem = problem_of(await settle(client, id, **{"as": "failed"}), 409, "wrong-state")
    assert "a relay has accepted it" in problem["detail"]
    missing = await settle(client, "nothing", **{"as": "failed"})
    problem_of(missing, 404, "message-not-found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/as"),
        ({"as": "delivered"}, "/as"),
        ({"as": "sent", "why": "x" * 501}, "/why"),
        ({"as": "sent", "why": "a\nb"}, "/why"),
        ({"as": "sent", "because": "x"}, "/because"),
    ],
)
async def test_a_wrong_field_is_named(client, body, pointer):
    """And nothing has changed."""
    id = await uncertain(client)
    problem = problem_of(await settle(client, id, **body), 422, "invalid-message")
    assert problem["errors"][0]["pointer"] == pointer
    assert (await client.get(f"/v1/messages/{id}")).json()["status"] == "held"


async def test_all_that_match_are_settled(web):
    """By the filters of the list; what cannot be settled is left alone and not counted."""
    service, client = web
    held = [await uncertain(client, tags=["sale"]) for _ in range(2)]
    await service.pause()
    other = (await client.post("/v1/messages", json=LETTER | {"tags": ["sale"]})).json()["id"]
    body = {"as": "failed", "why": "the relay lost them"}
    refused = await client.post("/v1/messages/settle", json=body)
    assert "at least one filter" in problem_of(refused, 422, "rejected")["detail"]
    answer = await client.post("/v1/messages/settle?tag=sale", json=body)
    assert answer.json() == {"count": 2}
    for id in held:
        message = (await client.get(f"/v1/messages/{id}")).json()
        assert (message["status"], message["reason"]) == (
            "failed",
            "settled as failed by anonymous: the relay lost them",
        )
    assert (await client.get(f"/v1/messages/{other}")).json()["status"] == "queued"


async def test_a_record_that_cannot_be_read_can_be_settled(web):
    """Its status is all that is written; what it says stays as it is."""
    service, client = web
    await service.journal.add([entry("d1", status=Status.HELD)])
    spoil = "UPDATE deliveries SET record = CAST('x' AS BLOB) WHERE id = 'd1'"
    await service.journal._writes.ask(lambda db: db.execute(spoil).fetchall())
    answer = await settle(client, "d1", **{"as": "sent"})
    assert answer.json()["status"] == "sent"
    assert (await client.get("/v1/messages/d1")).json()["status"] == "sent"
