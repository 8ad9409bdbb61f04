"""An SMS provider over real HTTP: a server that answers as the provider's documentation says."""

import asyncio
import base64
import contextlib
import json
import ssl
import time
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
import trustme

from notifier.attempts import Envelope, Scope, Stage
from notifier.breaker import TAKES_SECONDS, Breaker, Rests, Setback, State
from notifier.errors import Rejected
from notifier.sms.provider import Provider, content, read_provider
from tests.clocks import Clock
from tests.provider import ACCEPTED, BROKEN, HANG, INVALID, LATE, TOO_MANY, Site
from tests.relay import CUT
from tests.waiting import LIMIT

TO = "+12025550123"
ENVELOPE = Envelope("", (TO,))
TEXT = 'Say "hi" {to} \\ €😀\nbye'
CONTENT = content("0190abc", TO, TEXT)

UNSUBSCRIBED = (400, {"code": 21610, "message": "Attempt to send to unsubscribed recipient"})
REGION = (403, {"code": 21408, "message": "Permission to send an SMS has not been enabled"})
SENDER = (400, {"code": 21606, "message": "The From phone number is not a valid one"})
TOO_LONG = (400, {"code": 21617, "message": "The concatenated message body exceeds the limit"})
LOGIN = (401, {"code": 20003, "message": "Authenticate", "status": 401})
NO_ACCOUNT = (404, {"code": 20404, "message": "The requested resource was not found"})
QUEUE_FULL = (400, {"code": 21611, "message": "This From number has exceeded its queue"})
UNAVAILABLE = (503, {"code": 20503, "message": "Service unavailable"})


def _twilio(site, **more):
    url = f"twilio://AC0123456789:secret-token@127.0.0.1:{site.port}?from=+15005550006"
    return Provider(read_provider(url), **more)


def _generic(site, *, path="/send?key=query-secret", **settings):
    return Provider(read_provider(f"http://127.0.0.1:{site.port}{path}", **settings))


@contextlib.asynccontextmanager
async def _asking(*answers, make=_twilio, fields=None, **more):
    async with asyncio.timeout(LIMIT), Site(*answers, fields=fields) as site:
        provider = make(site, **more)
        try:
            yield site, provider
        finally:
            await provider.close()


