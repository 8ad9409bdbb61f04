"""`Idempotency-Key`, on every call that makes messages: a request that is repeated makes none."""

import ast
import asyncio
from datetime import timedelta

import pytest

from notifier.errors import JournalUnavailable
from notifier.intake.rates import MINUTE
from notifier.journal import Filter
from notifier.keys import KeyScope
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.web.app import create_app
from notifier.web.routes import access_to
from tests.api_keys import made
from tests.clocks import WallClock
from tests.paths import PACKAGE
from tests.routes import routes_of
from tests.web_client import LETTER, SIMPLE, client_of, final, serving

TEXT = {"phone_number": "2025550123", "provider": "us cellular", "message": "Hi."}
# Each call that makes messages: a body, and the field of it that another body has otherwise.
MAKERS = {
    "/v1/messages": (LETTER, "subject"),
    "/v1/messages/batch": ([LETTER], "subject"),
    "/send-email": (SIMPLE, "subject"),
    "/send-async": (SIMPLE, "subject"),
    "/send-sms": (TEXT, "message"),
}
# Held to the same by tests/web/test_copies.py: its path names a message.
COPIES = {"/v1/messages/{id:str}/copies"}
MAKES_NONE = {"/v1/templates/{name:str}/preview"}
KEY = {"Idempotency-Key": "order-1042"}
HELD_BACK = {"wait_limit": 0.05}  # seconds that /send-async waits at a queue that is paused

every_maker = pytest.mark.parametrize("path", MAKERS)


@pytest.fixture
async def web(tmp_path):
    settings = {"sms_from": "shop@example.org", "sms_region": "US"} | HELD_BACK
    async with serving(tmp_path, **settings) as (service, client):
        await service.pause()
        yield service, client


def body_of(path):
    return MAKERS[path][0]


def other_of(path):
    body, field = MAKERS[path]
    change = {field: "Something else."}
    return [body[0] | change] if isinstance(body, list) else body | change


async def count(service):
    return await service.journal.count(Filter(), most=1000)


def id_in(answer):
    body = answer.json()
    return body["items"][0]["id"] if "items" in body else body["id"]


async def test_every_call_that_makes_messages_is_held_to_these_tests(tmp_path):
    """A new route whose calls need `send` stands in the list above, or makes no messages."""
    async with serving(tmp_path) as (service, _):
        found = {
            path
            for path, handler in routes_of(create_app(service))
            if access_to(handler).scope is KeyScope.SEND
            and "POST" in {str(method) for method in handler.http_methods}
        }
    assert found == MAKERS.keys() | COPIES | MAKES_NONE


def test_one_module_alone_hands_in():
    """Any other way from the web to the service would go past the idempotency keys."""
    callers = {
        path.name
        for path in (PACKAGE / "web").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("service.submit")
    }
    assert callers == {"submissions.py"}


@every_maker
async def test_the_same_request_makes_one_message(web, path):
    """The same key and body, with a trailing slash or without: the first answer, marked."""
    service, client = web
    first = await client.post(path, json=body_of(path), headers=KEY)
    again = await client.post(f"{path}/", json=body_of(path), headers=KEY)
    assert first.status_code == 202, first.text
    assert "idempotency-replayed" not in first.headers
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers.get("location") == first.headers.get("location")
    assert await count(service) == 1


@every_maker
async def test_another_body_under_the_key_is_refused(web, path):
    """422, and nothing is added."""
    service, client = web
    await client.post(path, json=body_of(path), headers=KEY)
    other = await client.post(path, json=other_of(path), headers=KEY)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:notifier:problem:idempotency-mismatch"
    assert await count(service) == 1


async def test_a_key_belongs_to_one_path(client):
    """The same body at another address is another request."""
    await client.post("/send-email/", json=SIMPLE, headers=KEY)
    other = await client.post("/send-async/", json=SIMPLE, headers=KEY)
    assert other.json()["type"] == "urn:notifier:problem:idempotency-mismatch"


