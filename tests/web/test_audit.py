"""The audit over HTTP: every call that changes something is recorded, with who called it."""

import json
from datetime import UTC, datetime

import pytest

from notifier.keys import KeyScope
from tests.api_keys import OURS, look, made, signed_in
from tests.web_client import LETTER, final, problem_of, serving

MANAGE, READ, SEND = KeyScope.MANAGE, KeyScope.READ, KeyScope.SEND
LOST = {"to": ["drop-after-dot@simulator.notifier"], "on_uncertain": "hold"}


@pytest.fixture
async def web(tmp_path, monkeypatch):
    """Nothing is recorded by time: a sum or a new key would be the newest record now and then."""
    monkeypatch.setattr("notifier.audit.keeping.LOOK_SECONDS", 3600.0)
    async with serving(tmp_path) as (service, client):
        yield service, client


async def records_of(client, query="", headers=None):
    answer = await client.get(f"/v1/audit?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_audit_records_each_act_on_messages_with_its_actor(web, tmp_path):
    """One message, and all that match with the filter and the count."""
    service, client = web
    keys = {"Authorization": made(tmp_path, "shop", SEND, MANAGE)["Authorization"]}
    look(service)
    client.headers.update(keys)
    answer = await client.post("/v1/messages", json=LETTER | LOST | {"tags": ["t"]})
    id = answer.json()["id"]
    assert (await final(client, id))["status"] == "held"
    await service.pause()
    for verb, body in (
        ("retry", None),
        ("send-now", None),
        ("cancel", None),
        ("settle", {"as": "sent", "why": "seen"}),
        ("copies", {"to": ["ann@example.org"]}),
    ):
        answer = await client.post(f"/v1/messages/{id}/{verb}", json=body)
        assert answer.status_code < 300, answer.text
        record = (await records_of(client))[0]
        assert record["what"] == ("copy" if verb == "copies" else verb)
        assert (record["by"], record["on"], record["count"]) == ("key:shop", id, 1)
    assert record["detail"].startswith("to ann@example.org as ")
    for verb in ("send-now", "cancel", "retry"):
        answer = await client.post(f"/v1/messages/{verb}?to=ann@example.org&channel=email")
        record = (await records_of(client))[0]
        assert record["what"] == verb
        assert record["count"] == answer.json()["count"]
        assert record["detail"] == "channel=email to=ann@example.org"
    refused = await client.post(f"/v1/messages/{id}/settle", json={"as": "failed"})
    assert refused.status_code == 409
    assert (await records_of(client))[0]["what"] == "retry"


async def test_operations_are_recorded(web):
    """Pauses, and what is deleted from the inbox; without keys the caller is anonymous."""
    _, client = web
    calls = {
        ("POST", "/v1/relays/capture/pause"): ("pause-relay", "capture"),
        ("POST", "/v1/relays/capture/resume"): ("resume-relay", "capture"),
        ("POST", "/v1/queue/pause"): ("pause-queue", ""),
        ("POST", "/v1/queue/resume"): ("resume-queue", ""),
        ("DELETE", "/inbox/messages"): ("delete-mails", "inbox"),
    }
    for (method, path), (what, on) in calls.items():
        assert (await client.request(method, path)).status_code == 200
        record = (await records_of(client))[0]
        assert (record["by"], record["what"], record["on"]) == ("anonymous", what, on)
    missing = await client.post("/v1/relays/nowhere/pause")
    assert missing.status_code == 404
    assert len(await records_of(client)) == len(calls)


async def test_messages_of_applications_are_not_recorded_twice(web, tmp_path):
    """They say who sent them; what a person sends from a browser is recorded."""
    service, client = web
    made(tmp_path, "ann", SEND, MANAGE)
    headers = made(tmp_path, "shop", SEND, MANAGE)
    look(service)
    secret = headers["Authorization"].removeprefix("Bearer ")
    assert (await client.post("/v1/messages", json=LETTER, headers=headers)).status_code == 202
    assert await records_of(client, "what=send-message", headers) == []
    assert (await signed_in(client, secret)).status_code == 200
    answer = await client.post("/v1/messages", json=LETTER, headers=OURS)
    (record,) = await records_of(client, "what=send-message")
    assert (record["by"], record["on"]) == ("monitor:shop", answer.json()["id"])
    (sign_in,) = await records_of(client, "what=sign-in")
    assert (sign_in["by"], sign_in["on"]) == ("monitor:shop", "127.0.0.1")
    await client.post("/sign-out", headers=OURS)
    (sign_out,) = await records_of(client, "what=sign-out", headers)
    assert sign_out["by"] == "monitor:shop"


async def test_audit_records_failed_sign_ins(web, tmp_path):
    """With the address and the reason; the key itself is nowhere."""
    service, client = web
    headers = made(tmp_path, "shop", MANAGE)
    look(service)
    secret = "ntf_000000000000_" + "s" * 43
    assert (await signed_in(client, secret)).status_code == 401
    (record,) = await records_of(client, "what=sign-in-refused", headers)
    assert (record["by"], record["on"]) == ("anonymous", "127.0.0.1")
    assert record["detail"] == "key 000000000000: this service has no such key"
    assert secret not in json.dumps(record)


async def test_managers_alone_see_it(web, tmp_path):
    """Not even who may read messages."""
    service, client = web
    reader = made(tmp_path, "reader", READ, SEND)
    look(service)
    for path in ("/v1/audit", "/v1/audit/export"):
        assert (await client.get(path)).status_code == 401
        problem_of(await client.get(path, headers=reader), 403, "forbidden")
    page = await client.get("/audit", headers=reader)
    assert "Only a key with the scope" in page.text
    assert "audit.js" not in page.text


async def test_it_is_exported_as_json_lines(web):
    """All that match, however many pages; a wrong filter is named."""
    service, client = web
    for number in range(1100):
        await service.audit.note("cli:root", "start" if number % 2 else "stop", on=str(number))
    answer = await client.get("/v1/audit/export?what=start")
    assert answer.headers["content-type"].startswith("application/jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == 550
    assert lines[0]["on"] == "1099"
    since = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    assert (await client.get(f"/v1/audit/export?since={since}")).text == ""
    for query in ("colour=red", "since=yesterday", "limit=0", "cursor=x"):
        assert (await client.get(f"/v1/audit?{query}")).status_code == 422
    page = (await client.get("/v1/audit?limit=2")).json()
    assert page["next_cursor"]
