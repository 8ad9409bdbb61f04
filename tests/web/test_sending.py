"""Handing in messages of both shapes, waiting for them, and trying without sending."""

import asyncio
from email import message_from_bytes

import pytest
from msgspec.structs import replace

from notifier.deliveries import Status
from notifier.web.api.messages import progress
from tests.waiting import LIMIT
from tests.web_client import JSON, LETTER, TEXT, serving


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, wait_limit=LIMIT, retry_schedule=(0.2,)) as (service, client):
        yield service, client


@pytest.fixture
async def paused(web):
    """The client of a service that accepts messages and sends none."""
    await web[0].pause()
    return web[1]


def pointers(answer, status=422):
    assert answer.status_code == status, answer.text
    return [each["pointer"] for each in answer.json()["errors"]]


# Shapes


async def test_the_channel_selects_the_fields_of_a_message(client):
    """An email by default or by name; a text message by name, to its carrier's gateway."""
    for body, channel, address in (
        (LETTER, "email", "ann@example.net"),
        (LETTER | {"channel": "email"}, "email", "ann@example.net"),
        (TEXT, "sms", "2025550123@email.uscc.net"),
    ):
        answer = await client.post("/v1/messages", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["channel"] == channel
        assert answer.json()["recipients"][0]["address"] == address


@pytest.mark.parametrize("channel", ["fax", "", "SMS", None, 1, ["sms"], {"a": 1}])
async def test_an_unknown_channel_is_named(client, channel):
    """Whatever else may be wrong with the body."""
    for body in (LETTER, TEXT, {}):
        answer = await client.post("/v1/messages", json=body | {"channel": channel})
        assert pointers(answer) == ["/channel"]


async def test_faults_name_the_fields_of_their_channel(client):
    """The errors of a text message do not mention fields of an email, and the other way round."""
    for body, pointer in (
        (TEXT | {"subject": "Hi"}, "/subject"),
        (TEXT | {"to": ["+12025550123"]}, "/to"),
        (TEXT | {"to": "12"}, "/to"),
        (TEXT | {"carrier": "Nobody"}, "/carrier"),
        (TEXT | {"metadata": {"a": "\0"}}, "/metadata"),
        (LETTER | {"carrier": "att"}, "/carrier"),
        (LETTER | {"to": "ann@example.net"}, "/to"),
        ({"channel": "sms"}, "/to"),
        ({"channel": "email"}, "/to"),
    ):
        assert pointers(await client.post("/v1/messages", json=body)) == [pointer]


async def test_json_that_breaks_off_after_a_fault_is_a_400(client):
    """400, though what stands before that point is wrong in itself, too."""
    body = b'{"channel": "sms", "to": 1, "text": Infinity}'
    answer = await client.post("/v1/messages", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


# Waiting


async def test_prefer_wait_gets_the_final_message(client):
    """200 with the final message, and the header that says that it was waited for."""
    answer = await client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    message = answer.json()
    assert message["status"] == "sent"
    assert answer.headers["location"] == f"/v1/messages/{message['id']}"


@pytest.mark.parametrize(
    ("fields", "applied"),
    [
        (["respond-async, wait=23"], "wait=23"),
        (["respond-async", "wait=24"], "wait=24"),
        (['Wait="22";x=1, wait=24'], "wait=22"),
        (["wait = 23"], "wait=23"),
        (["wait=" + "9" * 5000], "wait=30"),  # NOTIFIER_WAIT_LIMIT
        (["wait=600"], "wait=30"),
        (["wait=0"], None),
        (["wait=soon", ""], None),
        (["wait=-1"], None),
        (["await=3"], None),
        (["handling=lenient"], None),
    ],
)
async def test_a_preference_is_read_as_the_rfc_has_it(client, fields, applied):
    """The first one counts, alone or in a list; what cannot be read is passed over."""
    headers = [("Prefer", field) for field in fields]
    answer = await client.post("/v1/messages", json=LETTER, headers=headers)
    assert answer.headers.get("preference-applied") == applied
    assert answer.status_code == (200 if applied else 202)


async def test_a_wait_that_ends_early_gets_the_present_message(tmp_path):
    """202 after the service's own limit, however long the caller would have waited."""
    async with serving(tmp_path, wait_limit=0.1) as (service, client), asyncio.timeout(LIMIT):
        await service.pause()
        answer = await client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=60"})
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer.headers["preference-applied"] == "wait=0"


async def test_a_failure_is_an_end_to_wait_for(client):
    """200: the message that failed tells so in its status."""
    body = LETTER | {"to": ["perm-fail@simulator.notifier"]}
    answer = await client.post("/v1/messages", json=body, headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")


async def test_a_held_message_is_not_waited_for(client):
    """It waits for a person, which may take long."""
    body = LETTER | {"to": ["drop-after-dot@simulator.notifier"], "on_uncertain": "hold"}
    answer = await client.post("/v1/messages", json=body, headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["status"]) == (200, "held")


async def test_a_repeated_key_waits_for_the_first_message(web):
    """The message of the first call, as it is at the end; still marked as replayed."""
    service, client = web
    await service.pause()
    key = {"Idempotency-Key": "k"}
    first = await client.post("/v1/messages", json=LETTER, headers=key)
    waiting = asyncio.create_task(
        client.post("/v1/messages", json=LETTER, headers=key | {"Prefer": "wait=30"})
    )
    await service.resume()
    again = await waiting
    assert (again.status_code, again.json()["status"]) == (200, "sent")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_trailing_slash_does_not_make_another_request_of_it(client):
    """The same key with and without it stands for the same."""
    key = {"Idempotency-Key": "k"}
    first = await client.post("/v1/messages", json=LETTER, headers=key)
    again = await client.post("/v1/messages/", json=LETTER, headers=key)
    assert again.json()["id"] == first.json()["id"]


async def test_waiting_ends_when_the_service_stops(web):
    """Nobody is kept by a service that goes: the message is in the journal."""
    service, client = web
    await service.pause()
    waiting = asyncio.create_task(
        client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=60"})
    )
    async with asyncio.timeout(LIMIT):
        while not (await client.get("/v1/messages")).json()["items"]:
            pass
        service.drain()
        assert (await waiting).status_code == 202


# Long polls


async def test_a_look_waits_for_a_change(web):
    """At rest it waits; once something happens it answers with that."""
    service, client = web
    await service.pause()
    id = (await client.post("/v1/messages", json=LETTER)).json()["id"]
    looking = asyncio.create_task(client.get(f"/v1/messages/{id}?wait=30"))
    # One that began later, and has waited for as long as it was asked to.
    assert (await client.get(f"/v1/messages/{id}?wait=1")).json()["status"] == "queued"
    assert not looking.done()
    await service.cancel(id)
    assert (await looking).json()["status"] == "cancelled"


async def test_an_attempt_is_a_change(tmp_path):
    """A caller that waits sees a message deferred, and then sent."""

    async def status_is(status):
        while (message := (await client.get(f"{path}?wait=1")).json())["status"] != status:
            pass
        return message

    async with serving(tmp_path, retry_schedule=(3600,)) as (_, client), asyncio.timeout(LIMIT):
        body = LETTER | {"to": ["temp-fail@simulator.notifier"]}
        path = f"/v1/messages/{(await client.post('/v1/messages', json=body)).json()['id']}"
        assert len((await status_is("deferred"))["attempts"]) == 1
        assert (await client.post(f"{path}/send-now")).status_code == 200
        assert len((await status_is("sent"))["attempts"]) == 2


async def test_an_attempt_that_nobody_saw_begin_is_a_change(web):
    """A message that was tried and deferred between two reads of the journal has changed."""
    service, client = web
    id = (await client.post("/v1/messages", json=LETTER)).json()["id"]
    sent = await service.outcome(id, timeout=LIMIT)
    tried = replace(sent, status=Status.DEFERRED, finished_at=None)
    again = replace(tried, attempts=tried.attempts * 2)
    dropped = replace(tried, attempts_dropped=1)
    assert progress(tried) not in (progress(again), progress(dropped))
    assert progress(tried) == progress(replace(tried, reason="other"))


async def test_a_final_message_is_answered_at_once(client):
    """Nothing more will happen to it."""
    sent = await client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=30"})
    async with asyncio.timeout(LIMIT):
        answer = await client.get(f"/v1/messages/{sent.json()['id']}?wait=3600")
    assert answer.json()["status"] == "sent"


async def test_a_look_ends_after_its_time(paused):
    """With the message as it is."""
    id = (await paused.post("/v1/messages", json=LETTER)).json()["id"]
    answer = await paused.get(f"/v1/messages/{id}?wait=1")
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


@pytest.mark.parametrize("wait", ["-1", "3601", "soon", "1.5", ""])
async def test_a_wait_that_cannot_be_taken_is_named(client, wait):
    """0 to 3600 whole seconds."""
    answer = await client.get(f"/v1/messages/abc?wait={wait}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "wait"


# Dry runs


async def test_a_dry_run_shows_the_mail_and_keeps_nothing(client):
    """The finished source, and an empty list after it."""
    answer = await client.post("/v1/messages?dry_run=true", json=LETTER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "message/rfc822"
    mail = message_from_bytes(answer.content)
    assert mail["Subject"] == "Hi"
    assert mail["To"] == "ann@example.net"
    assert mail.get_payload().strip() == "Hello."
    assert (await client.get("/v1/messages")).json()["items"] == []


async def test_a_dry_run_of_a_text_message_is_text(client):
    """One mail or several, to be read as they are sent: no browser takes them for something."""
    long = TEXT | {"text": "0123456789 " * 30}
    answer = await client.post("/v1/messages?dry_run=1", json=long)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content.count(b"2025550123@email.uscc.net") == 3
    assert b"\0" not in answer.content


async def test_a_dry_run_refuses_as_a_real_request(client):
    """With the same problem, and nothing is kept under the idempotency key either."""
    key = {"Idempotency-Key": "k"}
    wrong = LETTER | {"to": ["nobody"]}
    assert pointers(await client.post("/v1/messages?dry_run=true", json=wrong)) == ["/to/0"]
    dry = await client.post("/v1/messages?dry_run=true", json=LETTER, headers=key)
    assert dry.status_code == 200
    real = await client.post("/v1/messages", json=LETTER | {"text": "Bye."}, headers=key)
    assert real.status_code == 202
    assert "idempotency-replayed" not in real.headers


async def test_a_dry_run_refuses_a_wrong_idempotency_key(client):
    """It is not needed, but the same request without `dry_run` would be refused."""
    key = {"Idempotency-Key": "with a space"}
    answer = await client.post("/v1/messages?dry_run=true", json=LETTER, headers=key)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["header"] == "Idempotency-Key"


@pytest.mark.parametrize("query", ["dry_run=maybe", "dry_run=", "dryrun=true"])
async def test_a_wrong_dry_run_parameter_is_refused(client, query):
    """A caller who meant a dry run must not send a message."""
    answer = await client.post(f"/v1/messages?{query}", json=LETTER)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_nothing_is_accepted_while_the_service_stops(web):
    """503 with the time to come back, as for anything else."""
    web[0].drain()
    answer = await web[1].post("/v1/messages", json=TEXT)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


async def test_allow_names_all_methods_of_a_path(client):
    """OPTIONS and 405 name the same methods, also where handlers share a path."""
    for path in ("/v1/messages", "/v1/messages/abc", "/v1/messages/batch", "/v1/stats"):
        answers = [await client.options(path), await client.delete(path)]
        assert [each.status_code for each in answers] == [204, 405]
        told = {each.headers["allow"] for each in answers}
        assert len(told) == 1, told
