"""A call is tried again where that is safe, with one idempotency key, and not for ever."""

import copy
import itertools
import os
import pickle
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.client import (
    AsyncNotifier,
    Fault,
    Forbidden,
    Message,
    Notifier,
    NotifierError,
    NotYet,
    Problem,
    Rejected,
    TooMany,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WrongState,
)
from notifier.client.errors import problem_in
from notifier.client.retrying import Answer, Ask, Lost, Pause, Retrying, retry_after
from tests.clocks import Clock
from tests.http_server import LOST, ScriptedServer, answer
from tests.process import free_port

MESSAGE = {
    "id": "m1",
    "status": "sent",
    "channel": "email",
    "subject": "Hello",
    "from": "us@example.org",
    "recipients": [],
    "created_at": "2026-01-31T12:00:00Z",
    "due_at": "2026-01-31T12:00:00Z",
    "expires_at": "2026-02-03T12:00:00Z",
}
DONE = answer(202, msgspec.json.encode(MESSAGE))
BUSY = answer(
    429,
    b'{"type": "urn:notifier:problem:backlog-full", "title": "Too many", "status": 429}',
    "Retry-After: 0",
    kind="application/problem+json",
)
STOPPING = answer(503, b'{"title": "Stopping", "status": 503}')
CONFLICT = answer(409, b'{"title": "Wrong state", "status": 409, "detail": "it is sent"}')


def keys_of(server):
    return [headers.get("idempotency-key") for _, headers, _ in server.requests]


@pytest.mark.parametrize(
    "first", [LOST, BUSY, STOPPING, answer(502, b"<html>"), answer(504, b"")], ids=range(5)
)
async def test_a_call_is_tried_again_with_the_same_key(first):
    """A lost link, 429, 502, 503 and 504 lead to a further try, with the same key and body."""
    with ScriptedServer(first, first, DONE) as server, Notifier(server.url) as client:
        assert client.send("ann@example.org", text="Hello").id == "m1"
        assert len(server.requests) == 3
        assert len(set(keys_of(server))) == 1
        assert len({body for _, _, body in server.requests}) == 1
    with ScriptedServer(first, first, DONE) as server:
        async with AsyncNotifier(server.url) as client:
            assert (await client.send("ann@example.org", text="Hello")).id == "m1"
            assert len(server.requests) == 3
            assert len(set(keys_of(server))) == 1


async def test_an_accepted_message_is_no_error():
    """Once the service has the message, `send` returns it, also if asking how it went fails."""
    waiting = answer(202, msgspec.json.encode({**MESSAGE, "status": "queued"}))
    with (
        ScriptedServer(waiting, LOST) as server,
        Notifier(server.url, retry_for=0) as client,
    ):
        assert client.send("ann@example.org", text="Hello", wait=5).status == "queued"
        assert len(server.requests) == 2
    with ScriptedServer(waiting, STOPPING) as server:
        async with AsyncNotifier(server.url, retry_for=0) as client:
            message = await client.send("ann@example.org", text="Hello", wait=5)
            assert message.status == "queued"


def test_each_call_has_a_key_of_its_own():
    """Two calls with the same content are two messages."""
    with ScriptedServer(DONE) as server, Notifier(server.url) as client:
        client.send("ann@example.org", text="Hello")
        client.send("ann@example.org", text="Hello")
        assert len(set(keys_of(server))) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Unauthorized),
        (403, Forbidden),
        (409, WrongState),
        (413, Rejected),
        (422, Rejected),
        (500, Problem),
        (599, Problem),
    ],
)
def test_a_refusal_is_final(status, kind):
    """What another try would not change is raised at once."""
    with ScriptedServer(answer(status, b"plain text")) as server, Notifier(server.url) as client:
        with pytest.raises(kind) as caught:
            client.send("ann@example.org", text="Hello")
        assert len(server.requests) == 1
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.detail) == (status, "plain text")


@pytest.mark.parametrize(("reply", "kind"), [(BUSY, TooMany), (STOPPING, Unavailable)])
def test_tries_end(reply, kind, monkeypatch):
    """After `retry_for` seconds the last answer is raised."""
    clock = Clock(step=0.25)  # which each answer takes
    monkeypatch.setattr("notifier.client.clients.Retrying", lambda s: Retrying(s, clock))
    with ScriptedServer(reply) as server, Notifier(server.url, retry_for=0.5) as client:
        with pytest.raises(kind):
            client.send("ann@example.org", text="Hello")
        assert len(server.requests) == 2