async def turns():
    """Let everybody who can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _send(provider):
    return await provider.send(ENVELOPE, CONTENT)


async def test_twilio_is_asked_as_it_documents():
    """A form with To, From and Body, by basic authentication; its sid is the reply."""
    async with _asking(ACCEPTED) as (site, provider):
        attempt = await _send(provider)
    ((request, headers, body),) = site.requests
    assert request == "POST /2010-04-01/Accounts/AC0123456789/Messages.json HTTP/1.1"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    token = headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(token) == b"AC0123456789:secret-token"
    assert parse_qs(body.decode("ascii")) == {
        "To": [TO],
        "From": ["+15005550006"],
        "Body": [TEXT],
    }
    assert attempt.accepted == (TO,)
    assert (attempt.code, attempt.reply, attempt.relay) == (201, "SM0123456789abcdef", "twilio")
    assert (attempt.stage, attempt.failures, attempt.uncertain) == (Stage.DOT, {}, False)
    assert attempt.charged


@pytest.mark.parametrize(
    "answer", [INVALID, UNSUBSCRIBED, REGION, TOO_LONG], ids=lambda a: a[1]["code"]
)
async def test_permanent_refusal_of_twilio_is_final(answer):
    """The recipient or the text is at fault; the provider goes on."""
    async with _asking(answer) as (_, provider):
        attempt = await _send(provider)
        assert provider.room() == 8
    failure = attempt.failures[TO]
    assert failure.final
    assert failure.scope is (Scope.MESSAGE if answer is TOO_LONG else Scope.RECIPIENT)
    assert failure.code == attempt.code == answer[0]
    assert attempt.reply == f"{answer[1]['code']} {answer[1]['message']}"
    assert attempt.charged
    assert not attempt.uncertain


@pytest.mark.parametrize("answer", [LOGIN, NO_ACCOUNT, SENDER], ids=lambda a: a[1]["code"])
async def test_an_account_that_does_not_work_is_not_the_messages_fault(answer):
    """One such answer is enough to let the provider rest; no message is charged."""
    async with _asking(answer) as (site, provider):
        attempt = await _send(provider)
        assert attempt.relay_failed
        assert not attempt.charged
        assert not attempt.failures[TO].final
        assert attempt.stage is Stage.AUTH
        assert provider.room() == 0
        (state,) = provider.states()
        assert (state.name, state.state) == ("twilio", "open")
        assert answer[1]["message"] in state.reason
        assert 0 < provider._breaker.left <= 5
        assert abs(state.opens_at - provider.next_probe_at()) < timedelta(seconds=1)
        assert (await _send(provider)).relay_failed
        assert len(site.requests) == 1


@pytest.mark.parametrize("answer", [TOO_MANY, QUEUE_FULL, UNAVAILABLE], ids=lambda a: a[1]["code"])
async def test_a_busy_provider_is_left_alone_as_long_as_it_asks(answer):
    """Retry-After is honoured; nothing was processed, so nothing is uncertain."""
    watch = Clock()
    async with _asking(answer, ACCEPTED, fields={"Retry-After": 120}, clock=watch) as (
        _,
        provider,
    ):
        attempt = await _send(provider)
        assert attempt.relay_failed
        assert not attempt.uncertain
        watch.now += 119
        assert provider.room() == 0
        watch.now += 1
        assert provider.room() == 1
        assert (await _send(provider)).accepted
        assert provider.room() == 8


async def test_a_provider_rests_for_an_hour_at_most():
    """Whatever it asks for: a slip over there must not stop all texts for days."""
    watch = Clock()
    async with _asking(TOO_MANY, ACCEPTED, fields={"Retry-After": 86400}, clock=watch) as (
        _,
        provider,
    ):
        await _send(provider)
        watch.now += 3599
        assert provider.room() == 0
        watch.now += 1
        assert provider.room() == 1


NOT_ALLOWED = (403, {"message": "not allowed to send there"})


async def test_one_text_that_it_may_not_send_does_not_rest_a_provider_that_works():
    """A 403 may mean this text or all: what it took within ten minutes says that it is this one."""
    watch = Clock()
    answers = (ACCEPTED, *[NOT_ALLOWED] * 5, ACCEPTED, *[NOT_ALLOWED] * 3)
    async with _asking(*answers, clock=watch) as (_, provider):
        assert (await _send(provider)).accepted
        for _ in range(5):
            attempt = await _send(provider)
            assert attempt.relay_failed
            assert not attempt.charged
            assert provider.room() == 8
        assert (await _send(provider)).accepted
        watch.now += TAKES_SECONDS
        for _ in range(3):
            assert provider.room() == 8
            await _send(provider)
        assert provider.room() == 0


def test_an_earlier_answer_does_not_end_a_rest():
    """Not even a 403 from a provider that took a text just before."""
    breaker = Breaker(full=8, rests=Rests(), clock=Clock(), random=lambda: 0.5, slow_start=False)
    breaker.end(breaker.begin(), None, took=True)
    before, busy = breaker.begin(), breaker.begin()
    breaker.end(busy, Setback(at_once=True))
    breaker.end(before, None)
    assert breaker.state is State.OPEN
    assert not breaker.fit


async def test_a_provider_that_may_send_nothing_rests_no_longer_each_time():
    """Others' texts may be the next probe: it comes soon, and it works again."""
    watch = Clock()
    async with _asking(*[NOT_ALLOWED] * 6, ACCEPTED, clock=watch) as (_, provider):
        for _ in range(3):
            await _send(provider)
        for _ in range(3):
            assert provider._breaker.left == 5
            watch.now += 5
            await _send(provider)
        watch.now += 5
        assert (await _send(provider)).accepted
        assert provider.room() == 8


async def test_a_server_error_leaves_it_uncertain():
    """Twilio says of its 500 that the text may have been sent."""
    async with _asking(BROKEN) as (_, provider):
        attempt = await _send(provider)
    assert attempt.uncertain
    assert attempt.charged
    assert not attempt.failures[TO].final
    assert attempt.code == 500


async def test_a_connection_lost_after_the_request_leaves_it_uncertain():
    """The provider has read it all, and nobody knows what it did with it."""
    async with _asking(CUT) as (site, provider):
        attempt = await _send(provider)
        assert len(site.requests) == 1
    assert attempt.uncertain
    assert attempt.code is None
    assert attempt.failures[TO].stage is Stage.DOT


