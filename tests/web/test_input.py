"""Whatever comes in over HTTP, nothing of it is a 500, and nothing is kept that cannot be sent."""

import asyncio
import contextlib
import json
from email import message_from_bytes, policy

import msgspec
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.messages import Attachment, Email, Sms
from notifier.web.app import create_app
from notifier.web.bodies import fault_of
from tests.waiting import LIMIT
from tests.web_client import JSON, LETTER, SIMPLE, serving

POSTS = {"/v1/messages": LETTER, "/send-email/": SIMPLE, "/send-async/": SIMPLE}

fuzzing = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, max_body=200_000, wait_limit=0.001) as (service, client):
        await service.dispatcher.stop(grace=1.0)
        yield service, client


def letter(**change):
    return json.dumps(LETTER | change).encode()


def in_metadata(value):
    return b'{"to":["ann@example.net"],"from":"me@example.org","text":"x","metadata":{"a":%b}}' % (
        value
    )


# Bodies that are not JSON: 400. Those that are, but say nothing that could be sent: 422.
BODIES = {
    "empty": (b"", 400),
    "spaces": (b"  \n", 400),
    "truncated": (b'{"to":', 400),
    "not utf-8": (b'{"to":["\xff\xfe@example.net"]}', 400),
    "not utf-8 in a text": (letter()[:-1] + b',"html":"\xc3\x28"}', 400),
    "utf-16": (letter().decode().encode("utf-16"), 400),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + letter(), 400),
    "a byte order mark within": (letter() + b"\xef\xbb\xbf", 400),
    "null for what is needed": (letter(to=None), 422),
    "null in a list": (letter(cc=[None]), 422),
    "null for a part of a file": (letter(attachments=[{"filename": "a", "content": None}]), 422),
    "trailing bytes": (letter() + b"x", 400),
    "two documents": (letter() + letter(), 400),
    "NaN": (letter(user_id=float("nan")), 400),
    "Infinity": (letter(user_id=float("inf")), 400),
    "a lone surrogate": (letter()[:-1] + b',"html":"\\ud800"}', 400),
    "90,000 deep": (b"[" * 90_000, 422),
    "90,000 deep in the metadata": (in_metadata(b"[" * 90_000), 400),
    "90,000 objects deep": (in_metadata(b'{"a":' * 30_000), 400),
    "900 deep in the metadata": (in_metadata(b"[" * 900 + b"]" * 900), 422),
    "17 deep in the metadata": (in_metadata(b'{"a":' * 17 + b"1" + b"}" * 17), 422),
    "an array": (b"[]", 422),
    "a string": (b'"x"', 422),
    "null": (b"null", 422),
    "nothing in it": (b"{}", 422),
    "an unknown field": (letter(colour="red"), 422),
    "a wrong type": (letter(to="ann@example.net"), 422),
    "nobody": (letter(to=[]), 422),
    "a crowd": (letter(to=["ann@example.net"] * 51), 422),
    "a crowd of three lists": (letter(to=["a@example.net"] * 30, cc=["b@example.net"] * 30), 422),
    "no content": (b'{"to":["ann@example.net"],"from":"me@example.org"}', 422),
    "1e999": (letter()[:-1] + b',"user_id":1e999}', 422),
    "an int of 5,000 digits": (in_metadata(b"9" * 5000), 422),
    "an int past 64 bits": (in_metadata(b"9" * 25), 422),
    "an int past 2^63": (in_metadata(str(2**63).encode()), 422),
    "a user id past 2^53": (letter(user_id=2**60), 422),
    "NUL in a text": (letter(text="a\0b"), 422),
    "NUL in a subject": (letter(subject="\0"), 422),
    "NUL in the metadata": (in_metadata(b'"\\u0000"'), 422),
    "NUL in a key of the metadata": (in_metadata(b'{"\\u0000":1}'), 422),
    "a line end after a reference": (letter(reference="x\n"), 422),
    "a line end after a tag": (letter(tags=["x\n"]), 422),
    "a channel that is none": (letter(channel="pigeon"), 422),
    "a template that is not there": (b'{"to":["ann@example.net"],"template":"../x"}', 422),
    "deep data": (letter(data={"a": json.loads("[" * 30 + "]" * 30)}), 422),
    "due at the end of time": (letter(send_at="9999-12-31T23:59:59Z"), 422),
    "due past the end of time": (letter(send_at="9999-12-31T23:59:59-23:59"), 422),
    "due without a zone": (letter(send_at="2026-01-01T00:00:00"), 422),
    "expired at the start of time": (letter(expires_at="0001-01-01T00:00:00+23:59"), 422),
    "a life without end": (letter(ttl=2**62), 422),
    "no life at all": (letter(ttl=0), 422),
    "base64 that is none": (letter(attachments=[{"filename": "a", "content": "%%%"}]), 422),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES.keys())
