"""API keys over HTTP: who gets in, for what, and how much."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from notifier.keys import KeyKind, Keys, KeyScope
from notifier.web.app import create_app
from notifier.web.routes import Access, access_to
from tests.api_keys import look, made
from tests.relay import ScriptedRelay
from tests.routes import NOWHERE, concrete, routes_of
from tests.web_client import LETTER, SIMPLE, final, problem_of, serving

SEND, SMS, READ, MANAGE = KeyScope.SEND, KeyScope.SMS, KeyScope.READ, KeyScope.MANAGE
TEXT = {"phone_number": "+12025550123", "provider": "us cellular", "message": "Hi."}
# The product has lists of its own: a route that is put into one by mistake shows here.
OPEN = {
    *(
        "/",
        "/docs",
        "/guide",
        "/guide/{page:str}",
        "/openapi.json",
        "/static/{file:path}",
        "/livez",
        "/readyz",
        "/health",
    ),
    *("/monitor", "/monitor/messages/{id:str}", "/inbox", "/sign-in", "/suppressions", "/audit"),
}
OPEN_ACTS = {"/sign-in", "/sign-out", "/v1/reports/{name:str}"}  # a provider signs what it tells
SENDING = {
    *("/v1/messages", "/v1/messages/batch", "/send-email", "/send-async", "/send-sms"),
    "/v1/templates/{name:str}/preview",
    "/v1/messages/{id:str}/copies",
}


# What only those see who may act.
PRIVATE = {
    *("/v1/audit", "/v1/audit/export", "/v1/recipients/export"),
    *("/v1/recipients/erase/{id:str}", "/v1/recipients/erase/{id}"),
}


def letter(**changes):
    return LETTER | changes


async def post(client, headers=None, path="/v1/messages", **changes):
    return await client.post(path, json=letter(**changes), headers=headers)


# Who gets in


async def test_without_any_key_everybody_may(tmp_path):
    """On a loopback address, as the server was allowed to start; a key that is shown is let be."""
    async with serving(tmp_path) as (_, client):
        assert (await post(client)).status_code == 202
        assert (await post(client, {"X-API-Key": "ntf_old"})).status_code == 202
        assert (await client.get("/v1/messages")).status_code == 200


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        ({"host": "0.0.0.0", "anonymous": "anywhere"}, 202),
        ({"host": "0.0.0.0"}, 401),
        ({"anonymous": "never"}, 401),
        ({"host": "::1"}, 202),
    ],
)
async def test_without_any_key_the_settings_say_who_may(tmp_path, terms, status):
    """Where a server would not start without a key it does not answer without one either."""
    async with serving(tmp_path, **terms) as (_, client):
        answer = await post(client)
        assert answer.status_code == status
        if status == 401:
            assert "make one with `notifier keys add`" in answer.json()["detail"]


async def test_a_key_made_while_it_runs_closes_the_door_to_all_others(tmp_path):
    """No restart: what was open a moment ago needs the key now; revoked, it opens nothing."""
    async with serving(tmp_path) as (service, client):
        assert (await post(client)).status_code == 202
        headers = made(tmp_path)
        look(service)
        assert (await post(client)).status_code == 401
        assert (await client.get("/v1/messages")).status_code == 401
        assert (await post(client, headers)).status_code == 202
        Keys.read(tmp_path / "keys.toml").revoke("billing", datetime.now(UTC))
        look(service)
        refused = problem_of(await post(client, headers), 401, "unauthorized")
        assert "'billing' was revoked" in refused["detail"]
        assert (await post(client)).status_code == 401


async def test_every_route_is_open_on_purpose_or_closed(tmp_path):
    """With a key in the file each call without one is a 401, but for the few that are listed."""
    made(tmp_path)
    async with serving(tmp_path) as (service, client):
        opened = set()
        for path, handler in routes_of(create_app(service)):
            for method in map(str, handler.http_methods):
                answer = await client.request(method, concrete(path))
                if answer.status_code == 401:
                    assert answer.headers["www-authenticate"] == 'Bearer realm="notifier"'
                    assert answer.headers["cache-control"] == "no-store"
                else:
                    opened.add(path)
        assert opened == OPEN | OPEN_ACTS


async def test_routes_that_submit_messages_need_send(tmp_path):
    """And whatever else changes something needs `manage`: also what nobody has thought of."""
    async with serving(tmp_path) as (service, _):
        needed = {}
        for path, handler in routes_of(create_app(service)):
            access = access_to(handler)
            for method in map(str, handler.http_methods):
                needed[method, path] = access and access.scope
    for (method, path), scope in needed.items():
        if method in ("GET", "HEAD"):
            expected = MANAGE if path in PRIVATE else READ
            assert scope is (None if path in OPEN else expected), path
        elif path in OPEN_ACTS:
            assert scope is None, path
        elif path == "/v1/reports":
            assert scope is KeyScope.REPORT, path
        elif path == "/send-sms":
            assert scope in (SEND, SMS), path
        else:
            assert scope is (SEND if path in SENDING else MANAGE), path
    assert {path for _, path in needed} >= SENDING


@pytest.mark.parametrize(
    "written",
    [
        lambda secret: {"Authorization": f"Bearer {secret}"},
        lambda secret: {"authorization": f"bearer  {secret} "},
        lambda secret: {"X-API-Key": secret},
        lambda secret: {"X-API-Key": secret, "Authorization": "Bearer of.a.proxy"},
        lambda secret: {"X-API-Key": secret, "Authorization": "Basic dTpw"},
    ],
)
async def test_a_key_is_shown_in_either_field(tmp_path, written):
    """Authorization: Bearer or X-API-Key; the second is ours alone and goes first."""
    secret = made(tmp_path)["Authorization"].removeprefix("Bearer ")
    async with serving(tmp_path) as (_, client):
        assert (await post(client, written(secret))).status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer ntf_000000000000_wrong"},
        {"Authorization": "Bearer x"},
        {"X-API-Key": "ntf_"},
        {"X-API-Key": "ntf_\xe9\xff"},
        {"X-API-Key": "n" * 5000},
    ],
)
async def test_a_wrong_key_gets_a_challenge(tmp_path, headers):
    """401, and WWW-Authenticate says that the token is invalid: RFC 6750, section 3.1."""
    made(tmp_path)
    async with serving(tmp_path) as (_, client):
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = await post(client, raw)
        problem_of(answer, 401, "unauthorized")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic dTpw"}, {"X-API-Key": " "}])
async def test_a_missing_key_gets_a_hint(tmp_path, headers):
    """The 401 explains it, also if Authorization holds something else, and on the pages."""
    made(tmp_path)
    async with serving(tmp_path) as (_, client):
        for answer in (
            await post(client, headers),
            await client.get("/inbox/messages", headers=headers),
        ):
            problem = problem_of(answer, 401, "unauthorized")
            assert "Authorization: Bearer ntf_..." in problem["detail"]
            assert "invalid_token" not in answer.headers["www-authenticate"]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(shown=st.binary(max_size=200))
def test_no_octets_break_the_entrance(door, shown):
    """Whatever stands in the field is a 401, never a 500."""
    run, client = door
    for headers in ({b"x-api-key": shown}, {b"authorization": b"Bearer " + shown}):
        answer = run(client.get("/v1/messages", headers=headers))
        assert answer.status_code == 401


@pytest.fixture
def door(tmp_path):
    made(tmp_path)
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        _, client = runner.run(stack.enter_async_context(serving(tmp_path)))
        yield runner.run, client
        runner.run(stack.aclose())


async def test_an_expired_key_opens_nothing(tmp_path):
    """It was valid a moment before. Its holder learns since when it is not."""
    expires = datetime.now(UTC) + timedelta(days=1)
    headers = made(tmp_path, expires=expires)
    text = (tmp_path / "keys.toml").read_text()
    async with serving(tmp_path) as (service, client):
        assert (await post(client, headers)).status_code == 202
        (tmp_path / "keys.toml").write_text(
            "\n".join(
                line.replace("2", "1", 1) if line.startswith("expires") else line
                for line in text.splitlines()
            )
        )
        look(service)
        problem = problem_of(await post(client, headers), 401, "unauthorized")
        assert f"expired on 1{str(expires.year)[1:]}" in problem["detail"]


async def test_a_refusal_is_logged_without_the_secret(tmp_path):
    """Where from, for what, and the key's id alone; what cannot be an id is not logged at all."""
    headers = made(tmp_path)
    secret = headers["Authorization"].removeprefix("Bearer ")
    id = secret.split("_")[1]
    wrong = ({"X-API-Key": secret[:-1]}, {"X-API-Key": "ntf_" + secret.split("_", 2)[2]})
    async with serving(tmp_path) as (_, client):
        with capture_logs() as logs:
            for shown in wrong:
                assert (await post(client, shown)).status_code == 401
            assert (await client.get("/inbox/messages", headers=headers)).status_code == 403
    told = [line for line in logs if line["event"] == "refused"]
    assert [(line["status"], line["key_id"]) for line in told] == [
        (401, id),
        (401, None),
        (403, id),
    ]
    assert {line["log_level"] for line in told} == {"warning"}
    assert told[0]["path"] == "/v1/messages"
    assert secret[-20:-1] not in str(logs)


