"""What a caller and an operator see of the storm brake."""

import pytest

from notifier.quotas import Quota
from tests.api_keys import made
from tests.web_client import LETTER, problem_of, serving

TWO = Quota(2, "d")  # a day, so that hardly a test meets the end of it
PATH = "/v1/messages"


@pytest.fixture
async def stormy(tmp_path):
    """Two messages have gone, so the next one to the same recipient is one too many."""
    async with serving(tmp_path, per_recipient=TWO) as (service, client):
        await service.pause()
        for _ in range(2):
            assert (await client.post(PATH, json=LETTER)).json()["status"] == "queued"
        yield service, client


async def test_a_held_message_is_explained_counted_and_freed(stormy):
    """It is accepted with 202; the filter `reason` finds it; `retry` sends it."""
    _, client = stormy
    answer = await client.post(PATH, json=LETTER)
    assert answer.status_code == 202
    message = answer.json()
    assert (message["status"], message["reason"]) == ("held", "storm")
    explained = (await client.get(f"{PATH}/{message['id']}/explain")).json()["explanation"]
    assert "ann@example.net gets no more than 2 a day" in explained
    assert "/settle" not in explained  # no relay was asked, so there is nothing to know
    assert "notifier_storm_messages_total 1.0" in (await client.get("/metrics")).text
    which = {"status": "held", "reason": "storm"}
    assert (await client.get(f"{PATH}/count", params=which)).json()["count"] == 1
    found = (await client.get(PATH, params=which)).json()["items"]
    assert [each["id"] for each in found] == [message["id"]]
    freed = await client.post(f"{PATH}/retry", params=which)
    assert freed.json() == {"count": 1}
    assert (await client.get(f"{PATH}/{message['id']}")).json()["status"] == "queued"


async def test_a_refusal_says_when_to_try_again(tmp_path):
    """429 with Retry-After; in a permissive batch that message alone, with its own problem."""
    async with serving(tmp_path, per_recipient=TWO, on_storm="refuse") as (_, client):
        other = LETTER | {"to": ["bob@example.net"]}
        batch = [LETTER, LETTER, LETTER, other]
        headers = {"X-Batch-Validation": "permissive"}
        answer = await client.post(f"{PATH}/batch", json=batch, headers=headers)
        items = answer.json()["items"]
        assert [each["status"] for each in items] == [202, 202, 429, 202]
        assert items[2]["problem"]["type"] == "urn:notifier:problem:recipient-rate-exceeded"
        answer = await client.post(PATH, json=LETTER)
        problem = problem_of(answer, 429, "recipient-rate-exceeded")
        assert "ann@example.net gets no more than 2 a day" in problem["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 86_400
        strict = await client.post(f"{PATH}/batch", json=[other, LETTER])
        assert (
            "message 1 of the batch" in problem_of(strict, 429, "recipient-rate-exceeded")["detail"]
        )


async def test_a_repeated_request_gets_its_answer_beyond_the_quota(tmp_path):
    """It was accepted once, so it is no message more."""
    headers = {"Idempotency-Key": "k"}
    async with serving(tmp_path, per_recipient=Quota(1, "d"), on_storm="refuse") as (_, client):
        first = await client.post(PATH, json=LETTER, headers=headers)
        again = await client.post(PATH, json=LETTER, headers=headers)
        assert (again.status_code, again.json()) == (202, first.json())
        assert (await client.post(PATH, json=LETTER)).status_code == 429


async def test_a_key_has_its_own_quota_by_name(tmp_path):
    """As `notifier keys add --per-recipient` writes it."""
    ours = made(tmp_path, "alarms", per_recipient="1/d")
    async with serving(tmp_path) as (_, client):
        states = [
            (await client.post(PATH, json=LETTER, headers=ours)).json()["status"] for _ in range(2)
        ]
        assert states == ["queued", "held"]
