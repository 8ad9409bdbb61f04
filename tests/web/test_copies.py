"""The same content to the right address, over HTTP."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest

from notifier.keys import KeyScope
from tests.api_keys import made
from tests.web_client import LETTER, final, problem_of, serving

RIGHT = {"to": ["Right <right@example.net>"]}
SEND, READ = KeyScope.SEND, KeyScope.READ


async def post(client, headers=None, **changes):
    answer = await client.post("/v1/messages", json=LETTER | changes, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def copied(client, id, body=RIGHT, headers=None):
    return await client.post(f"/v1/messages/{id}/copies", json=body, headers=headers)


async def source(client, id):
    return (await client.get(f"/v1/messages/{id}/source")).content


async def test_the_content_goes_to_the_right_address(client):
    """A message of its own, found by what the first was found by; the first one tells of it."""
    found_by = {"reference": "r1", "tags": ["t"], "metadata": {"a": 1}, "user_id": "7"}
    id = await post(client, cc=["boss@example.net"], priority="urgent", **found_by)
    first = await final(client, id)
    answer = await copied(client, id)
    assert answer.status_code == 202
    copy = answer.json()
    assert answer.headers["location"] == f"/v1/messages/{copy['id']}"
    assert (copy["copy_of"], first["copy_of"]) == (id, None)
    assert copy["id"] != id
    assert {name: copy[name] for name in found_by} == found_by
    assert [each["address"] for each in copy["recipients"]] == ["right@example.net"]
    assert (await final(client, copy["id"]))["status"] == "sent"
    mail = message_from_bytes(await source(client, copy["id"]), policy=policy.default)
    assert mail["To"] == "Right <right@example.net>"
    assert mail["Cc"] is None
    assert mail["Message-ID"] == f"<{copy['id']}@example.org>"
    assert mail.get_content().strip() == LETTER["text"]
    last = (await client.get(f"/v1/messages/{id}")).json()["timeline"][-1]
    assert (last["what"], last["by"]) == ("copied", "anonymous")
    assert last["detail"] == f"to right@example.net as {copy['id']}"
    listed = (await client.get("/v1/messages")).json()["items"]
    assert [each["copy_of"] for each in listed] == [id, None]


async def test_a_repeated_request_makes_one_copy(web, tmp_path):
    """Under its idempotency key, also once the content is gone; waiting works, too."""
    service, client = web
    id = await post(client)
    await final(client, id)
    headers = {"Idempotency-Key": "k", "Prefer": "wait=30"}
    first = await copied(client, id, headers=headers)
    assert (first.status_code, first.json()["status"]) == (200, "sent")
    later = datetime.now(UTC) + timedelta(days=1)
    await service.journal.prune(
        finished_before=datetime(2020, 1, 1, tzinfo=UTC),
        contents_before=later,
        now=datetime(2020, 1, 1, tzinfo=UTC),
    )
    again = await copied(client, id, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert (await client.get("/v1/messages/count")).json()["count"] == 2
    problem = problem_of(await copied(client, id), 409, "wrong-state")
    assert "NOTIFIER_BODY_RETENTION" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/to"),
        ({"to": []}, "/to"),
        ({"to": ["nobody"]}, "/to/0"),
        ({"to": ["a@b.org"] * 51}, "/to"),
        ({"to": ["a@b.org", "success@simulator.notifier"]}, "/to"),
        ({"to": ["a@b.org"], "cc": ["b@b.org"]}, "/cc"),
    ],
)
async def test_a_wrong_field_is_named(client, body, pointer):
    """As for any message; nothing is sent."""
    id = await post(client)
    problem = problem_of(await copied(client, id, body), 422, "invalid-message")
    assert problem["errors"][0]["pointer"] == pointer
    assert (await client.get("/v1/messages/count")).json()["count"] == 1


async def test_the_rules_of_the_callers_key_hold(web, tmp_path):
    """Its senders, recipients, rate and scopes, whoever sent the first message."""
    service, client = web
    shop = made(tmp_path, "shop", SEND)
    rules = {
        "billing": {"senders": ("billing@example.org",)},
        "near": {"recipient_domains": ("example.org",)},
        "slow": {"rate": 1},
    }
    keys = {name: made(tmp_path, name, SEND, READ, **terms) for name, terms in rules.items()}
    reader, other = made(tmp_path, "reader", READ), made(tmp_path, "other", SEND)
    service.keys.look_at = 0.0
    id = await post(client, headers=shop)
    own = await copied(client, id, headers=shop)
    assert (own.status_code, own.json()["key"]) == (202, "shop")
    for headers, says in (
        (keys["billing"], "may not send as me@example.org"),
        (keys["near"], "may not send to right@example.net"),
        (reader, "lacks the scope 'send'"),
    ):
        refused = problem_of(await copied(client, id, headers=headers), 403, "forbidden")
        assert says in refused["detail"]
    assert (await copied(client, id, headers=keys["slow"])).json()["key"] == "slow"
    assert (await copied(client, id, headers=keys["slow"])).status_code == 429
    for which in (id, "0" * 32):
        unseen = problem_of(await copied(client, which, headers=other), 404, "message-not-found")
        assert "'other' has sent no message" in unseen["detail"]


async def test_a_text_through_a_provider_goes_to_another_number(tmp_path):
    """A text by a carrier's gateway was made for that carrier, so it does not."""
    provider = "http://127.0.0.1:9/"
    async with serving(tmp_path, sms_provider=provider) as (service, client):
        await service.pause()
        text = {"channel": "sms", "to": "+12025550123", "text": "Hi {you}."}
        id = (await client.post("/v1/messages", json=text)).json()["id"]
        copy = (await copied(client, id, {"to": ["+1 202 555 0199"]})).json()
        assert (copy["channel"], copy["copy_of"]) == ("sms", id)
        assert [each["address"] for each in copy["recipients"]] == ["+12025550199"]
        assert b"Hi {you}." in await source(client, copy["id"])
        two = problem_of(
            await copied(client, id, {"to": ["+12025550123", "+12025550199"]}),
            422,
            "invalid-message",
        )
        assert two["errors"][0]["message"] == "a text message has one recipient"
    async with serving(tmp_path / "gateway") as (_, client):
        by_carrier = text | {"carrier": "us cellular"}
        id = (await client.post("/v1/messages", json=by_carrier)).json()["id"]
        refused = problem_of(await copied(client, id, {"to": ["+12025550199"]}), 409, "wrong-state")
        assert "carrier's gateway" in refused["detail"]
