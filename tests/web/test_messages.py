"""Messages over HTTP: sending, looking, changing; and the shape of every refusal."""

import asyncio
import threading
from email import message_from_string, policy

import pytest

from notifier.compose import is_html
from notifier.deliveries import Status
from notifier.errors import BacklogFull, JournalUnavailable
from tests.waiting import LIMIT
from tests.web_client import JSON, LETTER, SIMPLE, client_of, final, serving

PROBLEM = "application/problem+json"


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, wait_limit=LIMIT) as (service, client):
        yield service, client


def problem_of(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert {"type", "title", "status", "detail"} <= problem.keys()
    assert problem["status"] == status
    return problem


def only_error(answer, status=422):
    (error,) = problem_of(answer, status)["errors"]
    return error


# Sending


async def test_a_message_is_accepted_and_found_where_the_answer_says(client):
    """202 carries the message and where it is; there it is until it has been sent."""
    answer = await client.post("/v1/messages", json=LETTER | {"tags": ["a"], "metadata": {"n": 1}})
    assert answer.status_code == 202
    accepted = answer.json()
    assert answer.headers["location"] == f"/v1/messages/{accepted['id']}"
    assert accepted["status"] == "queued"
    assert accepted["from"] == "me@example.org"
    assert accepted["recipients"] == [
        {"address": "ann@example.net", "status": "pending", "code": None, "reply": ""}
    ]
    async with asyncio.timeout(LIMIT):
        sent = await final(client, accepted["id"])
    assert sent["status"] == "sent"
    assert sent["recipients"][0]["status"] == "accepted"
    assert [attempt["charged"] for attempt in sent["attempts"]] == [True]
    assert sent["attempts"][0]["code"] == 250
    assert sent["tags"] == ["a"]
    assert sent["metadata"] == {"n": 1}
    assert [each["what"] for each in sent["timeline"]] == ["accepted", "attempt", "sent"]


async def test_the_resource_has_every_name_of_the_contract(client):
    """Names that callers rely on are there from the first answer on."""
    accepted = (await client.post("/v1/messages", json=LETTER)).json()
    assert set(accepted) == {
        *("id", "status", "channel", "subject", "from", "recipients", "attempts", "uncertain"),
        *("partial", "handed_to", "warnings", "reason", "created_at", "due_at", "expires_at"),
        *("finished_at", "reference", "tags", "metadata", "user_id", "timeline", "traceparent"),
        *("key", "copy_of", "bounced"),
    }


async def test_only_the_sender_sees_a_blind_copy(web):
    """The resource has the outcome of a bcc recipient. The mail does not have its address."""
    service, client = web
    blind = LETTER | {"bcc": ["bob@example.net"]}
    accepted = (await client.post("/v1/messages", json=blind)).json()
    addresses = [each["address"] for each in accepted["recipients"]]
    assert addresses == ["ann@example.net", "bob@example.net"]
    assert b"bob@example.net" not in await service.journal.content(accepted["id"])


async def test_a_trailing_slash_makes_no_difference(client):
    """Every path can be written with one."""
    accepted = await client.post("/v1/messages/", json=LETTER)
    assert accepted.status_code == 202
    for path in ("/v1/messages/", accepted.headers["location"] + "/", "/livez/", "/docs/"):
        assert (await client.get(path)).status_code == 200, path


# Looking


async def test_a_list_goes_newest_first_page_by_page(client):
    """Pages follow one another by the cursor, without gap or repetition."""
    for n in range(5):
        await client.post("/v1/messages", json=LETTER | {"reference": f"r{n}"})
    seen, cursor = [], None
    while True:
        parameters = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/messages", params=parameters)).json()
        seen += [each["reference"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["r4", "r3", "r2", "r1", "r0"]


async def test_a_missing_sender_is_a_warning(tmp_path, client):
    """Without configuration a first mail and a first text go, with a warning about the sender."""
    plain = {name: value for name, value in LETTER.items() if name != "from"}
    text = {"channel": "sms", "to": "+12025550123", "carrier": "us cellular", "text": "Hi."}
    for body in (plain, text):
        message = (await client.post("/v1/messages", json=body)).json()
        assert message["from"] == "notifier@localhost"
        assert "NOTIFIER_DEFAULT_FROM" in message["warnings"][-1]
    assert (await client.post("/v1/messages", json=LETTER)).json()["warnings"] == []
    async with serving(tmp_path / "set", default_from="us@example.org") as (_, other):
        assert (await other.post("/v1/messages", json=plain)).json()["warnings"] == []


async def test_a_list_can_be_narrowed(client):
    """Statuses add up, repeated or by commas; the other filters narrow it down."""
    accepted = await client.post("/v1/messages", json=LETTER | {"reference": "r", "tags": ["t"]})
    async with asyncio.timeout(LIMIT):
        await final(client, accepted.json()["id"])
    for query, found in {
        "status=sent": 1,
        "status=failed,sent": 1,
        "status=failed&status=sent": 1,
        "status=failed": 0,
        "reference=r": 1,
        "reference=x": 0,
        "tag=t": 1,
        "tag=u": 0,
        "to=ann@example.net": 1,
        "to=bob@example.net": 0,
        "channel=sms": 0,
        "user_id=7": 0,
        "created_after=2020-01-01T00:00:00Z": 1,
        "created_before=2020-01-01T00:00:00Z": 0,
    }.items():
        answer = await client.get(f"/v1/messages?{query}")
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) == found, query


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("status=lost", "status"),
        ("colour=red", "colour"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("to=%00", "to"),
    ],
)
async def test_a_parameter_that_cannot_be_taken_is_named(client, query, name):
    """What is not known is not passed over either: the caller would think it had an effect."""
    answer = await client.get(f"/v1/messages?{query}")
    assert only_error(answer)["parameter"] == name


@pytest.mark.parametrize("cursor", ["", "x", "%00", "%ff", "A" * 5000, "e30="])
async def test_a_wrong_cursor_is_refused(client, cursor):
    """It is a mistake of the caller, whatever bytes stand in it."""
    problem_of(await client.get(f"/v1/messages?cursor={cursor}"), 422)


async def test_sending_takes_no_unknown_parameters(client):
    """A misspelt switch must not let a message out."""
    answer = await client.post("/v1/messages?dry-run=true", json=LETTER)
    assert only_error(answer)["parameter"] == "dry-run"


# Changing


async def test_a_message_that_was_sent_cannot_be_changed(client):
    """What its state forbids is a conflict."""
    accepted = await client.post("/v1/messages", json=LETTER)
    path = accepted.headers["location"]
    async with asyncio.timeout(LIMIT):
        await final(client, accepted.json()["id"])
    for verb in ("cancel", "retry", "send-now"):
        problem = problem_of(await client.post(f"{path}/{verb}"), 409)
        assert problem["type"].endswith(":wrong-state")


async def test_a_message_that_waits_can_be_called_off_and_taken_up_again(tmp_path):
    """Each step is answered with the message as it is then."""
    async with serving(tmp_path) as (service, client):
        await service.dispatcher.stop(grace=1.0)
        path = (await client.post("/v1/messages", json=LETTER)).headers["location"]
        hurried = await client.post(f"{path}/send-now")
        cancelled = await client.post(f"{path}/cancel")
        retried = await client.post(f"{path}/retry")
    assert [each.status_code for each in (hurried, cancelled, retried)] == [200, 200, 200]
    assert [each.json()["status"] for each in (hurried, cancelled, retried)] == [
        Status.QUEUED,
        Status.CANCELLED,
        Status.QUEUED,
    ]
    assert cancelled.json()["finished_at"]


@pytest.mark.parametrize("id", ["nothing", "%00", "%ff%fe", "a" * 5000, "..%2f..", "\u00fc"])
@pytest.mark.parametrize("verb", ["", "/cancel", "/retry", "/send-now"])
async def test_an_id_of_nothing_is_not_found(client, id, verb):
    """Whatever is written there."""
    method = "POST" if verb else "GET"
    answer = await client.request(method, f"/v1/messages/{id}{verb}")
    assert len(problem_of(answer, 404)["detail"]) < 100


async def test_pages_of_other_sites_may_change_nothing(client):
    """A browser says where a request comes from; such a call needs no body to protect it."""
    path = (await client.post("/v1/messages", json=LETTER)).headers["location"]
    for verb in ("cancel", "retry", "send-now"):
        answer = await client.post(f"{path}/{verb}", headers={"Sec-Fetch-Site": "cross-site"})
        problem_of(answer, 403)


# The simple endpoints


async def test_send_email_answers_at_once(client):
    """`result` is a string, whatever else."""
    answer = await client.post("/send-email/", json=SIMPLE | {"user_id": 7})
    assert answer.status_code == 202
    assert answer.json().keys() == {"result", "id"}
    assert isinstance(answer.json()["result"], str)
    message = (await client.get(f"/v1/messages/{answer.json()['id']}")).json()
    assert message["user_id"] == "7"


async def test_send_async_answers_with_the_relays_words(client):
    """200 only when the relay has taken it."""
    answer = await client.post("/send-async/", json=SIMPLE)
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"].startswith("sent: 250 ")


async def test_send_async_that_takes_too_long_is_accepted(tmp_path):
    """Not done within the limit: 202, and the message stays queued."""
    async with serving(tmp_path, wait_limit=0.01) as (service, client):
        await service.dispatcher.stop(grace=1.0)
        answer = await client.post("/send-async/", json=SIMPLE)
    assert answer.status_code == 202
    assert answer.json()["result"] == "queued"


async def test_send_async_that_will_not_be_sent_is_a_problem_with_its_reason(tmp_path):
    """502 says what became of it, and of which message."""
    async with serving(tmp_path, wait_limit=LIMIT) as (service, client):
        await service.dispatcher.stop(grace=1.0)
        with service.feed.follow() as following:
            waiting = asyncio.create_task(client.post("/send-async/", json=SIMPLE))
            (accepted,) = [news.delivery for news in await following.next()]
        await service.cancel(accepted.id)
        problem = problem_of(await waiting, 502)
    assert problem["id"] == accepted.id
    assert "cancelled" in problem["detail"]


@pytest.mark.parametrize("to", ["ann@example.net", ["ann@example.net", "bob@example.net"]])
async def test_simple_endpoints_take_one_address_or_several(web, to):
    """A string, or a list."""
    service, client = web
    answer = await client.post("/send-email/", json=SIMPLE | {"email_to": to})
    delivery = await service.journal.get(answer.json()["id"])
    assert [each.address for each in delivery.recipients] == ([to] if isinstance(to, str) else to)


@pytest.mark.parametrize("user_id", [None, "", "x", 7])
async def test_simple_endpoints_take_any_user_id_and_unknown_fields(client, user_id):
    """As the replaced service did."""
    body = SIMPLE | {"user_id": user_id, "colour": "red"}
    assert (await client.post("/send-email/", json=body)).status_code == 202


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Dear <name>, 1 < 2 <ann@example.org>", ["text/plain"]),
        ("<p>Dear <b>Ann</b></p>", ["multipart/alternative", "text/plain", "text/html"]),
    ],
)
async def test_a_simple_message_with_a_tag_is_html(web, text, kinds):
    """HTML gets a plain-text alternative; text that merely has angle brackets stays text."""
    service, client = web
    answer = await client.post("/send-email/", json=SIMPLE | {"message": text})
    source = (await service.journal.content(answer.json()["id"])).decode()
    mail = message_from_string(source, policy=policy.default)
    assert [part.get_content_type() for part in mail.walk()] == kinds