async def test_a_bad_body_is_refused_with_a_problem(client, body, status):
    """F38: 400 where it is not JSON, 422 where what it says cannot be; the field is named."""
    answer = await client.post("/v1/messages", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"]
    if status == 422:
        assert all(isinstance(each["pointer"], str) for each in problem["errors"])
    assert (await client.get("/v1/messages")).json()["items"] == []


async def test_the_simple_endpoints_survive_the_same(client):
    """Their struct is another one, the way in is the same."""
    for path in ("/send-email/", "/send-async/"):
        for body, _ in BODIES.values():
            answer = await client.post(path, content=body, headers=JSON)
            assert answer.status_code in {400, 422}, answer.text


async def test_odd_but_valid_input_is_taken(client):
    """Limits are where they are said to be, and not before."""
    for body in (
        in_metadata(str(2**63 - 1).encode()),
        in_metadata(b'{"a":' * 14 + b"1" + b"}" * 14),
        in_metadata(b'"\\ud83d\\ude00"'),
        letter(user_id=2**53),
        letter(subject="", text=""),
        letter(to=["a@example.net"] * 25, cc=["b@example.net"] * 25),
        letter(channel="email"),
        letter(send_at="0001-01-01T00:00:00+23:59"),
        letter(expires_at="9999-12-31T23:59:59Z"),
        letter(expires_at="9999-12-31T23:59:59-23:59"),
        b" \n" + letter() + b"\n ",
    ):
        answer = await client.post("/v1/messages", content=body, headers=JSON)
        assert answer.status_code == 202, answer.text


BOM = b"\xef\xbb\xbf"


async def test_a_byte_order_mark_is_passed_over(client):
    """RFC 8259, section 8.1: in one piece or in many, a single message or a batch."""
    for path, body in (
        ("/v1/messages", letter()),
        ("/v1/messages/batch", b"[" + letter() + b"]"),
        ("/send-email/", json.dumps(SIMPLE).encode()),
    ):
        for content in (BOM + body, pieces(BOM + body, size=2)):
            answer = await client.post(path, content=content, headers=JSON)
            assert answer.status_code == 202, answer.text


def optional(kind):
    """A null for each field that may be left out."""
    return {each.encode_name: None for each in msgspec.structs.fields(kind) if not each.required}


FILE = {"filename": "a.txt", "content": "YQ=="}
TEXT = {"channel": "sms", "to": "+12025550123", "carrier": "Verizon", "text": "Hi"}
# Each with a null for what may be left out, and without.
NULLED = {
    "an email": ("/v1/messages", optional(Email) | {"channel": None} | LETTER, LETTER),
    "a file": (
        "/v1/messages",
        LETTER | {"attachments": [optional(Attachment) | FILE]},
        LETTER | {"attachments": [FILE]},
    ),
    "a batch": ("/v1/messages/batch", [optional(Email) | LETTER], [LETTER]),
    "a text": ("/v1/messages", optional(Sms) | TEXT, TEXT),
    "the simple form": ("/send-email/", SIMPLE | {"user_id": None}, SIMPLE),
    "the simple text": (
        "/send-sms/",
        {"phone_number": "+12025550123", "message": "Hi", "provider": "Verizon", "user_id": None},
        {"phone_number": "+12025550123", "message": "Hi", "provider": "Verizon"},
    ),
}


@pytest.mark.parametrize("what", NULLED)
async def test_null_for_an_optional_field_counts_as_leaving_it_out(web, what):
    """What is kept of the message is the same."""
    service, client = web
    path, *bodies = NULLED[what]
    kept = []
    for body in bodies:
        answer = await client.post(path, json=body)
        assert answer.status_code == 202, answer.text
        (newest, *_) = (await client.get("/v1/messages")).json()["items"]
        content = await service.journal.content(newest["id"])
        lines = content.replace(newest["id"].encode(), b"ID").split(b"\r\n")
        said = [line for line in lines if not line.startswith(b"Date: ")]
        kept.append((said, {name: newest[name] for name in ("channel", "tags", "metadata")}))
    assert kept[0] == kept[1]


async def test_a_field_that_is_too_large_is_named_before_it_is_built(tmp_path):
    """However many elements it has; in a batch the others are accepted."""
    crowd = ["a@example.net"] * 25_000
    async with serving(tmp_path) as (_, client):
        for change, pointer in (
            ({"to": crowd}, "/to"),
            ({"tags": ["a"] * 100_000}, "/tags"),
            ({"metadata": {"a": [[]] * 20_000}}, "/metadata"),
            ({"data": {"a": [[]] * 1_000_000}}, "/data"),
            ({"from": "x" * 400_000}, "/from"),
            ({"attachments": [{"filename": "a", "content": ""}] * 10_000}, "/attachments"),
        ):
            answer = await client.post("/v1/messages", json=LETTER | change)
            assert answer.status_code == 422
            assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
        mixed = await client.post(
            "/v1/messages/batch",
            json=[LETTER, LETTER | {"to": crowd}],
            headers={"X-Batch-Validation": "permissive"},
        )
        assert [each["status"] for each in mixed.json()["items"]] == [202, 422]
        numbers = await client.post(
            "/v1/messages/batch", content=b"[" + b"1," * 2_000_000 + b"1]", headers=JSON
        )
        assert numbers.status_code == 422
        assert (await client.get("/v1/messages")).json()["items"][1:] == []


async def test_pointers_lead_to_the_place(client):
    """RFC 6901: also into lists, and with its two characters escaped."""
    for body, pointer in (
        (letter(to=["ann@example.net", 5]), "/to/1"),
        (letter(to=["ann@example.net", "x"]), "/to/1"),
        (letter(tags=["a", ""]), "/tags/1"),
        (letter(**{"a/b~c": 1}), "/a~1b~0c"),
        (letter(attachments=[{"filename": "a", "content": "", "x": 1}]), "/attachments/0/x"),
        (b'{"from":"me@example.org"}', "/to"),
        (letter(metadata=[]), "/metadata"),
        (letter(cc=["not an address"]), "/cc/0"),
    ):
        answer = await client.post("/v1/messages", content=body, headers=JSON)
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@given(name=st.text(min_size=1, max_size=50))
def test_any_unknown_field_is_named(name):
    """Whatever its name holds, the pointer reads back as the name."""

    class Nothing(msgspec.Struct, forbid_unknown_fields=True):
        pass

    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(msgspec.json.encode({name: 1}), type=Nothing)
    pointer = fault_of(raised.value).pointer
    assert pointer.removeprefix("/").replace("~1", "/").replace("~0", "~") == name


@fuzzing
@given(body=st.binary(max_size=300), path=st.sampled_from(sorted(POSTS)))
async def test_any_bytes_are_refused(web, body, path):
    """No bytes at all bring the service down."""
    answer = await web[1].post(path, content=body, headers=JSON)
    assert answer.status_code in {400, 422}


words = st.text(max_size=30) | st.sampled_from(
    [
        "2030-01-01T00:00:00Z",
        "ann@example.net",
        "Ann <ann@example.net>",
        "<p>x</p>",
        "\r\nBcc: x@example.net",
        "=?utf-8?q?",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
fields = [
    *LETTER,
    *("cc", "bcc", "html", "reply_to", "headers", "attachments", "channel", "on_uncertain"),
    *("reference", "tags", "metadata", "user_id", "collapse_key", "priority"),
    *("template", "data", "send_at", "expires_at", "ttl"),
]


@fuzzing
@given(change=st.dictionaries(st.sampled_from(fields), values, max_size=4))
async def test_any_values_are_refused_or_can_be_sent(web, change):
    """What was accepted can be read again, as the mail that it will be."""
    service, client = web
    await accepted_or_refused(service, client, "/v1/messages", LETTER | change)


@fuzzing
@given(change=st.dictionaries(st.sampled_from([*SIMPLE, "user_id"]), values, max_size=4))
async def test_any_values_are_refused_or_can_be_sent_in_the_simple_form(web, change):
    """The same for the simple endpoints."""
    service, client = web
    await accepted_or_refused(service, client, "/send-email/", SIMPLE | change)


async def accepted_or_refused(service, client, path, body):
    # Surrogates and NaN are no JSON, and Python writes them all the same.
    content = json.dumps(body).encode()
    answer = await client.post(path, content=content, headers=JSON)
    if answer.status_code == 202:
        id = answer.json()["id"]
        assert (await client.get(f"/v1/messages/{id}")).status_code == 200
        mail = message_from_bytes(await service.journal.content(id), policy=policy.default)
        assert not mail.defects
    else:
        assert answer.status_code in {400, 422}, answer.text


@fuzzing
@given(
    path=st.text(max_size=40),
    query=st.text(max_size=40),
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS"]),
)
async def test_any_path_and_query_are_answered(web, path, query, method):
    """Wherever it leads: never a fault of ours."""
    for prefix in ("/", "/v1/messages/", "/inbox/messages/", "/static/"):
        url = f"http://localhost{prefix}"
        params = {query: path} if query else None
        answer = await web[1].request(method, url + quoted(path), params=params)
        assert answer.status_code < 500, answer.text


def quoted(text):
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


HEADER_FIELDS = ("subject", "to", "cc", "from", "reply_to", "reference")
INJECTIONS = [
    "x\r\nBcc: eve@example.net",
    "x\nBcc: eve@example.net",
    "x\rBcc: eve@example.net",
    "x\n",
    "x\r\n\r\nbody",
    "x\x0bBcc: eve@example.net",
    "x\x0cBcc: eve@example.net",
    "x\x1cBcc: eve@example.net",
    "x\x85Bcc: eve@example.net",
    "x\u2028Bcc: eve@example.net",
    "x\u2029Bcc: eve@example.net",
    "x\0y",
    "=?utf-8?q?x=0D=0ABcc:_eve@example.net?=",
    "=?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLm5ldA==?=",
]
ALLOWED = {
    *("date", "from", "to", "cc", "reply-to", "subject", "message-id", "mime-version"),
    *("content-type", "content-transfer-encoding", "auto-submitted"),
}


@pytest.mark.parametrize("field", HEADER_FIELDS)
async def test_no_field_can_bring_in_a_header(web, field):
    """F39: refused, or in the mail as text; the set of header fields is the one we write."""
    service, client = web
    for text in INJECTIONS:
        value = f"{text} <ann@example.net>" if field in {"to", "cc", "from", "reply_to"} else text
        given = [value] if field in {"to", "cc"} else value
        body = LETTER | {field: given}
        answer = await client.post("/v1/messages", json=body)
        if answer.status_code == 422:
            assert answer.json()["errors"][0]["pointer"].startswith(f"/{field}")
            continue
        assert answer.status_code == 202
        delivery = await service.journal.get(answer.json()["id"])
        assert "eve@example.net" not in {each.address for each in delivery.recipients}
        mail = message_from_bytes(await service.journal.content(delivery.id))
        assert {name.lower() for name in mail.keys()} <= ALLOWED  # noqa: SIM118 - a mail is no dict
        assert "eve" not in (mail.get_payload() if isinstance(mail.get_payload(), str) else "")


# The limit of a body


async def pieces(body, size=10_000):
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def test_a_body_past_the_limit_is_413(client):
    """In one piece, in many, or without a length; at the limit it is taken."""
    room = 200_000 - len(letter(text=""))
    assert (await client.post("/v1/messages", content=letter(text="x" * room), headers=JSON)
            ).status_code == 202  # fmt: skip
    for size in (room + 1, 700_000, 3_000_000):
        body = letter(text="x" * size)
        for content in (body, pieces(body)):
            answer = await client.post("/v1/messages", content=content, headers=JSON)
            assert answer.status_code == 413, size
            assert answer.headers["content-type"] == "application/problem+json"


@contextlib.asynccontextmanager
async def listening(service):
    """The application behind a real uvicorn; yields its port."""
    config = uvicorn.Config(create_app(service), port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # they are pytest's
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(LIMIT):
        while not server.started:
            await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


HEAD = (
    b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n%b\r\n"
)


async def test_a_client_that_expects_100_gets_413_before_it_sends(web):
    """Expect: 100-continue gets the 413 without a byte of the body. RFC 9110, section 10.1.1."""
    async with listening(web[0]) as port, asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD % (10**9, b"Expect: 100-continue\r\n"))
        assert (await reader.readline()).split()[1] == b"413"
        writer.close()


async def test_a_client_that_is_still_sending_gets_its_413(web):
    """On a real connection the answer is not lost to a reset within the limits of time."""
    body = letter(text="x" * 700_000)
    async with listening(web[0]) as port, asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD % (len(body), b"") + body)
        assert (await reader.readline()).split()[1] == b"413"
        writer.close()


async def asked(app, method, path, *messages):
    """What the application itself sends, with no server or client to put it right."""
    answers, left = [], list(messages)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
        "state": {},
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }

    async def receive():
        return left.pop(0)

    async def send(message):
        answers.append(message)

    await app(scope, receive, send)
    return answers[0]["status"], b"".join(each["body"] for each in answers[1:])


async def test_a_body_in_one_piece_obeys_the_limit(web):
    """As one that comes in many does; at the limit it is taken."""
    app = create_app(web[0])
    for size, status in ((200_000, 202), (200_001, 413)):
        body = letter(text="x" * (size - len(letter(text=""))))
        whole = {"type": "http.request", "body": body, "more_body": False}
        assert (await asked(app, "POST", "/v1/messages", whole))[0] == status


async def test_a_body_without_an_end_is_no_body(web):
    """What came before the client went is not looked at."""
    part = {"type": "http.request", "body": letter(), "more_body": True}
    app = create_app(web[0])
    for path in POSTS:
        status, _ = await asked(app, "POST", path, part, {"type": "http.disconnect"})
        assert status == 400


async def test_head_is_answered_without_a_body(web):
    """RFC 9110, section 9.3.2: the answer ends with its header."""
    async with listening(web[0]) as port:
        for path in ("/livez", "/readyz", "/v1/messages", "/docs"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            request = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"\r\n\r\n")


async def test_a_client_that_goes_in_the_middle_leaves_nothing(web):
    """F10: a body that ended early is no message, whatever it looked like so far."""
    service, _ = web
    body = letter()
    async with listening(service) as port, asyncio.timeout(LIMIT):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD % (len(body) + 5, b"") + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD % (len(body), b"") + body)
        assert (await reader.readline()).split()[1] == b"202"
        writer.close()
    assert (await service.journal.backlog()).waiting == 1