@every_maker
async def test_fifty_at_once_make_one_message(web, path):
    """All of them get its id, and one of them is the first."""
    service, client = web
    answers = await asyncio.gather(
        *(client.post(path, json=body_of(path), headers=KEY) for _ in range(50))
    )
    assert {each.status_code for each in answers} == {202}
    assert len({id_in(each) for each in answers}) == 1
    assert sum("idempotency-replayed" in each.headers for each in answers) == 49
    assert await count(service) == 1


@every_maker
@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "\u00fc", "tab\t"])
async def test_a_wrong_idempotency_key_names_its_header(web, path, key):
    """1 to 255 visible ASCII characters; anything else names the header."""
    service, client = web
    answer = await client.post(path, json=body_of(path), headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 422
    assert [each["header"] for each in answer.json()["errors"]] == ["Idempotency-Key"]
    assert await count(service) == 0


@every_maker
async def test_two_keys_for_one_request_are_none(client, path):
    """Which of them stands for it, nobody could say."""
    keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await client.post(path, json=body_of(path), headers=keys)
    assert answer.json()["errors"] == [
        {"message": "must be given only once", "header": "Idempotency-Key"}
    ]


@every_maker
async def test_each_api_key_has_idempotency_keys_of_its_own(tmp_path, path):
    """Two callers who count their orders alike do not get one another's answers."""
    callers = [made(tmp_path, name) for name in ("one", "two")]
    settings = {"sms_from": "shop@example.org", "sms_region": "US"} | HELD_BACK
    async with serving(tmp_path, **settings) as (service, client):
        await service.pause()
        answers = [
            await client.post(path, json=body_of(path), headers=caller | KEY) for caller in callers
        ]
        assert {each.status_code for each in answers} == {202}
        assert len({id_in(each) for each in answers}) == 2


@every_maker
async def test_it_says_so_in_the_document(client, path):
    """The header is described for each of these calls, and what its answer says."""
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"][path]["post"]
    assert "Idempotency-Key" in [each["name"] for each in operation["parameters"]]
    assert "Idempotency-Replayed" in operation["responses"]["202"]["headers"]


# What the repetition of a call that waits is told


async def test_a_repeated_call_that_waits_gets_the_outcome_of_the_first(tmp_path):
    """While the first still waits, so does the second; both learn that it was sent."""
    async with serving(tmp_path) as (service, client):
        await service.pause()
        calls = [
            asyncio.create_task(client.post("/send-async/", json=SIMPLE, headers=KEY))
            for _ in range(2)
        ]
        while await count(service) == 0:
            await asyncio.sleep(0)
        await service.resume()
        answers = await asyncio.gather(*calls)
        again = await client.post("/send-async/", json=SIMPLE, headers=KEY)
    assert [each.status_code for each in (*answers, again)] == [200, 200, 200]
    assert len({each.json()["id"] for each in (*answers, again)}) == 1
    assert again.json()["result"].startswith("sent: 250")
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_refusal_is_answered_again_without_another_attempt(tmp_path):
    """The repetition gets 502 with the same id and words, marked as a replay."""
    body = SIMPLE | {"email_to": "perm-fail@simulator.notifier"}
    async with serving(tmp_path) as (service, client):
        first = await client.post("/send-async/", json=body, headers=KEY)
        again = await client.post("/send-async/", json=body, headers=KEY)
        assert (first.status_code, again.status_code) == (502, 502)
        assert again.json() == first.json()
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert await count(service) == 1


async def test_a_call_that_was_not_waited_for_long_enough_is_asked_again(web):
    """The first answer was 202. The repetition shows the message as it is now."""
    service, client = web
    first = await client.post("/send-async/", json=SIMPLE, headers=KEY)
    assert (first.status_code, first.json()["result"]) == (202, "queued")
    await service.resume()
    await final(client, first.json()["id"])
    again = await client.post("/send-async/", json=SIMPLE, headers=KEY)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


async def test_a_message_that_is_no_more_is_answered_as_it_was(tmp_path):
    """Its key lives longer than the message is kept: a repeated call gets the stored words."""
    async with serving(tmp_path) as (service, client):
        first = await client.post("/send-async/", json=SIMPLE, headers=KEY)
        long_after = WallClock()() + timedelta(days=1)
        await service.journal.prune(
            finished_before=long_after, contents_before=long_after, now=WallClock()()
        )
        again = await client.post("/send-async/", json=SIMPLE, headers=KEY)
        assert (await client.get(f"/v1/messages/{first.json()['id']}")).status_code == 404
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["idempotency-replayed"] == "true"


# What stands against the request only now


async def test_repeat_of_an_accepted_message_is_answered_past_the_rate(tmp_path):
    """Who lost the answer to the last message of the minute gets it, and not a 429."""
    caller = made(tmp_path, rate=1)
    async with serving(tmp_path) as (_, client):
        first = await client.post("/v1/messages", json=LETTER, headers=caller | KEY)
        again = await client.post("/v1/messages", json=LETTER, headers=caller | KEY)
        other = await client.post(
            "/v1/messages", json=LETTER, headers=caller | {"Idempotency-Key": "2"}
        )
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 429


async def test_a_repeated_request_is_answered_after_its_time_is_over(tmp_path):
    """A message that would be refused by now was not when it was handed in."""
    clock = WallClock()
    settings = Settings(data_dir=str(tmp_path))
    async with Notifier(settings, clock=clock) as service, client_of(service) as client:
        await service.pause()
        ends = clock() + timedelta(seconds=MINUTE)
        body = LETTER | {"expires_at": ends.isoformat()}
        first = await client.post("/v1/messages", json=body, headers=KEY)
        clock.shift += timedelta(seconds=2 * MINUTE)
        again = await client.post("/v1/messages", json=body, headers=KEY)
        fresh = await client.post("/v1/messages", json=body)
    assert (again.status_code, again.content) == (202, first.content)
    assert fresh.status_code == 422


async def test_a_repeated_request_is_answered_while_the_service_stops(web):
    """What nobody has handed in before is turned away."""
    service, client = web
    first = await client.post("/send-email/", json=SIMPLE, headers=KEY)
    service.intake.draining = True
    again = await client.post("/send-email/", json=SIMPLE, headers=KEY)
    other = await client.post("/send-email/", json=SIMPLE, headers={"Idempotency-Key": "2"})
    assert (again.status_code, again.content) == (202, first.content)
    assert other.status_code == 503


async def test_a_failed_look_up_leaves_the_refusal(web, monkeypatch):
    """With a journal that cannot be read either, the caller learns what was wrong at first."""
    service, client = web

    async def unreadable(*_, **__):
        raise JournalUnavailable("the disk is gone")

    monkeypatch.setattr(service.journal, "answer", unreadable)
    service.intake.draining = True
    answer = await client.post("/send-email/", json=SIMPLE, headers=KEY)
    assert answer.json()["type"] == "urn:notifier:problem:draining"


@every_maker
async def test_a_refused_request_leaves_its_key_free(web, path):
    """Whoever mends the request may send it under the same key."""
    service, client = web
    service.intake.draining = True
    refused = await client.post(path, json=other_of(path), headers=KEY)
    service.intake.draining = False
    mended = await client.post(path, json=body_of(path), headers=KEY)
    assert (refused.status_code, mended.status_code) == (503, 202)
    assert "idempotency-replayed" not in mended.headers


# How long a key lives


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batch"])
async def test_a_key_lives_for_a_day_from_when_the_last_message_is_due(tmp_path, path):
    """Of one that is sent in three days: replayed an hour before the fourth is over, then free."""
    clock = WallClock()
    settings = Settings(data_dir=str(tmp_path))
    async with Notifier(settings, clock=clock) as service, client_of(service) as client:
        start = clock()
        later = LETTER | {"send_at": (start + timedelta(days=3)).isoformat()}
        body = [LETTER, later] if path.endswith("batch") else later
        first = await client.post(path, json=body, headers=KEY)
        clock.set(start + timedelta(days=4, hours=-1))
        again = await client.post(path, json=body, headers=KEY)
        clock.set(start + timedelta(days=4, hours=1))
        over = await client.post(path, json=body, headers=KEY)
    assert first.status_code == 202
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert "idempotency-replayed" not in over.headers
    assert over.content != first.content