@pytest.mark.parametrize(("size", "apart"), [(1000, False), (300_000, True)])
async def test_a_long_message_is_searched_for_tags_beside_the_loop(
    client, monkeypatch, size, apart
):
    """One that is all `<` takes a while to be known for text."""
    threads = []

    def watched(text):
        threads.append(threading.current_thread())
        return is_html(text)

    monkeypatch.setattr("notifier.web.simple.is_html", watched)
    answer = await client.post("/send-email/", json=SIMPLE | {"message": "<" * size})
    assert answer.status_code == 202
    assert [thread is not threading.main_thread() for thread in threads] == [apart]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email_to": "nobody"}, "/email_to"),
        ({"email_to": "a\nb@example.org"}, "/email_to"),
        ({"email_to": "ann@example.org\n"}, "/email_to"),
        ({"email_to": []}, "/email_to"),
        ({"email_to": ["ann@example.net", "nobody"]}, "/email_to/1"),
        ({"email_from": "nobody"}, "/email_from"),
        ({"subject": "a\r\nBcc: x@example.org"}, "/subject"),
        ({"subject": "a\n"}, "/subject"),
        ({"message": "\0"}, "/message"),
        ({"user_id": 1.5}, "/user_id"),
    ],
)
async def test_faults_point_into_the_body_of_the_caller(client, change, pointer):
    """Pointers lead into the body that was sent, not into what we make of it."""
    for path in ("/send-email/", "/send-async/"):
        assert only_error(await client.post(path, json=SIMPLE | change))["pointer"] == pointer