# What a key opens


async def test_each_scope_opens_its_own_calls(tmp_path):
    """What one lacks is a 403 that names it; manage may read; sms hands in text messages alone."""
    keys = {scope: made(tmp_path, scope.value, scope) for scope in KeyScope}
    async with serving(tmp_path, sms_from="us@example.org") as (_, client):
        id = (await post(client, keys[SEND])).json()["id"]
        await final(_with(client, keys[READ]), id)
        calls = [
            ("POST", "/v1/messages", {SEND}),
            ("POST", "/v1/messages?dry_run=true", {SEND}),
            ("POST", "/send-email/", {SEND}),
            ("POST", "/send-async/", {SEND}),
            ("POST", "/send-sms/", {SEND, SMS}),
            ("GET", "/v1/messages", {SEND, SMS, READ, MANAGE}),
            ("GET", f"/v1/messages/{id}", {SEND, READ, MANAGE}),
            ("HEAD", f"/v1/messages/{id}", {SEND, READ, MANAGE}),
            ("GET", "/v1/carriers", {SEND, SMS, READ, MANAGE}),
            ("GET", "/v1/templates", {SEND, SMS, READ, MANAGE}),
            ("GET", "/v1/relays", {READ, MANAGE}),
            ("GET", "/inbox/messages", {READ, MANAGE}),
            ("DELETE", "/inbox/refusals", {MANAGE}),
            ("POST", f"/v1/messages/{id}/cancel", {MANAGE}),
            ("POST", f"/v1/messages/{id}/retry", {MANAGE}),
            ("POST", f"/v1/messages/{id}/send-now", {MANAGE}),
        ]
        for method, path, allowed in calls:
            for scope, headers in keys.items():
                body = TEXT if "sms" in path else SIMPLE if "/send-" in path else LETTER
                answer = await client.request(
                    method, path, headers=headers, json=body if method == "POST" else None
                )
                where = f"{method} {path} {scope}: {answer.text}"
                if scope in allowed:
                    assert answer.status_code in (200, 202, 409), where
                elif scope is SMS and method in ("GET", "HEAD") and id in path:
                    assert answer.status_code == 404, where  # it sees its own alone
                elif method == "HEAD":
                    assert answer.status_code == 403, where  # without a body
                else:
                    detail = problem_of(answer, 403, "forbidden")["detail"]
                    assert f"the key {scope.value!r} lacks the scope" in detail, where


