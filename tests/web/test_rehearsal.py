"""What tests of programs need of the mailbox: refusals, and a service that is as new."""

from datetime import UTC, datetime, timedelta

import pytest

from notifier.relayspec import RelaySpec
from tests.waiting import until
from tests.web_client import serving

LETTER = {"from": "us@example.org", "subject": "Hello", "text": "It works."}


@pytest.fixture
async def client(tmp_path):
    async with serving(tmp_path) as (_, client):
        yield client


async def sent(client, address="ann@example.org", **fields):
    """The message to this address, once it is settled."""
    answer = await client.post(
        "/v1/messages", json={"to": [address], **LETTER, **fields}, headers={"Prefer": "wait=30"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refuse(client, address="ann@example.org", **terms):
    answer = await client.post("/inbox/refusals", json={"address": address, **terms})
    assert answer.status_code == 200, answer.text


async def test_a_recipient_is_refused(client):
    """The mailbox answers RCPT as it was told, in either case, and takes the others."""
    await refuse(client, "Ann@Example.org", code=552, text="5.2.2 mailbox full")
    message = await sent(client)
    assert message["status"] == "failed"
    assert message["recipients"][0]["code"] == 552
    assert message["recipients"][0]["reply"] == "552 5.2.2 mailbox full"
    assert (await sent(client, "bob@example.org"))["status"] == "sent"


async def test_a_refusal_can_be_taken_back(client):
    """After DELETE nobody is refused."""
    await refuse(client)
    assert (await client.delete("/inbox/refusals")).json() == {"count": 1}
    assert (await sent(client))["status"] == "sent"


async def test_a_refusal_can_be_for_a_while(client):
    """With `times` the recipient is taken after so many refusals."""
    await refuse(client, times=2)
    assert [(await sent(client))["status"] for _ in range(3)] == ["failed", "failed", "sent"]


async def test_refusals_are_bounded(client):
    """Beyond a thousand the oldest is forgotten."""
    for number in range(1001):
        await refuse(client, f"n{number}@example.org")
    assert (await sent(client, "n0@example.org"))["status"] == "sent"
    assert (await client.delete("/inbox/refusals")).json() == {"count": 1000}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "/address"),
        ({"address": "ann"}, "/address"),
        ({"address": "ann@x.org\r\n"}, "/address"),
        ({"address": "ann@x.org", "code": 250}, "/code"),
        ({"address": "ann@x.org", "text": "a\r\nb"}, "/text"),
        ({"address": "ann@x.org", "times": 0}, "/times"),
        ({"address": "ann@x.org", "colour": "red"}, "/colour"),
    ],
)
async def test_a_wrong_refusal_is_refused(client, body, field):
    """What would not be a reply of SMTP is a fault of that field."""
    answer = await client.post("/inbox/refusals", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == field


async def test_reset_makes_the_service_as_new(client):
    """No mails, no refusals, nothing waits, and an idempotency key makes a new message."""
    again = {"Idempotency-Key": "order-17"}
    letter = {"to": ["ann@example.org"], **LETTER}
    first = (await client.post("/v1/messages", json=letter, headers=again)).json()["id"]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    later = {**letter, "send_at": tomorrow.isoformat()}
    scheduled = (await client.post("/v1/messages", json=later)).json()["id"]

    async def arrived():
        return (await client.get("/inbox/messages")).json()["total"]

    await until(arrived)
    await refuse(client)
    answer = await client.post("/inbox/reset")
    assert answer.json() == {"cancelled": 1, "mails": 1, "refusals": 1}
    assert (await client.get("/inbox/messages")).json()["total"] == 0
    assert (await client.get(f"/v1/messages/{scheduled}")).json()["status"] == "cancelled"
    second = (await client.post("/v1/messages", json=letter, headers=again)).json()["id"]
    assert second != first
    assert (await sent(client))["status"] == "sent"


async def test_reset_is_for_tests_alone(tmp_path):
    """Where there is another relay than the mailbox, nothing is cancelled or forgotten."""
    async with serving(tmp_path, relays=(RelaySpec(name="r", host="127.0.0.1", port=9),)) as (
        _,
        client,
    ):
        answer = await client.post("/inbox/reset")
    assert answer.status_code == 409
    assert "reset works only for tests" in answer.json()["detail"]