def test_without_retries_a_call_is_tried_once():
    """`retry_for=0` is one try."""
    with ScriptedServer(STOPPING) as server, Notifier(server.url, retry_for=0) as client:
        with pytest.raises(Unavailable):
            client.send("ann@example.org", text="Hello")
        assert len(server.requests) == 1


def test_a_lost_answer_leaves_the_key():
    """Where the message may have been accepted, the error says how to repeat the call."""
    with ScriptedServer(LOST) as server, Notifier(server.url, retry_for=0) as client:
        with pytest.raises(Unreachable, match="may have been accepted") as caught:
            client.send("ann@example.org", text="Hello")
        assert caught.value.idempotency_key == keys_of(server)[0]
        assert isinstance(caught.value, ConnectionError)


def test_a_refused_connection_is_an_error():
    """Where no connection was made, the error does not say that something may be accepted."""
    url = f"http://127.0.0.1:{free_port()}"
    with Notifier(url, retry_for=0) as client, pytest.raises(Unreachable) as caught:
        client.send("ann@example.org", text="Hello")
    assert str(caught.value).startswith(f"cannot reach {url} (tried once): ")
    assert "accepted" not in str(caught.value)


def test_a_lost_answer_explains_a_refusal():
    """If the answer to `cancel` was lost, the refusal of the next try is due to the first."""
    with ScriptedServer(LOST, CONFLICT, DONE) as server, Notifier(server.url) as client:
        assert client.cancel("m1").id == "m1"
        assert [line.split()[:2] for line, _, _ in server.requests] == [
            ["POST", "/v1/messages/m1/cancel"],
            ["POST", "/v1/messages/m1/cancel"],
            ["GET", "/v1/messages/m1"],
        ]


def test_the_key_is_shown_to_the_service_alone():
    """The API key is a bearer token, and no redirect carries it away."""
    away = answer(307, b"", "Location: http://127.0.0.1:9/elsewhere")
    with ScriptedServer(away) as server, Notifier(server.url, "secret\n") as client:
        with pytest.raises(UnexpectedAnswer, match=r"redirects to http://127\.0\.0\.1:9/elsewhere"):
            client.get("m1")
        [(_, headers, _)] = server.requests
    assert headers["authorization"] == "Bearer secret"
    assert headers["user-agent"].startswith("notifier-client/")
    assert "secret" not in repr(client)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id": 1}', b"\xff", b"[" * 100_000])
def test_another_service_is_recognized(body):
    """A success that no notifier wrote is UnexpectedAnswer."""
    with (
        ScriptedServer(answer(200, body)) as server,
        Notifier(server.url) as client,
        pytest.raises(UnexpectedAnswer, match="did not answer as notifier does"),
    ):
        client.get("m1")


def test_the_environment_says_where(monkeypatch):
    """NOTIFIER_URL and NOTIFIER_KEY are the defaults."""
    with ScriptedServer(DONE) as server:
        monkeypatch.setenv("NOTIFIER_URL", server.url + "/")
        monkeypatch.setenv("NOTIFIER_KEY", "from-the-environment")
        with Notifier() as client:
            client.get("m1")
        [(line, headers, _)] = server.requests
    assert line.startswith("GET /v1/messages/m1 ")
    assert headers["authorization"] == "Bearer from-the-environment"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (None, "or set NOTIFIER_URL"),
        ("127.0.0.1:8014", "is not the URL of a service"),
        ("ftp://example.org", "is not the URL of a service"),
        ("http://", "is not the URL of a service"),
        ("http://example.org:99999", "is not the URL of a service"),
        ("http://example.org/?a=b", "is not the URL of a service"),
        ("http://user:pass@example.org", "into `key`"),
    ],
)
def test_a_wrong_url_is_reported_at_once(url, text, monkeypatch):
    """A client that cannot work is not made."""
    monkeypatch.delenv("NOTIFIER_URL", raising=False)
    with pytest.raises(ValueError, match=text):
        Notifier(url)