def _with(client, headers):
    client.headers.update(headers)
    return client


async def test_events_need_read(tmp_path):
    """A stream tells of everybody's messages, so a key that only sends does not get it."""
    headers = made(tmp_path)
    async with serving(tmp_path) as (_, client):
        answer = await client.get("/v1/events", headers=headers)
        assert "lacks the scope 'read'" in problem_of(answer, 403, "forbidden")["detail"]


async def test_a_key_that_only_sends_sees_its_own_messages(tmp_path):
    """Another's message is to it as one that never was; its list holds its own alone."""
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    reader = made(tmp_path, "reader", READ)
    async with serving(tmp_path) as (service, client):
        of_a = [(await post(client, a)).json()["id"] for _ in range(3)]
        of_b = (await post(client, b)).json()["id"]
        for path, handler in routes_of(create_app(service)):
            if access_to(handler) == Access(READ, own=True) and "{id:str}" in path:
                path = path.replace("{id:str}", of_b)
                assert (await client.get(path, headers=b)).status_code == 200, path
                problem_of(await client.get(path, headers=a), 404, "message-not-found")
        texts = set()
        for id in (of_b, NOWHERE, "no-id", "%00"):
            answer = await client.get(f"/v1/messages/{id}", headers=a)
            detail = problem_of(answer, 404, "message-not-found")["detail"]
            texts.add(detail.replace(id, "ID").replace(repr("\0"), "'ID'"))
        assert len(texts) == 1
        assert "the key 'a' has sent no message" in texts.pop()
        seen = (await client.get("/v1/messages", headers=a)).json()["items"]
        assert {each["id"] for each in seen} == set(of_a)
        page = (await client.get("/v1/messages?limit=2", headers=a)).json()
        rest = await client.get(f"/v1/messages?cursor={page['next_cursor']}", headers=a)
        assert len(rest.json()["items"]) == 1
        everything = (await client.get("/v1/messages", headers=reader)).json()["items"]
        assert {each["id"] for each in everything} == {*of_a, of_b}