# When it cannot be


async def test_a_stopping_service_accepts_nothing(tmp_path):
    """503 with the time to come back; readyz says it, livez stays."""
    async with serving(tmp_path) as (service, client):
        service.drain()
        answer = await client.post("/v1/messages", json=LETTER)
        assert problem_of(answer, 503)["type"].endswith(":draining")
        assert int(answer.headers["retry-after"]) > 0
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert "draining" in ready.json()["reasons"]
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/livez")).status_code == 200


async def test_a_full_backlog_is_429_with_the_time_to_wait(tmp_path):
    """Retry-After is given by whoever knows the drain rate."""
    async with serving(tmp_path, max_backlog=1) as (service, client):
        await service.dispatcher.stop(grace=1.0)
        await client.post("/v1/messages", json=LETTER)
        answer = await client.post("/v1/messages", json=LETTER)
    assert problem_of(answer, 429)["type"].endswith(":backlog-full")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_closed_journal_is_503(tmp_path):
    """No answer of success without a journal, and no 500."""
    async with serving(tmp_path) as (service, _):
        pass
    async with client_of(service) as client:
        service.draining = False
        for call in (client.post("/v1/messages", json=LETTER), client.get("/v1/messages/abc")):
            answer = await call
            problem_of(answer, 503)
            assert "retry-after" in answer.headers


