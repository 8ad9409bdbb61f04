"""Many messages in one request: all or nothing, or each for itself."""

import asyncio

import pytest

from notifier import threads
from notifier.errors import JournalUnavailable
from notifier.web.api import message_json
from tests.waiting import LIMIT
from tests.web_client import JSON, LETTER, TEXT, serving

PERMISSIVE = {"X-Batch-Validation": "permissive"}
BATCH = "/v1/messages/batch"


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path) as (service, client):
        await service.pause()
        yield service, client


def letters(count):
    return [LETTER | {"reference": f"r{number}"} for number in range(count)]


def pointers(problem):
    return [each["pointer"] for each in problem["errors"]]


async def kept(client):
    items = (await client.get("/v1/messages?limit=200")).json()["items"]
    return [each["reference"] for each in reversed(items)]


# Strict


async def test_a_batch_counts_whole_against_the_backlog(tmp_path):
    """One that would not fit leaves nothing behind; up to the limit all are taken."""
    async with serving(tmp_path, max_backlog=5) as (service, client):
        await service.pause()
        assert (await client.post("/v1/messages/batch", json=[LETTER] * 2)).status_code == 202
        refused = await client.post("/v1/messages/batch", json=[LETTER] * 4)
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:notifier:problem:backlog-full"
        assert int(refused.headers["retry-after"]) >= 1
        assert len((await client.get("/v1/messages")).json()["items"]) == 2
        assert (await client.post("/v1/messages/batch", json=[LETTER] * 3)).status_code == 202
        assert (await client.post("/v1/messages", json=LETTER)).status_code == 429


async def test_all_are_accepted_in_order(client):
    """202 with one resource for each, emails and text messages, and they are there."""
    answer = await client.post(f"{BATCH}/", json=[*letters(3), TEXT])
    assert answer.status_code == 202, answer.text
    items = answer.json()["items"]
    assert [each["reference"] for each in items] == ["r0", "r1", "r2", None]
    assert [each["channel"] for each in items] == ["email"] * 3 + ["sms"]
    for each in items:
        assert (await client.get(f"/v1/messages/{each['id']}")).json() == each


async def test_one_that_cannot_be_sent_turns_down_all(client):
    """Every fault of every one, under its position; nothing is kept."""
    bad = [
        LETTER,
        LETTER | {"to": ["ann@example.net", "nobody"]},
        LETTER | {"subject": 1},
        7,
        TEXT | {"carrier": "AT&T"},
        LETTER | {"channel": "fax"},
        LETTER | {"metadata": {"a": "\0"}},
    ]
    answer = await client.post(BATCH, json=bad, headers={"X-Batch-Validation": "strict"})
    assert answer.status_code == 422
    assert pointers(answer.json()) == [
        *("/1/to/1", "/2/subject", "/3", "/4/carrier", "/5/channel", "/6/metadata")
    ]
    assert await kept(client) == []


async def test_a_batch_of_one_is_a_batch(client):
    """Its fault stands under position 0, too."""
    assert (await client.post(BATCH, json=[LETTER])).status_code == 202
    for bad, pointer in ((LETTER | {"to": ["nobody"]}, "/0/to/0"), ({}, "/0/to")):
        assert pointers((await client.post(BATCH, json=[bad])).json()) == [pointer]


# Permissive


async def test_each_stands_for_itself(client):
    """207: in order, what was accepted and what is wrong with the others."""
    batch = [LETTER | {"reference": "a"}, {}, LETTER | {"to": ["x"]}, TEXT | {"reference": "b"}]
    answer = await client.post(BATCH, json=batch, headers=PERMISSIVE)
    assert answer.status_code == 207
    items = answer.json()["items"]
    assert [each["status"] for each in items] == [202, 422, 422, 202]
    assert [each.keys() - {"status"} for each in items] == [
        *({"message"}, {"problem"}, {"problem"}, {"message"})
    ]
    # Within its own message: the position is told by where it stands.
    assert [pointers(each["problem"]) for each in items[1:3]] == [["/to"], ["/to/0"]]
    assert items[1]["problem"]["type"] == "urn:notifier:problem:invalid-message"
    assert await kept(client) == ["a", "b"]


async def test_all_may_be_wrong(client):
    """A list of problems is an answer; nothing is kept."""
    answer = await client.post(BATCH, json=[{}, 7], headers=PERMISSIVE)
    assert answer.status_code == 207
    assert [each["status"] for each in answer.json()["items"]] == [422, 422]
    assert await kept(client) == []