async def test_no_answer_in_time_leaves_it_uncertain():
    """And says how long was waited."""
    async with _asking(HANG, answer_seconds=0.2) as (_, provider):
        attempt = await _send(provider)
    assert attempt.uncertain
    assert "0.2" in attempt.reply or "Timeout" in attempt.reply


async def test_a_provider_that_knows_keys_makes_a_repeat_harmless():
    """With its header nothing is uncertain, and each try bears the delivery's id."""
    for answer in (BROKEN, CUT, (409, {"detail": "still being processed"})):
        async with _asking(answer, make=_generic, idempotency_header="Idempotency-Key") as (
            site,
            provider,
        ):
            attempt = await _send(provider)
            assert site.requests[0][1]["idempotency-key"] == "0190abc"
        assert not attempt.uncertain
        assert attempt.relay_failed
        assert not attempt.failures[TO].final


async def test_a_refused_connection_sends_nothing_for_certain():
    """Three in a row let it rest, each rest twice as long, up to five minutes."""
    watch = Clock()
    async with asyncio.timeout(LIMIT):
        async with Site(ACCEPTED) as site:
            pass
        provider = _twilio(site, clock=watch)
        for place in range(3):
            assert provider.room() == 8
            attempt = await _send(provider)
            assert attempt.relay_failed, place
            assert (attempt.stage, attempt.uncertain) == (Stage.CONNECT, False)
        rests = []
        for _ in range(8):
            rests.append(provider._breaker.left)
            watch.now += rests[-1]
            assert provider.states()[0].state == "probing"
            assert provider.room() == 1
            await _send(provider)
        assert rests == [5, 10, 20, 40, 80, 160, 300, 300]
        await provider.close()


async def test_one_failure_in_between_is_no_reason_to_rest():
    """Strikes are counted in a row."""
    async with _asking(BROKEN, BROKEN, ACCEPTED, BROKEN, BROKEN, ACCEPTED) as (_, provider):
        for _ in range(6):
            assert provider.room() == 8
            await _send(provider)
        assert provider.states()[0].state == "closed"


async def test_a_certificate_that_is_not_trusted_stops_at_tls():
    """Nothing was sent; with the right authority it is."""
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with asyncio.timeout(LIMIT), Site(ACCEPTED, tls=serving) as site:
        spec = read_provider(f"https://127.0.0.1:{site.port}/send")
        stranger, friend = Provider(spec), Provider(spec, trust=trusting)
        attempt = await _send(stranger)
        assert attempt.relay_failed
        assert (attempt.stage, attempt.uncertain) == (Stage.TLS, False)
        assert "CERTIFICATE_VERIFY_FAILED" in attempt.reply.upper().replace(" ", "_")
        assert site.requests == []
        assert (await _send(friend)).accepted
        await stranger.close()
        await friend.close()


async def test_connections_are_used_again():
    """Ten texts, one after another, over one connection."""
    async with _asking(ACCEPTED) as (site, provider):
        for _ in range(10):
            assert (await _send(provider)).accepted
        assert site.connections == 1


async def _until_asked(site, times):
    while len(site.requests) < times:
        site.asked.clear()
        await site.asked.wait()


async def test_no_more_than_eight_requests_are_under_way():
    """Whoever waits for room is woken when one ends, and the rest goes out."""
    async with _asking((*ACCEPTED, LATE)) as (site, provider):
        sends = [asyncio.create_task(_send(provider)) for _ in range(12)]
        await _until_asked(site, 8)
        assert provider.room() == 0
        assert provider.states()[0].busy == 12
        waiting = asyncio.create_task(provider.wait_for_room())
        site.let_go()
        assert all(attempt.accepted for attempt in await asyncio.gather(*sends))
        await waiting
        assert site.connections == 8
        assert len(site.requests) == 12
        assert (provider.states()[0].sent, provider.states()[0].failed) == (12, 0)
        assert provider.states()[0].busy == 0