@pytest.mark.parametrize("id", ["", "../keys", "a/b", "é", "m 1"])
def test_an_id_is_no_path(id):
    """What cannot be an id never becomes part of a URL."""
    with Notifier("http://127.0.0.1:9") as client, pytest.raises(ValueError, match="is not the id"):
        client.get(id)


def test_https_is_checked(authority, good):
    """A certificate that is not trusted is a lost link; with `verify` ours is trusted."""
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with ScriptedServer(DONE, tls=good) as server:
        with Notifier(server.url, verify=trust) as client:
            assert client.get("m1").id == "m1"
        with (
            Notifier(server.url, retry_for=0) as client,
            pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            client.get("m1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_connections_of_its_own():
    """A client that was used before a fork is used after it, on both sides."""
    with ScriptedServer(DONE) as server, Notifier(server.url) as client:
        before = client._http
        client._process -= 1  # as it is in a child
        assert client.get("m1").id == "m1"
        assert client._http is not before
        before.close()


def run(call, came):
    """The steps of a call whose asks come to this, up to its end."""
    steps, results = [], iter(came)
    reply = None
    try:
        while True:
            steps.append(step := call.send(reply))
            reply = next(results) if isinstance(step, Ask) else None
    except StopIteration as done:
        return steps, done.value
    except NotifierError as error:
        return steps, error


class Hours:
    """A clock that advances by what is paused, and a second for each look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


ANSWERS = st.builds(
    Answer,
    st.sampled_from([200, 202, 404, 429, 500, 502, 503, 504]),
    st.just(b"{}"),
    st.fixed_dictionaries({}, optional={"retry-after": st.text() | st.integers(0, 99).map(str)}),
) | st.builds(Lost, st.text(), st.booleans())


@given(st.lists(ANSWERS, max_size=50))
def test_a_call_always_ends(came):
    """Whatever comes back: no try begins after the time is up, and a pause honours Retry-After."""
    url = "http://service"
    replies = itertools.chain(came, itertools.repeat(Lost("gone", True)))
    steps, result = run(Retrying(30.0, Hours()).of(Ask(method="GET", path="/"), url=url), replies)
    pauses = [step.seconds for step in steps if isinstance(step, Pause)]
    assert sum(isinstance(step, Ask) for step in steps) <= 31
    assert sum(pauses) <= 30 * 30
    assert isinstance(result, (Answer, Unreachable))
    for reply, pause in zip(came, pauses, strict=False):
        assert pause > 0
        if isinstance(reply, Answer):
            assert pause >= (retry_after(reply.headers) or 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("5", 5.0),
        (" 5 ", 5.0),
        ("soon", None),
        ("-5", None),
        ("9" * 5000, 999_999_999.0),
    ],
)
def test_retry_after_is_seconds(text, seconds):
    """What is no time says nothing."""
    assert retry_after({"retry-after": text}) == seconds


def test_retry_after_can_be_a_date():
    """Proxies send dates; one that has passed is now."""
    later = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < retry_after({"retry-after": format_datetime(later, usegmt=True)}) <= 100
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@given(st.integers(100, 999), st.binary(), st.none() | st.floats(0, 1e6))
def test_any_refusal_is_a_problem(status, content, seconds):
    """Whatever octets a refusal has, it becomes a Problem that can be shown."""
    problem = problem_in(status, content, seconds)
    assert problem.status == status
    assert str(problem).startswith(str(status))


FAULTS = (Fault("must be an address", pointer="/to/0"), Fault("unknown", parameter="colour"))
WAITED = msgspec.convert(MESSAGE, Message)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            Rejected(422, "The message is not valid", "d", "urn:x", FAULTS, None, None),
            "422 The message is not valid: /to/0: must be an address; colour: unknown",
        ),
        (TooMany(429, "Too many", "100 wait", "urn:x", (), 5.0), "429 Too many: 100 wait"),
        (Unreachable("cannot reach it", "key"), "cannot reach it"),
        (NotYet(WAITED, 5.0), "m1 is sent after 5 s"),
        (UnexpectedAnswer("what?"), "what?"),
    ],
)
def test_errors_survive_a_queue(error, text):
    """Errors keep their fields when they are pickled or copied, as task queues do."""
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error) == text
        assert vars(again) == vars(error)