@pytest.mark.parametrize("value", ["lenient", "", "strict, permissive"])
async def test_an_unknown_validation_is_refused(client, value):
    """A typing error must not choose the other validation."""
    answer = await client.post(BATCH, json=[LETTER], headers={"X-Batch-Validation": value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["header"] == "X-Batch-Validation"


# Limits and shape


async def test_a_thousand_are_the_most(client):
    """One more is refused, and so is none at all."""
    assert (await client.post(BATCH, json=letters(1000))).status_code == 202
    for batch in (letters(1001), []):
        answer = await client.post(BATCH, json=batch)
        assert answer.status_code == 422
        assert pointers(answer.json()) == [""]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[", 400),
        (b"[{]", 400),
        (b'[{"to": ["ann@example.net"], "subject": "\xff"}]', 400),
        (b'[{"to": Infinity}]', 400),
        (b"[" * 100_000, 400),
        (b"[" + b'{"metadata": ' * 100_000 + b"1" + b"}" * 100_000 + b"]", 400),
        (b"{}", 422),
        (b"null", 422),
        (b"[null]", 422),
        (b"[[]]", 422),
    ],
)
@pytest.mark.parametrize("headers", [{}, PERMISSIVE])
async def test_body_that_is_no_batch_is_a_problem(client, body, status, headers):
    """Malformed as a whole: 400 whatever the validation; of another shape: 422."""
    answer = await client.post(BATCH, content=body, headers=JSON | headers)
    if headers and body in {b"[null]", b"[[]]"}:
        assert answer.status_code == 207
        return
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_batch_takes_no_parameters(client):
    """Least of all one that another address knows."""
    answer = await client.post(f"{BATCH}?dry_run=true", json=[LETTER])
    assert answer.status_code == 422
    assert await kept(client) == []


async def test_a_batch_is_no_message(client):
    """Its address is read as what it is: 405, and POST is all that there is."""
    answer = await client.get(BATCH)
    assert answer.status_code == 405
    assert {"GET", "POST"} & set(answer.headers["allow"].split(", ")) == {"POST"}


# One transaction, one key


async def test_a_key_stands_for_the_whole_batch(client):
    """The stored answer, byte for byte, and no second copy of any of them."""
    for validation, status in (({}, 202), (PERMISSIVE, 207)):
        headers = validation | {"Idempotency-Key": f"k{status}"}
        batch = [*letters(2), TEXT]
        first = await client.post(BATCH, json=batch, headers=headers)
        again = await client.post(BATCH, json=batch, headers=headers)
        assert (first.status_code, again.status_code) == (status, status)
        assert again.content == first.content
        assert again.headers["idempotency-replayed"] == "true"
    assert len(await kept(client)) == 6


async def test_a_key_stands_for_one_body_and_one_validation(client):
    """Another body or another validation under the same key is a mistake of the caller."""
    key = {"Idempotency-Key": "k"}
    assert (await client.post(BATCH, json=letters(2), headers=key)).status_code == 202
    for batch, headers in ((letters(3), key), (letters(2), key | PERMISSIVE)):
        answer = await client.post(BATCH, json=batch, headers=headers)
        assert answer.status_code == 422
        assert answer.json()["type"].endswith(":idempotency-mismatch")


async def test_many_at_once_with_one_key_make_one_batch(client):
    """Ten at a time get the same answer."""
    key = {"Idempotency-Key": "k"}
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(client.post(BATCH, json=letters(3), headers=key)) for _ in range(10)
        ]
    assert len({call.result().content for call in calls}) == 1
    assert await kept(client) == ["r0", "r1", "r2"]


async def test_a_journal_that_cannot_be_written_keeps_none(web, monkeypatch):
    """503 for all of them, also where each stands for itself."""
    service, client = web

    async def fail(*_):
        raise JournalUnavailable("the disk is full")

    monkeypatch.setattr(service.journal, "add", fail)
    for headers in ({}, PERMISSIVE):
        answer = await client.post(BATCH, json=letters(2), headers=headers)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


async def test_a_batch_is_sent_like_any_other_messages(web):
    """All of them, once it goes on."""
    service, client = web
    items = (await client.post(BATCH, json=letters(50))).json()["items"]
    await service.resume()
    async with asyncio.timeout(LIMIT):
        for each in items:
            await client.get(f"/v1/messages/{each['id']}?wait=30")
            outcome = await service.outcome(each["id"], timeout=LIMIT)
            assert outcome.status == "sent"


async def test_a_large_letter_in_a_batch_does_not_change_the_order(web):
    """What is composed in another thread comes back to its place."""
    client = web[1]
    large = LETTER | {"text": "x" * 300_000, "reference": "large"}
    answer = await client.post(BATCH, json=[large, *letters(2)])
    assert [each["reference"] for each in answer.json()["items"]] == ["large", "r0", "r1"]


@pytest.mark.parametrize("right", [True, False])
async def test_other_work_has_its_turn_between_the_messages_of_a_batch(web, monkeypatch, right):
    """Once a turn is over, before the next message is read, also where each is refused."""
    client = web[1]
    monkeypatch.setattr(threads, "TURN_SECONDS", 0.0)
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    read, read_one = [], message_json.read_one

    def counted(body):
        read.append(turns)
        return read_one(body)

    monkeypatch.setattr(message_json, "read_one", counted)
    turning = asyncio.create_task(turn())
    message = LETTER if right else LETTER | {"to": "nobody"}
    answer = await client.post(BATCH, json=[message] * 10)
    turning.cancel()
    assert answer.status_code == (202 if right else 422)
    assert len(set(read)) == len(read) == 10