async def test_waiting_texts_do_not_go_to_a_provider_that_rests():
    """The first answers close the door; those that come to it later turn back."""
    async with _asking((*LOGIN, LATE)) as (site, provider):
        sends = [asyncio.create_task(_send(provider)) for _ in range(12)]
        await _until_asked(site, 8)
        site.let_go()
        attempts = await asyncio.gather(*sends)
        assert all(attempt.relay_failed for attempt in attempts)
        assert sum("rests" in attempt.reply for attempt in attempts) == 4
        assert len(site.requests) == 8
        assert provider._breaker.left <= 5


async def test_an_earlier_acceptance_does_not_end_a_rest():
    """An acceptance that comes behind a 429 was asked for before it."""
    async with _asking((*ACCEPTED, LATE), TOO_MANY) as (site, provider):
        first = asyncio.create_task(_send(provider))
        await _until_asked(site, 1)
        assert (await _send(provider)).relay_failed
        site.let_go()
        assert (await first).accepted
        assert provider.states()[0].state == "open"


async def test_an_abort_reports_what_is_known():
    """What was asked and not answered is uncertain, and no reason to let the provider rest."""
    async with _asking(HANG) as (site, provider):
        sends = [asyncio.create_task(_send(provider)) for _ in range(4)]
        await _until_asked(site, 4)
        provider.abort_all()
        await asyncio.sleep(0)  # they are being cut off now
        provider.abort_all()
        for attempt in await asyncio.gather(*sends):
            assert attempt.uncertain
            assert "the service is stopping" in attempt.reply
        assert provider.states()[0].state == "closed"


async def test_an_abort_before_anything_was_sent_is_certain():
    """A server that never shakes hands has not got the text."""
    async with asyncio.timeout(LIMIT):
        reached = asyncio.Event()

        async def mute(reader, writer):
            await reader.read(1)
            reached.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        provider = Provider(read_provider(f"https://127.0.0.1:{port}/"))
        sending = asyncio.create_task(_send(provider))
        await reached.wait()
        provider.abort_all()
        attempt = await sending
        assert not attempt.uncertain
        assert attempt.stage is Stage.TLS
        assert attempt.relay_failed
        await provider.close()
        server.close()
        await server.wait_closed()


async def test_a_paused_provider_is_asked_nothing_until_it_is_resumed():
    """Whoever waits for room is woken then."""
    async with _asking(ACCEPTED) as (site, provider):
        provider.pause("twilio")
        assert provider.room() == 0
        assert provider.states()[0].state == "paused"
        with pytest.raises(Rejected, match="no provider has the name 'other'"):
            provider.resume("other")
        attempt = await _send(provider)
        assert attempt.relay_failed
        assert "paused" in attempt.reply
        assert site.requests == []
        waiting = asyncio.create_task(provider.wait_for_room())
        for _ in range(3):  # each end of a request has whoever waits look again
            await turns()
            assert (await _send(provider)).relay_failed
        await turns()
        assert not waiting.done()
        provider.resume("twilio")
        await waiting
        assert (await _send(provider)).accepted


async def test_waiting_for_room_ends_with_the_rest():
    """Without anybody stirring it."""
    async with _asking(LOGIN) as (_, provider):
        await _send(provider)
        provider._breaker._rests_until = time.monotonic() + 0.1
        await provider.wait_for_room()
        assert provider.room() == 1


async def test_a_rest_that_ends_while_one_looks_is_not_waited_for():
    """Between two looks at the clock is where it ends, sooner or later."""
    watch = Clock()
    async with _asking(LOGIN, clock=watch) as (_, provider):
        await _send(provider)
        left = provider._breaker.left
        watch.now += left - 0.75
        watch.step = 0.5  # 0.25 s before its end, then 0.25 s after it
        await provider.wait_for_room()
        assert provider.room() == 1


async def test_a_probe_is_one_text():
    """A second one that was claimed before is given back without asking."""
    watch = Clock()
    async with _asking(LOGIN, HANG, clock=watch) as (site, provider):
        await _send(provider)
        watch.now += 5
        assert provider.room() == 1
        probe = asyncio.create_task(_send(provider))
        await _until_asked(site, 2)
        assert provider.room() == 0
        second = await _send(provider)
        assert second.relay_failed
        assert "probed" in second.reply
        assert len(site.requests) == 2
        site.let_go()
        await probe