async def test_a_key_is_held_to_its_senders_and_recipients(tmp_path):
    """Senders, recipient domains and a team's list are held to; the default sender is the key's."""
    bound = made(tmp_path, "bound", senders=("me@example.org",), recipient_domains=("example.net",))
    team = made(tmp_path, "team", kind=KeyKind.TEAM, recipients=("ann@example.net",))
    async with serving(tmp_path) as (service, client):
        assert (await post(client, bound)).status_code == 202
        for changes, objection in (
            ({"from": "you@example.org"}, "may not send as you@example.org"),
            ({"to": ["ann@example.com"]}, "recipient_domains are example.net"),
            ({"bcc": ["ann@example.com"]}, "recipient_domains are example.net"),
        ):
            answer = await post(client, bound, **changes)
            assert objection in problem_of(answer, 403, "forbidden")["detail"]
        id = (await post(client, bound, **{"from": None})).json()["id"]
        assert (await service.journal.get(id)).sender == "me@example.org"
        assert (await post(client, team)).status_code == 202
        answer = await post(client, team, to=["bob@example.net"])
        assert "'team'" in problem_of(answer, 403, "forbidden")["detail"]
        for headers in (bound, team):
            answer = await post(client, headers, to=["success@simulator.notifier"])
            assert answer.status_code == 202


async def test_a_key_with_rules_gives_a_provider_no_commands(tmp_path):
    """What a provider obeys could go round the rules; a key without rules may use it."""
    bound = made(tmp_path, "bound", recipient_domains=("example.net",))
    free = made(tmp_path, "free")
    async with serving(tmp_path) as (_, client):

        async def asked(key, **fields):
            body = letter(headers={name.replace("_", "-"): "x" for name in fields})
            return await client.post("/v1/messages", json=body, headers=key)

        for name in ("X_PM_Message_Stream", "x_ses_return_path_arn", "X_MC_Template"):
            answer = await asked(bound, X_Order="7", **{name: "x"})
            (fault,) = problem_of(answer, 422, "invalid-message")["errors"]
            assert fault["pointer"] == f"/headers/{name.replace('_', '-')}"
            assert (await asked(free, **{name: "x"})).status_code == 202
        for key in (bound, free):
            assert (await asked(key, X_MSYS_API="{}")).status_code == 422
            assert (await asked(key, X_Order="7", X_Priority="1")).status_code == 202


@pytest.mark.parametrize("rule", [{"rate": 9}, {"daily": 9}, {"senders": ("@example.org",)}])
async def test_each_rule_keeps_commands_from_a_provider(rule, tmp_path):
    """A bound on how much is sent can be gone round as well as one on who gets it."""
    key = made(tmp_path, **rule)
    async with serving(tmp_path) as (_, client):
        body = letter(headers={"X-PM-Message-Stream": "x"}, **{"from": "me@example.org"})
        answer = await client.post("/v1/messages", json=body, headers=key)
        problem_of(answer, 422, "invalid-message")


async def test_a_key_that_is_bound_to_senders_of_mail_needs_a_scope_for_texts(tmp_path):
    """Senders say nothing of texts: without `sms` it sends none, by no route and in no batch."""
    bound = {"senders": ("me@example.org",)}
    mail, both = made(tmp_path, "mail", **bound), made(tmp_path, "both", SEND, SMS, **bound)
    texts, free = made(tmp_path, "texts", SMS), made(tmp_path, "free")
    sms = {"channel": "sms", "to": "+12025550123", "carrier": "us cellular", "text": "Hi."}
    calls = [("/send-sms/", TEXT), ("/v1/messages", sms), ("/v1/messages/batch", [sms])]
    calls += [("/v1/messages?dry_run=true", sms)]
    async with serving(tmp_path, sms_from="us@example.org") as (_, client):
        for path, body in calls:
            for headers, status in ((mail, 403), (both, 202), (texts, 202), (free, 202)):
                answer = await client.post(path, json=body, headers=headers)
                assert answer.status_code in {status, 200 if status == 202 else 403}, answer.text
                if status == 403:
                    assert "lacks the scope 'sms'" in answer.text
        for headers, status in ((mail, 202), (both, 202), (texts, 403), (free, 202)):
            assert (await post(client, headers)).status_code == status