# Probes


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
async def test_probes_answer_get_and_head(client, path):
    """HEAD has the length of the GET's answer, and no body."""
    got = await client.get(path)
    head = await client.head(path)
    assert got.status_code == head.status_code == 200
    assert head.headers["content-length"] == str(len(got.content))
    assert head.content == b""
    assert got.headers["cache-control"] == "no-store"


async def test_readyz_names_each_relay(client):
    """What each one's state is stands in the body, and does not change the status."""
    (relay,) = (await client.get("/readyz")).json()["relays"]
    assert relay["name"]


# Refusals by HTTP itself


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/messages", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("DELETE", "/v1/messages/abc", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/v1/messages/abc/cancel", {"POST", "OPTIONS"}),
        ("POST", "/livez", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/send-email/", {"POST", "OPTIONS"}),
        ("DELETE", "/static/vendor/x/y.js", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_wrong_method_gets_the_allowed_ones(client, method, path, allowed):
    """RFC 9110, section 15.5.6."""
    answer = await client.request(method, path)
    problem_of(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == allowed


async def test_an_absent_resource_is_a_problem(client):
    """404 as any other error."""
    for path in (
        "/nothing",
        "/v1",
        "/v1/messages/a/b/c",
        "/static/nothing.js",
        "/static/../app.py",
    ):
        problem_of(await client.get(path), 404)


async def test_an_internal_error_hides_its_details(web, monkeypatch):
    """500 goes to the log in full, to the caller in one sentence."""
    service, client = web

    async def fail(*args, **kwargs):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(service, "message", fail)
    answer = await client.get("/v1/messages/abc")
    problem_of(answer, 500)
    assert "secret" not in answer.text


async def test_errors_of_the_service_are_sorted_by_their_meaning(web, monkeypatch):
    """Retry-After is the error's own."""
    service, client = web
    for error, status in ((BacklogFull("x", retry_after=7), 429), (JournalUnavailable("x"), 503)):

        async def fail(*args, error=error, **kwargs):
            raise error

        monkeypatch.setattr(service, "submit", fail)
        answer = await client.post("/v1/messages", json=LETTER)
        problem_of(answer, status)
        assert answer.headers["retry-after"] == str(error.retry_after)


async def test_json_has_to_say_that_it_is(client):
    """So no form of another site's page can post: 415 for anything else."""
    for kind in (
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=latin-1",
        "application/jsonp",
    ):
        for path in ("/v1/messages", "/send-email/", "/send-async/"):
            answer = await client.post(path, content=b"{}", headers={"Content-Type": kind})
            problem_of(answer, 415)
    zipped = JSON | {"Content-Encoding": "gzip"}
    problem_of(await client.post("/v1/messages", content=b"{}", headers=zipped), 415)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_json_may_be_spelt_as_http_allows(client, kind):
    """Case and parameters of the media type do not matter."""
    import msgspec

    body = msgspec.json.encode(LETTER)
    answer = await client.post("/v1/messages", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 202