async def test_the_template_is_filled_with_any_text():
    """Quotes, braces and backslashes stay within their string; the query and headers go along."""
    body = '{"msg": {"to": ["{digits}"], "body": "{text}", "n": 1}, "tag": "id-{id}", "from": "Us"}'
    async with _asking(
        (202, {"data": {"id": "m-77"}}),
        make=_generic,
        body=body,
        headers='{"Authorization": "Bearer header-secret"}',
    ) as (site, provider):
        attempt = await _send(provider)
    ((request, headers, sent),) = site.requests
    assert request == "POST /send?key=query-secret HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer header-secret"
    assert json.loads(sent) == {
        "msg": {"to": ["12025550123"], "body": TEXT, "n": 1},
        "tag": "id-0190abc",
        "from": "Us",
    }
    assert (attempt.reply, attempt.relay) == ("m-77", "127.0.0.1")


async def test_a_secret_that_comes_back_is_struck_out():
    """Neither the record nor the conversation shows it."""
    said = {"message": "bad key query-secret in Bearer header-secret"}
    async with _asking(
        (400, said), make=_generic, headers='{"Authorization": "Bearer header-secret"}'
    ) as (_, provider):
        attempt = await _send(provider)
    assert "secret" not in repr(attempt)
    assert attempt.reply.startswith("bad key ***")
    assert attempt.failures[TO].reply == attempt.reply
    assert attempt.conversation[0].endswith("/send")


async def test_a_redirect_is_not_followed():
    """The text must not go to where nobody sent it; the URL is wrong, not the message."""
    async with _asking((302, b""), fields={"Location": "/elsewhere"}) as (site, provider):
        attempt = await _send(provider)
        assert len(site.requests) == 1
        assert attempt.relay_failed
        assert provider.room() == 0


async def test_a_page_that_is_no_api_is_not_the_messages_fault():
    """404 with HTML: the URL is wrong. 404 in JSON: the provider says it of the recipient."""
    async with _asking((404, b"<h1>Not found</h1>"), make=_generic) as (_, provider):
        assert (await _send(provider)).relay_failed
    async with _asking((404, {"error": "unknown number"}), make=_generic) as (_, provider):
        assert (await _send(provider)).failures[TO].final


async def test_a_refusal_within_a_200_is_no_acceptance():
    """The provider's words are kept, the text is tried again, and others go on."""
    said = {"success": False, "error": "no such number"}
    async with _asking((200, said), make=_generic) as (_, provider):
        attempt = await _send(provider)
        assert provider.room() == 8
        assert (provider.states()[0].sent, provider.states()[0].failed) == (0, 1)
    assert (attempt.accepted, attempt.uncertain, attempt.charged) == ((), False, True)
    assert (attempt.reply, attempt.code) == ("no such number", 200)
    assert not attempt.failures[TO].final


async def test_a_page_with_a_200_is_uncertain_and_lets_the_provider_rest():
    """What answers is no API: a portal, or the URL of a home page."""
    async with _asking((200, b"<!doctype html><title>Hi</title>"), make=_generic) as (_, provider):
        attempt = await _send(provider)
        assert provider.room() == 0
    assert (attempt.accepted, attempt.uncertain) == ((), True)


async def test_the_setting_decides_what_success_is():
    """The same answer is one or the other by the setting; JSON that is none, by its type, too."""
    said = (200, {"state": 3})
    for success, taken in (("/state=3", (TO,)), ("/state=4", ())):
        async with _asking(said, make=_generic, success=success) as (_, provider):
            assert (await _send(provider)).accepted == taken
    fields = {"Content-Type": "application/json"}
    async with _asking((200, b"sent?"), make=_generic, fields=fields) as (_, provider):
        assert (await _send(provider)).uncertain


async def test_a_huge_answer_in_json_is_not_blamed_for_being_cut():
    """We have stopped reading, so that it must be JSON says nothing: its status counts."""
    said = b'{"words": "' + b"x" * 200_000 + b'"}'
    fields = {"Content-Type": "application/json"}
    async with _asking((200, said), make=_generic, fields=fields) as (_, provider):
        assert (await _send(provider)).accepted


async def test_a_huge_answer_is_read_only_so_far():
    """Its status counts all the same."""
    async with _asking((200, b"x" * 5_000_000), make=_generic) as (site, provider):
        for connections in (1, 2):
            attempt = await _send(provider)
            assert attempt.accepted
            assert len(attempt.reply) <= 300
            assert site.connections == connections  # the rest of it was left unread
