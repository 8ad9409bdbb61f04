"""Whatever an application does, its answer is known in bounded time, and says what it means."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from notifier.breaker import Setback
from notifier.callbacks import requests
from notifier.callbacks.answers import PAUSES, Answer, pause_after, setback_of
from notifier.keys import Callback
from notifier.proxies import Proxy as Address
from tests.applications import SECRET
from tests.provider import HANG, Site
from tests.proxy import Proxy
from tests.relay import CUT
from tests.waiting import LIMIT

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def post(url, *, proxy=None, **more):
    """What comes back for one request."""
    callback = Callback(url=url, secrets=(SECRET,), **more)
    sender = requests.Sender(callback, proxy=proxy, connections=2)
    try:
        async with asyncio.timeout(LIMIT):
            return await sender.post(b"{}", {"webhook-id": "msg_1"})
    finally:
        await sender.close()


async def answered(*replies, fields=None, tls=None, **more):
    async with Site(*replies, fields=fields, tls=tls) as site:
        scheme = "https" if tls else "http"
        answer = await post(f"{scheme}://127.0.0.1:{site.port}/hook", **more)
        site.let_go()
        return answer, site


@contextlib.asynccontextmanager
async def raw(said, *, again=b"", holds=False, tls=None):
    """A server that says this to each request, and then `again` over and over."""
    serving = set()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            while again:
                writer.write(again)
                await writer.drain()
            await writer.drain()
            if holds:
                await reader.read()  # until the other side has had enough
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*serving)


async def test_a_2xx_accepts_the_callback():
    """With the begin of what it says."""
    answer, site = await answered((204, b""))
    assert (answer.accepted, answer.code) == (True, 204)
    assert site.requests[0][1]["content-type"] == "application/json"
    answer, _ = await answered((200, b"thank\n\x00you " + b"x" * 5000))
    assert answer.reply.startswith("thank you xxx")
    assert len(answer.reply) <= 200


async def test_f51_a_redirect_is_not_followed():
    """It could lead the request, and the addresses in it, anywhere."""
    answer, site = await answered((302, b"moved"), fields={"Location": "/elsewhere"})
    assert not answer.accepted
    assert answer.reply == "it redirects; redirects are not followed"
    assert len(site.requests) == 1
    assert setback_of(answer, NOW) is not None


async def test_f51_each_missing_answer_has_its_own_error(monkeypatch):
    """Nobody listens, nobody has the name, silence, a cut, and what is no HTTP."""
    monkeypatch.setattr(requests, "ANSWER_SECONDS", 0.05)
    silence, _ = await answered(HANG)
    assert silence.reply == "no answer within 0.05 s"
    monkeypatch.setattr(requests, "ANSWER_SECONDS", LIMIT)
    cut, _ = await answered(CUT)
    nobody = await post("http://127.0.0.1:9/")
    nameless = await post("https://application.invalid/")
    async with raw(b"\x16\x03 what?\r\n\r\n") as port:
        garbage = await post(f"http://127.0.0.1:{port}/")
    for answer in (silence, cut, nobody, nameless, garbage):
        assert answer.code is None
        assert answer.reply
        assert setback_of(answer, NOW) == Setback()


async def test_f51_an_answer_without_an_end_is_bounded(monkeypatch):
    """In octets, and in time: the status is known, and counts."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for name in ("BODY_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(requests, name, 2 * LIMIT)
    async with raw(head, again=b"400\r\n" + b"x" * 1024 + b"\r\n") as port:
        flood = await post(f"http://127.0.0.1:{port}/")
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.05)
    begun = head + b"1\r\nx\r\n"
    async with raw(begun, holds=True) as port, raw(head, holds=True) as other:
        assert (await post(f"http://127.0.0.1:{port}/")).accepted
        assert (await post(f"http://127.0.0.1:{other}/")).accepted
    assert flood.accepted
    assert len(flood.reply) <= 200


async def test_a_wrong_certificate_is_a_failure_and_a_private_authority_can_be_named(good, trusted):
    """The certificates of the file count instead of the system's."""
    stranger, _ = await answered((200, b""), tls=good)
    friend, _ = await answered((200, b""), tls=good, ca_file=trusted["ca"])
    assert stranger.code is None
    assert "certificate" in stranger.reply.lower()
    assert friend.accepted


async def test_a_tls_version_that_the_server_lacks_is_a_failure(trusted):
    """A server without a certificate ends the handshake."""
    async with raw(b"", tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as port:
        answer = await post(f"https://127.0.0.1:{port}/", ca_file=trusted["ca"])
    assert answer.code is None


async def test_it_goes_through_the_proxy():
    """As everything that leaves by HTTP."""
    async with (
        Proxy(names={"shop.example": "127.0.0.1"}) as proxy,
        Site((200, b"")) as site,
    ):
        address = Address(scheme="http", host="127.0.0.1", port=proxy.port)
        answer = await post(f"http://shop.example:{site.port}/", proxy=address, allow_http=True)
    assert proxy.asked == [f"shop.example:{site.port}"]
    assert answer.accepted


@pytest.mark.parametrize(
    ("code", "setback"),
    [
        (200, None),
        (400, None),  # this callback is refused, another one may not be
        (422, None),
        (404, Setback()),
        (408, Setback()),
        (500, Setback(in_doubt=True)),  # it may fail at this message alone
        (502, Setback()),
        (503, Setback()),
        (429, Setback()),
        (101, Setback()),
    ],
)
def test_an_answer_shows_whether_the_application_is_down(code, setback):
    """Whether the others would fail, too."""
    assert setback_of(Answer(code=code, reply=""), NOW) == setback


@pytest.mark.parametrize(
    ("field", "seconds"),
    [("120", 120.0), ("Fri, 01 May 2026 12:01:00 GMT", 60.0), ("9" * 9, 86400.0)],
)
def test_retry_after_is_heeded_within_bounds(field, seconds):
    """As a number or a date, up to a day; it delays this callback and all others."""
    setback = setback_of(Answer(code=429, reply="", retry_after=field), NOW)
    assert setback == Setback(at_once=True, at_least=seconds)
    assert pause_after(1, setback, lambda: 0.5).total_seconds() == max(seconds, PAUSES[0])


def test_pauses_grow_from_seconds_to_a_day_over_three_days():
    """Each varied by a fifth, so that a crowd does not come back at once."""
    pauses = [pause_after(tries, None, lambda: 0.5) for tries in range(1, len(PAUSES) + 1)]
    assert pauses == sorted(pauses)
    assert pauses[0] == timedelta(seconds=5)
    assert pauses[-1] == timedelta(days=1)
    assert timedelta(days=1.8) < sum(pauses, timedelta()) < timedelta(days=3)
    assert pause_after(1, None, lambda: 0.0) == timedelta(seconds=4)
    assert pause_after(99, None, lambda: 1.0) == timedelta(days=1.2)