async def test_countries_hold_for_the_service_and_for_a_key(tmp_path):
    """422 at the field where the service texts nobody there, 403 where the key may not."""
    provider = {"sms_provider": "https://127.0.0.1:1/", "sms_countries": ("US", "CA")}
    headers, narrow = made(tmp_path), made(tmp_path, "narrow", countries=("us",))
    usa, canada, britain = "+12025550123", "+14165550123", "+447400123456"
    async with serving(tmp_path, **provider) as (service, client):
        await service.pause()

        async def text(to, headers):
            body = {"channel": "sms", "to": to, "text": "Hi."}
            return await client.post("/v1/messages", json=body, headers=headers)

        assert (await text(usa, headers)).status_code == 202
        assert (await text(canada, headers)).status_code == 202
        assert (await text(usa, narrow)).status_code == 202
        refused = problem_of(await text(britain, headers), 422, "invalid-message")
        assert [each["pointer"] for each in refused["errors"]] == ["/to"]
        assert "a number in GB; texts go to CA, US only" in refused["detail"]
        refused = problem_of(await text(canada, narrow), 403, "forbidden")
        assert "may not send texts to CA; its countries are US" in refused["detail"]


async def test_a_test_key_ends_at_the_simulator(tmp_path):
    """It goes all the way, is `sent`, and the relay has never heard of it."""
    headers = made(tmp_path, "ci", SEND, kind=KeyKind.TEST)
    live = made(tmp_path, "live")
    async with ScriptedRelay() as relay, serving(tmp_path, relays=(relay.spec,)) as (_, client):
        tried = (await post(client, headers)).json()["id"]
        sent = (await post(client, live, to=["bob@example.net"])).json()["id"]
        simulated = await client.post("/send-async/", json=SIMPLE, headers=headers)
        assert simulated.json()["result"].startswith("sent: 250")
        assert (await final(_with(client, headers), tried))["status"] == "sent"
        assert (await final(_with(client, live), sent))["status"] == "sent"
        assert [recipients for _, recipients, _ in relay.received] == [("bob@example.net",)]
        assert len(relay.connections) == 1


@pytest.mark.parametrize("provider", [None, "twilio://AC1:token@?from=+12025550100"])
async def test_a_text_of_a_test_key_ends_at_the_simulator(tmp_path, provider):
    """Short or of several parts, by a gateway or a provider: `sent`, and nothing leaves."""
    headers = made(tmp_path, "ci", SEND, kind=KeyKind.TEST)
    texts = {"default_from": "us@example.org", "sms_provider": provider}
    async with (
        ScriptedRelay() as relay,
        serving(tmp_path, relays=(relay.spec,), **texts) as (service, client),
    ):
        for text in ("Hello.", "Hello. " * 60):
            body = {"channel": "sms", "to": "+12025550123", "carrier": "verizon", "text": text}
            id = (await client.post("/v1/messages", json=body, headers=headers)).json()["id"]
            message = await final(_with(client, headers), id)
            assert message["status"] == "sent", message
            assert {each["relay"] for each in message["attempts"]} == {"simulator"}
            content = await service.journal.content(id)
            assert content.startswith(b"From: ")  # so that the inbox can show it
            assert b"Hello." in content
        assert not relay.connections


async def test_an_allow_list_holds_for_each_part_of_a_text(tmp_path):
    """A long text goes to its gateway in parts, and they are to one address."""
    headers = made(tmp_path, recipient_domains=("vtext.com",))
    async with serving(tmp_path, default_from="us@example.org") as (_, client):
        for carrier, status in (("verizon", 202), ("uscellular", 403)):
            body = {"channel": "sms", "to": "+12025550123", "carrier": carrier, "text": "x" * 400}
            answer = await client.post("/v1/messages", json=body, headers=headers)
            assert answer.status_code == status, answer.text
            assert answer.text.count("recipient_domains") == (status == 403)


async def test_one_idempotency_key_of_two_callers_is_two(tmp_path):
    """Each API key has idempotency keys of its own."""
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    async with serving(tmp_path) as (_, client):
        ids = []
        for headers in (a, a, b, b):
            answer = await post(client, headers | {"Idempotency-Key": "1"})
            assert answer.status_code == 202
            ids.append(answer.json()["id"])
        assert ids[0] == ids[1] != ids[2] == ids[3]


# How much


@pytest.mark.usefixtures("no_time_passes")
async def test_a_rate_is_shown_and_enforced(tmp_path):
    """RateLimit fields with each message taken; past it 429, when to come again, and no message."""
    headers = made(tmp_path, rate=2, daily=100)
    async with serving(tmp_path) as (_, client):
        for left in (1, 0):
            answer = await post(client, headers)
            assert answer.status_code == 202
            assert f'"minute";r={left};' in answer.headers["ratelimit"]
            assert answer.headers["ratelimit-policy"].startswith('"minute";q=2;w=60, "day";q=100')
            assert "retry-after" not in answer.headers
        answer = await post(client, headers)
        problem = problem_of(answer, 429, "rate-exceeded")
        assert "2 messages a minute" in problem["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert '"minute";r=0;' in answer.headers["ratelimit"]
        legacy = await client.post("/send-email/", json=SIMPLE, headers=headers)
        assert legacy.status_code == 429
        listed = await client.get("/v1/messages", headers=headers)
        assert len(listed.json()["items"]) == 2
        assert "ratelimit" not in listed.headers


@pytest.mark.usefixtures("no_time_passes")
async def test_a_refused_message_costs_nothing(tmp_path):
    """Refused, forbidden or answered before: the key's rate is as it was."""
    headers = made(tmp_path, rate=2, senders=("me@example.org",))
    once = headers | {"Idempotency-Key": "1"}
    async with serving(tmp_path) as (_, client):
        assert (await post(client, once)).status_code == 202
        for _ in range(3):
            assert (await post(client, headers, to=["nobody"])).status_code == 422
            assert (await post(client, headers, **{"from": "you@x.org"})).status_code == 403
            replayed = await post(client, once)
            assert replayed.headers["idempotency-replayed"] == "true"
            assert '"minute";r=1;' in replayed.headers["ratelimit"]
            assert (await post(client, once, subject="Other")).status_code == 422
        assert (await post(client, headers)).status_code == 202
        assert (await post(client, headers)).status_code == 429


async def test_a_key_without_a_rate_gets_no_fields(tmp_path):
    """There is no limit to describe."""
    headers = made(tmp_path)
    async with serving(tmp_path) as (_, client):
        answer = await post(client, headers)
        assert not [name for name in answer.headers if name.startswith("ratelimit")]


@pytest.mark.usefixtures("no_time_passes")
async def test_a_batch_counts_each_message(tmp_path):
    """Whole or not at all; what was refused in it is given back; past the quota no wait helps."""
    headers = made(tmp_path, "batches", SEND, rate=10)
    good, bad = LETTER, LETTER | {"to": ["nobody"]}

    async def batch(*letters, validation="strict"):
        fields = headers | {"X-Batch-Validation": validation}
        return await client.post("/v1/messages/batch", json=letters, headers=fields)

    async with serving(tmp_path) as (_, client):
        await post(client, headers)
        refused = await batch(*[good] * 10)
        assert "10 more will be allowed in" in problem_of(refused, 429, "rate-exceeded")["detail"]
        assert 1 <= int(refused.headers["retry-after"]) <= 6
        assert '"minute";r=9;' in refused.headers["ratelimit"]
        assert (await batch(*[good] * 8, bad)).status_code == 422
        mixed = await batch(*[good] * 5, *[bad] * 4, validation="permissive")
        assert mixed.status_code == 207
        assert '"minute";r=4;' in mixed.headers["ratelimit"]
        never = problem_of(await batch(*[good] * 11), 403, "forbidden")
        assert "11 at once are more than the key's rate ever allows" in never["detail"]
        assert (await batch(*[good] * 4)).status_code == 202
        assert (await post(client, headers)).status_code == 429


@pytest.mark.usefixtures("no_time_passes")
async def test_a_rate_counts_recipients(tmp_path):
    """Each address of to, cc and bcc is one; more of them than the quota holds are forbidden."""
    headers = made(tmp_path, rate=6)
    many = [f"n{number}@example.net" for number in range(7)]
    async with serving(tmp_path) as (_, client):
        answer = await post(client, headers, to=many[:2], cc=many[2:3], bcc=many[3:4])
        assert '"minute";r=2;' in answer.headers["ratelimit"]
        answer = await post(client, headers, to=many[:3])
        assert "each recipient of a mail" in problem_of(answer, 429, "rate-exceeded")["detail"]
        simple = SIMPLE | {"email_to": many[:2]}
        answer = await client.post("/send-email/", json=simple, headers=headers)
        assert '"minute";r=0;' in answer.headers["ratelimit"]
        problem_of(await post(client, headers, to=many), 403, "forbidden")


@pytest.mark.parametrize("provider", [None, "https://127.0.0.1:1/"])
@pytest.mark.usefixtures("no_time_passes")
async def test_a_rate_counts_segments(tmp_path, provider):
    """Of a text that goes by a gateway or by a provider; also of one that a template makes."""
    headers = made(tmp_path, rate=10, daily=12)
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "long.txt").write_text("{{ text }}")
    sms = {"channel": "sms", "to": "+12025550123", "carrier": "us cellular"}
    given = {"sms_from": "us@example.org", "sms_provider": provider, "templates": str(folder)}
    async with serving(tmp_path, **given) as (service, client):
        await service.pause()

        async def text(segments, *, by=None):
            words = "x" * 153 * segments
            content = {"template": by, "data": {"text": words}} if by else {"text": words}
            return await client.post("/v1/messages", json=sms | content, headers=headers)

        assert '"minute";r=7;' in (await text(3)).headers["ratelimit"]
        assert '"minute";r=3;' in (await text(4, by="long")).headers["ratelimit"]
        for by in (None, "long"):
            refused = await text(5, by=by)
            assert '"minute";r=3;' in refused.headers["ratelimit"]
            problem_of(refused, 429, "rate-exceeded")
        assert '"minute";r=0;' in (await text(3)).headers["ratelimit"]
        assert (await text(2)).status_code == 429
        assert service.intake._limits.take("billing", rate=10, daily=12, n=0).standings[1][3] == 2
    never = made(tmp_path, "small", rate=2)
    async with serving(tmp_path, **given) as (service, client):
        for content in ({"text": "x" * 400}, {"template": "long", "data": {"text": "x" * 400}}):
            answer = await client.post("/v1/messages", json=sms | content, headers=never)
            assert (
                "more than the key's rate ever "
                "allows" in problem_of(answer, 403, "forbidden")["detail"]
            )


async def test_a_full_backlog_of_one_does_not_hold_up_another(tmp_path):
    """Behind 500 messages of one key the one of another is among the next to leave."""
    many, one = made(tmp_path, "many"), made(tmp_path, "one")
    small = {"workers": 2, "queue_size": 4}
    async with (
        ScriptedRelay() as relay,
        serving(tmp_path, relays=(relay.spec,), **small) as (_, client),
    ):
        relay.hold("MAIL")
        await asyncio.gather(*(post(client, many) for _ in range(500)))
        await relay.until_held(1)
        id = (await post(client, one, to=["bob@example.net"])).json()["id"]
        relay.release()
        assert (await final(_with(client, one), id))["status"] == "sent"
        recipients = [each for _, each, _ in relay.received]
        assert recipients.index(("bob@example.net",)) <= 12


# The document


async def test_the_document_says_which_scope_each_call_needs(tmp_path):
    """Both ways to show a key, the scope of each call, and how it can be refused."""
    async with serving(tmp_path) as (_, client):
        document = (await client.get("/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"].items() >= {"type": "http", "scheme": "bearer"}.items()
    assert schemes["apiKey"].items() >= {"in": "header", "name": "X-API-Key"}.items()
    sending = {path.replace(":str", "") for path in SENDING}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            needed = operation["security"]
            refusals = {"401", "403"} & operation["responses"].keys()
            if path in OPEN or path == "/v1/reports/{name}":  # a provider's, signed or secret
                assert needed == []
                assert refusals <= ({"401", "403"} if path not in OPEN else set())
                continue
            reads = method == "get" and path not in PRIVATE
            scope = "read" if reads else "send" if path in sending else "manage"
            if path == "/v1/reports":
                scope = "report"
            assert needed == [{"bearer": [scope]}, {"apiKey": [scope]}], path
            assert refusals == {"401", "403"}
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
            if scope == "send" and not path.endswith("/preview"):  # which sends nothing
                assert "RateLimit" in operation["responses"]["429"]["headers"], path


async def test_a_sender_may_list_carriers_and_templates(tmp_path):
    """The carriers and the templates, with `send` alone; nothing else of the service."""
    headers = made(tmp_path)
    async with serving(tmp_path) as (_, client):
        for path, status in (
            *(("/v1/carriers", 200), ("/v1/templates", 200)),
            *(("/v1/stats", 403), ("/v1/relays", 403), ("/metrics", 403)),
        ):
            assert (await client.get(path, headers=headers)).status_code == status, path


async def test_a_count_is_of_a_sending_keys_own(tmp_path):
    """And to ask for another key's is refused, in a list as in a count."""
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    async with serving(tmp_path) as (_, client):
        for headers in (a, a, b):
            await post(client, headers)
        for headers, count in ((a, 2), (b, 1)):
            told = (await client.get("/v1/messages/count?channel=email", headers=headers)).json()
            assert told["count"] == count
        for path in ("/v1/messages", "/v1/messages/count"):
            assert (await client.get(f"{path}?key=a", headers=a)).status_code == 200
            assert (await client.get(f"{path}?key=b", headers=a)).status_code == 403


async def test_messages_of_a_revoked_key_are_found_and_cancelled(tmp_path):
    """By the key's name, which each message tells; and the timeline says who called it off."""
    a, b, boss = made(tmp_path, "a"), made(tmp_path, "b"), made(tmp_path, "boss", MANAGE)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    async with serving(tmp_path) as (service, client):
        ids = [(await post(client, a, send_at=later)).json()["id"] for _ in range(3)]
        other = (await post(client, b, send_at=later)).json()["id"]
        Keys.read(tmp_path / "keys.toml").revoke("a", datetime.now(UTC))
        look(service)
        found = (await client.get("/v1/messages?key=a", headers=boss)).json()["items"]
        assert {each["id"] for each in found} == set(ids)
        assert {each["key"] for each in found} == {"a"}
        answer = await client.post("/v1/messages/cancel?key=a", headers=boss)
        assert answer.json() == {"count": 3}
        shown = (await client.get(f"/v1/messages/{ids[0]}", headers=boss)).json()
        assert [(each["what"], each["by"]) for each in shown["timeline"]] == [
            ("accepted", "key:a"),
            ("cancelled", "key:boss"),
        ]
        rest = (await client.get(f"/v1/messages/{other}", headers=boss)).json()
        assert rest["status"] == "scheduled"


async def test_actions_name_their_caller(tmp_path):
    """In the timeline, and in the log for what has none: without a key it is `anonymous`."""
    async with serving(tmp_path) as (_, client):
        with capture_logs() as logs:
            await client.post("/v1/queue/pause")
            id = (await post(client)).json()["id"]
            for verb in ("send-now", "cancel", "retry"):
                await client.post(f"/v1/messages/{id}/{verb}")
            await client.delete("/inbox/messages")
        timeline = (await client.get(f"/v1/messages/{id}")).json()["timeline"]
        assert [(each["what"], each["by"]) for each in timeline] == [
            (what, "anonymous") for what in ("accepted", "hurried", "cancelled", "retried")
        ]
    told = {each["event"]: each.get("by") for each in logs}
    assert {told["paused"], told["inbox_deleted"], told["changed"]} == {"anonymous"}


@pytest.mark.usefixtures("no_time_passes")
async def test_a_dry_run_counts_towards_the_rate(tmp_path):
    """Dry runs and previews cost what a message costs, so a key's rate bounds them."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "t.txt").write_text("Hello")
    headers = made(tmp_path, rate=3)
    async with serving(tmp_path, templates=str(tmp_path / "templates")) as (_, client):

        async def tried(path, body):
            return (await client.post(path, json=body, headers=headers)).status_code

        assert await tried("/v1/messages?dry_run=true", LETTER) == 200
        assert await tried("/v1/templates/t/preview", {}) == 200
        assert await tried("/v1/messages", LETTER) == 202
        assert await tried("/v1/messages?dry_run=true", LETTER) == 429
        assert await tried("/v1/templates/t/preview", {}) == 429
