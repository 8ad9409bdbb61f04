"""The handshake, as messages and `notifier check` both use it: names, logins, silence, words."""

import asyncio
import base64
import itertools
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock, call

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.attempts import Envelope, Stage
from notifier.relayspec import RelaySpec, Tls, is_ehlo_name
from notifier.smtp import Rests, State
from notifier.smtp.connect import UNSENT_OCTETS, Opening, own_name, tls_context
from notifier.smtp.failures import (
    BETWEEN_US,
    HOPELESS,
    NOT_ACCEPTING,
    NOT_FOR_US,
    TOO_MANY,
    WORN_OUT,
    Refused,
    refusal,
)
from notifier.smtp.login import PasswordLogin
from notifier.smtp.probe import ELSEWHERE, probe
from notifier.smtp.remedies import REMEDIES, remedy
from notifier.smtp.replies import Reply, ReplyReader
from notifier.smtp.resolver import Resolver
from notifier.smtp.session import QUICKACK, USUAL_TIMEOUTS, Session
from tests.relay import FEATURES, SILENCE, ScriptedRelay
from tests.relays import ANN, SHORT, SOURCE, envelope, sending

LOGIN = {"username": "ann", "password": "hüsh"}
on_each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
PLAIN_TOKEN = base64.b64encode("\0ann\0hüsh".encode()).decode()
US = Envelope("us@example.org", ())


def coded(text):
    return base64.b64encode(text.encode()).decode()


async def findings(spec, **options):
    return [each async for each in probe(spec, **options)]


# ---------------------------------------------------------------- our name


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("mail.example.org", "mail.example.org"),
        ("vm", "[127.0.0.1]"),
        ("my_host.internal", "[127.0.0.1]"),
        ("10.0.0.1", "[127.0.0.1]"),
        ("bücher.example", "[127.0.0.1]"),
        ("a..b", "[127.0.0.1]"),
        ("a b.example\r\nQUIT", "[127.0.0.1]"),
    ],
)
async def test_our_name_is_the_hosts_or_our_address(host, said, monkeypatch):
    """RFC 5321, section 4.1.4: a host name that is none is not said; the address literal is."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert (await findings(relay.spec))[-1].ok
    assert [line for line in relay.heard if line.startswith("EHLO")] == [f"EHLO {said}"] * 2


async def test_the_name_that_the_operator_gives_is_said(monkeypatch):
    """Whatever the host is called; to EHLO and HELO."""
    monkeypatch.setattr(socket, "gethostname", lambda: "mail.example.org")
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, changes={"ehlo_name": "[192.0.2.1]"}) as relays,
    ):
        relay.answer("EHLO", "502 5.5.1 what?", times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted
        assert "S: 502 5.5.1 what?" in attempt.conversation
        assert relay.heard[:2] == ["EHLO [192.0.2.1]", "HELO [192.0.2.1]"]


@pytest.mark.parametrize("changes", [LOGIN, {"tls": Tls.STARTTLS}])
async def test_helo_is_not_enough_where_login_or_tls_is_asked_for(changes):
    """After HELO neither can be had: the relay is told to be at fault, and gets no mail."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=changes) as relays:
        relay.answer("EHLO", "502 5.5.1 what?")
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "ehlo_refused"
        assert relay.verbs() == ["EHLO"]


async def test_a_connection_has_its_socket_options():
    """Nothing waits to be sent, a dead peer is noticed, and little is taken ahead of the relay."""
    async with ScriptedRelay() as relay:
        opening = Opening(relay.spec, resolver=Resolver(), context=None, timeouts=USUAL_TIMEOUTS)
        kernel = (await opening.run()).about("socket")
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert kernel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            taken = kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            assert taken == UNSENT_OCTETS
        await opening.leave()
        await relay.until(lambda: not relay.open)
        assert relay.verbs()[-1] == "QUIT"


@given(st.text(max_size=70))
def test_the_ehlo_name_is_valid_for_each_host_name(name):
    """No text that an operating system gives gets into EHLO but a name or an address."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as unconnected:
        patch.setattr(socket, "gethostname", lambda: name)
        assert is_ehlo_name(own_name(unconnected))


@pytest.mark.parametrize("address", ["::1", "fe80::1%eth0", "2001:db8::1"])
def test_an_address_of_version_6_has_its_tag(address, monkeypatch):
    """RFC 5321, section 4.1.3, without the zone, which means nothing to others."""

    class Connected:
        def getsockname(self):
            return (address, 1, 0, 2)

    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    assert own_name(Connected()) == f"[IPv6:{address.partition('%')[0]}]"


# ---------------------------------------------------------------- login


@pytest.mark.parametrize(
    ("prompts", "answers"),
    [
        (("Username:", "Password:"), ("ann", "hüsh")),
        (("User Name\0", "Password\0"), ("ann", "hüsh")),
        (("login name", "Password for ann"), ("ann", "hüsh")),
        (("PASSWORD:", "USERNAME:"), ("hüsh", "ann")),
        (("Benutzer", "Kennwort"), ("ann", "hüsh")),
        (("", ""), ("ann", "hüsh")),
        (("Password:",), ("hüsh",)),
    ],
)
async def test_login_answers_what_is_asked_for(prompts, answers):
    """The relay that takes no response with the command gets none; the prompts decide."""
    async with (
        ScriptedRelay(features=(*FEATURES, "AUTH LOGIN")) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        relay.prompts = prompts
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted
    begun = relay.heard.index("AUTH LOGIN")
    assert relay.heard[begun + 1 : begun + 1 + len(prompts)] == [*map(coded, answers)]
    said = "".join(attempt.conversation)
    assert "hüsh" not in said
    assert coded("hüsh") not in said


@pytest.mark.parametrize("prompts", [("Username:", "Username:"), ("Password:", "Password:")])
async def test_login_says_nothing_twice(prompts):
    """A relay that asks for the name again does not get the password instead."""
    async with (
        ScriptedRelay(features=(*FEATURES, "AUTH LOGIN")) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        relay.prompts = prompts
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "auth_failed"
        assert not attempt.charged
        begun = relay.heard.index("AUTH LOGIN")
        assert len(relay.heard) == begun + 2


@pytest.mark.parametrize("way", ["PLAIN", "CRAM-MD5"])
async def test_a_relay_that_asks_for_more_gets_no_more(way):
    """334 after all has been said is no reason to say it again."""
    async with (
        ScriptedRelay(features=(*FEATURES, f"AUTH {way}")) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        relay.answer("AUTH", "334 UGFzc3dvcmQ6")
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "auth_failed"
        assert len(relay.heard) == (2 if way == "PLAIN" else 3)


@pytest.mark.parametrize("way", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("code", [b"535", b"235", b"235-a\r\n235", b"so"])
async def test_a_relay_that_repeats_the_login_does_not_make_it_known(way, code):
    """Neither as it is nor as it was said; in a reply, a conversation, or what is no reply."""
    echo = f"who is {PLAIN_TOKEN} {coded('hüsh')} hüsh?".encode()
    async with (
        ScriptedRelay(features=(*FEATURES, f"AUTH {way}")) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        relay.answer("AUTH", code + b" " + echo + b"\r\n")
        told = [repr_of(each) for each in await findings(replace(relay.spec, **LOGIN))]
        attempt = await relays.send(envelope(), SOURCE)
        told += [repr(attempt), *(repr(each) for each in relays.states())]
    assert any("who is" in each for each in told)
    for secret in ("hüsh", coded("hüsh"), PLAIN_TOKEN):
        assert secret not in "".join(told)


def test_cram_md5_is_that_of_its_rfc():
    """The example of RFC 2195, section 2."""
    login = PasswordLogin("CRAM-MD5", "tim", "tanstaaftanstaaf")
    challenge = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    assert login.command == "AUTH CRAM-MD5"
    assert login.answer(challenge) == "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    assert login.answer(challenge) is None


@given(st.lists(st.text(max_size=40), max_size=5))
def test_login_gives_each_secret_once(prompts):
    """Whatever is asked, in clear or coded; and the password only for a password, or last."""
    login = PasswordLogin("LOGIN", "ann", "hush")
    answers = [login.answer(coded(each) if at % 2 else each) for at, each in enumerate(prompts)]
    given = [each for each in answers if each is not None]
    assert len(given) == len({*given}) <= 2
    for prompt, answer in zip(prompts, answers, strict=True):
        if answer == coded("hush"):
            assert "user" not in prompt.lower() or "pass" in prompt.lower()


# ---------------------------------------------------------------- what is offered


async def test_long_offers_are_read():
    """EHLO's reply is read whole, of whatever length and case, and AUTH= is the AUTH of old."""
    features = [*(f"X-{number} {'x' * 60}" for number in range(20)), "pipelining", "Size 7000"]
    async with (
        ScriptedRelay(features=[*features, "auth PLAIN", "AUTH=LOGIN"]) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert f"MAIL FROM:<us@example.org> SIZE={len(SOURCE)}" in relay.heard
        assert any(line.startswith("AUTH PLAIN ") for line in relay.heard)


@pytest.mark.parametrize("greeting", ["250 hi", "354 hi", "200 hi", "554 no"])
async def test_only_220_is_a_greeting(greeting):
    """RFC 5321, section 4.3.2: on anything else nothing more is said."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("GREETING", greeting)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "greeting_refused"
        assert not relay.heard


def test_a_reply_of_several_lines_is_kept_line_by_line():
    """As one for those who judge it, and as it was said for those who read it."""
    (reply,) = ReplyReader().feed(b"250-mx.example\r\n250-SIZE 5\r\n250 \x1b[31mHELP\r\n")
    assert reply.line == "250 mx.example SIZE 5  [31mHELP"
    assert reply.transcript == ["250 mx.example", "250 SIZE 5", "250  [31mHELP"]
    (single,) = ReplyReader().feed(b"220 hi\r\n")
    assert single.transcript == ["220 hi"]


# ---------------------------------------------------------------- silence


@on_each_loop
def test_silence_in_implicit_tls_is_a_timeout(run, trusted):
    """It has the name of one, and does not rest the relay at once, as a broken TLS does."""
    run(_silent_tls(trusted))


async def _silent_tls(trusted):
    closed = []

    async def listen(reader, writer):
        while await reader.read(1000):
            pass
        closed.append(writer)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = RelaySpec(name="relay", host="127.0.0.1", port=port, tls=Tls.IMPLICIT, **trusted)
    async with server, sending(spec, timeouts=replace(SHORT, tls=0.2)) as relays:
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "tls_timeout"
        assert attempt.stage is Stage.TLS
        assert not attempt.charged
        assert relays.states()[0].state is State.CLOSED
        found = await findings(spec, timeouts=replace(SHORT, tls=0.2))
        assert [each.step for each in found] == ["DNS", "TCP", "TLS"]
        assert "did not answer in time" in found[-1].said
        async with asyncio.timeout(30):
            while len(closed) < 2:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("tls", "verb", "stage", "name"),
    [
        (Tls.NONE, "GREETING", Stage.GREETING, "greeting_timeout"),
        (Tls.NONE, "EHLO", Stage.EHLO, "timeout"),
        (Tls.NONE, "AUTH", Stage.AUTH, "timeout"),
        (Tls.STARTTLS, "STARTTLS", Stage.TLS, "tls_timeout"),
        (Tls.STARTTLS, "AUTH", Stage.AUTH, "timeout"),
        (Tls.IMPLICIT, "GREETING", Stage.GREETING, "greeting_timeout"),
        (Tls.IMPLICIT, "AUTH", Stage.AUTH, "timeout"),
    ],
)
async def test_silence_is_timed_out_by_its_stage(tls, verb, stage, name, good, trusted):
    """Each stage by its own limit, and under its own name; the others' may be long."""
    limits = {"greeting": 60.0, "ehlo": 60.0, "tls": 60.0, "auth": 60.0, stage.value: 0.2}
    async with (
        ScriptedRelay(tls=tls, context=good, features=(*FEATURES, "AUTH PLAIN")) as relay,
        sending(
            relay.spec,
            changes=LOGIN | (trusted if tls is not Tls.NONE else {}),
            timeouts=replace(SHORT, **limits),
            rests=Rests(),
        ) as relays,
    ):
        relay.answer(verb, SILENCE)
        async with asyncio.timeout(30):
            attempt = await relays.send(envelope(), SOURCE)
        assert (attempt.stage, attempt.failures[ANN].name) == (stage, name)
        assert not attempt.charged
        assert relays.states()[0].state is State.CLOSED
        await relay.until(lambda: not relay.open)


# ---------------------------------------------------------------- check


@pytest.mark.parametrize("tls", [Tls.NONE, Tls.STARTTLS, Tls.IMPLICIT])
@pytest.mark.parametrize("way", ["PLAIN", "LOGIN", None])
async def test_check_shakes_hands_as_sending_does(tls, way, good, trusted):
    """Up to the envelope the relay hears the very same; a plain relay from before ESMTP, too."""
    features = (*FEATURES, f"AUTH {way}") if way else FEATURES
    changes = (LOGIN if way else {}) | (trusted if tls is not Tls.NONE else {})
    heard = []
    for looking in (True, False):
        async with ScriptedRelay(tls=tls, context=good, features=features) as relay:
            if tls is Tls.NONE and not way:
                relay.answer("EHLO", "502 5.5.1 what?")
            spec = replace(relay.spec, **changes)
            if looking:
                found = await findings(spec, sender=US)
                assert all(each.ok for each in found), found
                assert not relay.received
                assert relay.verbs()[-5:] == ["MAIL", "RCPT", "RCPT", "RSET", "QUIT"]
            else:
                async with sending(spec) as relays:
                    assert (await relays.send(envelope(), SOURCE)).accepted
            verbs = relay.verbs()
            heard.append(relay.heard[: verbs.index("MAIL")])
    assert heard[0] == heard[1]


@pytest.mark.parametrize(
    "reply",
    [
        "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",  # Postfix
        "454 4.7.1 <us@example.org>: Relay access denied",  # Postfix
        "550 relay not permitted",  # Exim
        "550 Administrative prohibition",  # Exim
        "550 5.7.1 <us@example.org>... Relaying denied",  # Sendmail
        "530 5.7.0 Authentication required",
        "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",  # Exchange
    ],
)
async def test_check_fails_where_no_recipient_is_taken_from_us(reply):
    """MAIL is answered 250, and each RCPT is refused for who we are: every mail would be lost."""
    async with ScriptedRelay() as relay:
        relay.answer("RCPT", reply)
        *others, last = await findings(relay.spec, sender=US)
    assert all(each.ok for each in others)
    assert (last.step, last.ok) == ("recipient", False)
    assert last.said == f"us@example.org: {reply}"
    assert "user:password@" in last.remedy


def test_every_fault_that_has_a_name_has_a_remedy():
    """Whatever `failures` can call it, `check` has something to say; each of its words counts."""
    named = {*HOPELESS, *NOT_FOR_US, *BETWEEN_US, NOT_ACCEPTING, *WORN_OUT, "connection_refused"}
    for stage, code in itertools.product(Stage, range(400, 600)):
        named.add(refusal(stage, Reply(code, f"{code} no")).name)
    named -= {"", "unrecognised", TOO_MANY}
    assert named <= REMEDIES.keys()
    spec = RelaySpec(name="r", host="mail.example.org", port=587)
    for fault in REMEDIES:
        assert "{" not in remedy(fault, spec, sender="us@example.org")


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
@pytest.mark.parametrize("days", [20, 22])
async def test_check_warns_of_a_certificate_that_ends_soon(tls, days, authority, trusted):
    """Three weeks before; and says when in any case."""
    ends_at = datetime.now(UTC) + timedelta(days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=ends_at).configure_cert(context)
    async with ScriptedRelay(tls=tls, context=context) as relay:
        found = await findings(replace(relay.spec, **trusted))
    (shown,) = [each for each in found if each.certificate_ends_at]
    assert all(each.ok for each in found)
    assert abs(shown.certificate_ends_at - ends_at) < timedelta(seconds=2)
    assert f"certificate until {ends_at:%Y-%m-%d}" in shown.said
    assert bool(shown.warning) is (days == 20)


async def test_check_warns_where_only_own_domains_are_taken():
    """It may be meant so."""
    async with ScriptedRelay() as relay:
        relay.answer("RCPT", "554 5.7.1 Relay access denied", to=ELSEWHERE)
        last = (await findings(relay.spec, sender=US))[-1]
        assert relay.verbs()[-2:] == ["RSET", "QUIT"]
    assert last.ok
    assert ELSEWHERE in last.said
    assert "Does it require a login?" in last.warning


@pytest.mark.parametrize(
    "reply", ["550 5.1.1 no such user", "450 4.2.0 greylisted", "556 5.1.10 null MX"]
)
async def test_an_address_that_is_refused_by_itself_says_nothing_of_the_others(reply):
    """Nobody need be at noreply@."""
    async with ScriptedRelay() as relay:
        relay.answer("RCPT", reply)
        found = await findings(relay.spec, sender=US)
    assert all(each.ok for each in found)
    assert [each.warning for each in found[-2:]] == ["the relay refuses this one address"] * 2


async def test_check_names_a_sender_by_its_rfc():
    """SMTPUTF8 where the local part needs it, and only if it is offered."""
    us = Envelope("jürgen@xn--bcher-kva.example", (), True)
    async with ScriptedRelay() as relay:
        found = await findings(relay.spec, sender=us)
        assert "MAIL FROM:<jürgen@xn--bcher-kva.example> SMTPUTF8" in relay.heard
        assert found[-1].ok
    async with ScriptedRelay(features=["PIPELINING"]) as relay:
        found = await findings(relay.spec, sender=us)
        assert not found[-1].ok
        assert "MAIL" not in relay.verbs()


@pytest.mark.skipif(QUICKACK is None, reason="there is no TCP_QUICKACK here")
async def test_a_reply_that_is_one_of_several_is_acknowledged_at_once():
    """Nagle's algorithm over there waits for it; where all come together nothing has to be said."""
    kernel, below = Mock(), Mock()
    below.get_extra_info = {"socket": kernel}.get
    below.get_write_buffer_size.return_value = 0
    below.is_closing.return_value = False
    session = Session(SHORT)
    session.connection_made(below)
    session.data_received(b"220 hi\r\n")
    for pieces, times in (((b"250 a\r\n", b"250 b\r\n354 c\r\n"), 1), ((b"250 a\r\n" * 3,), 0)):
        kernel.reset_mock()
        asking = asyncio.create_task(session.ask(b"MAIL\r\nRCPT\r\nDATA\r\n", 3, 5))
        await asyncio.sleep(0)
        for piece in pieces:
            session.data_received(piece)
        assert len(await asking) == 3
        assert kernel.mock_calls == [call.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)] * times


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "STARTTLS", "AUTH"])
async def test_a_handshake_that_fails_leaves_no_connection(verb, good, trusted):
    """Whatever is refused, we hang up; while the error is still held by somebody."""
    async with ScriptedRelay(
        tls=Tls.STARTTLS, context=good, features=(*FEATURES, "AUTH PLAIN")
    ) as relay:
        relay.answer(verb, "550 5.7.1 no")
        opening = Opening(
            replace(relay.spec, **LOGIN, **trusted),
            resolver=Resolver(),
            context=tls_context(replace(relay.spec, **trusted)),
            timeouts=USUAL_TIMEOUTS,
        )
        with pytest.raises(Refused) as refused:
            await opening.run()
        await relay.until(lambda: not relay.open)
        assert refused.value.reply.line == "550 5.7.1 no"


async def test_a_relay_that_hangs_up_at_the_second_recipient_fails_check():
    """It has not refused that address alone."""
    async with ScriptedRelay() as relay:
        relay.answer("RCPT", "<cut>", to=ELSEWHERE)
        last = (await findings(relay.spec, sender=US))[-1]
    assert not last.ok
    assert ELSEWHERE in last.said


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "AUTH", "MAIL", "RCPT"])
async def test_check_reports_a_relay_that_hangs_up(verb):
    """Each step can be the last; in words, and without waiting."""
    async with ScriptedRelay(features=(*FEATURES, "AUTH PLAIN")) as relay:
        relay.answer(verb, "<cut>")
        last = (await findings(replace(relay.spec, **LOGIN), sender=US))[-1]
    assert not last.ok
    assert "lost" in last.said


EVIL = b"\x1b]0;owned\x07\x1b[2J\x9b31m\xc2\x9b\xe2\x80\xae\x00\x7f"


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("good", [True, False])
async def test_replies_of_a_relay_move_no_cursor(verb, good):
    """No control character of it gets into a finding, a conversation, a reply or the state."""
    usual = {"GREETING": b"220", "AUTH": b"235", "DATA": b"354"}.get(verb, b"250")
    code = usual if good else b"554"
    words = b" hi " + EVIL
    if verb == "EHLO" and good:
        words = b"-hi\r\n250-AUTH PLAIN\r\n250 X" + EVIL
    async with (
        ScriptedRelay(features=(*FEATURES, "AUTH PLAIN")) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        relay.answer(verb, code + words + b"\r\n")
        said = [repr_of(each) for each in await findings(replace(relay.spec, **LOGIN), sender=US)]
        attempt = await relays.send(envelope(), SOURCE)
        said += [*attempt.conversation, attempt.reply]
        said += [each.reply for each in attempt.failures.values()]
        said += [each.trouble.text for each in relays.states() if each.trouble]
    assert bool(attempt.accepted) is good
    assert all(each.isprintable() for each in said), said
    assert any(re.search("owned", each) for each in said)


def repr_of(finding):
    return f"{finding.step}{finding.said}{finding.remedy}{finding.warning}"


@pytest.mark.parametrize(
    ("host", "tls", "username", "clear"),
    [
        ("mail.example.org", Tls.NONE, "ann", True),
        ("192.0.2.1", Tls.NONE, "ann", True),
        ("mail.example.org", Tls.NONE, None, False),
        ("mail.example.org", Tls.STARTTLS, "ann", False),
        ("mail.example.org", Tls.IMPLICIT, "ann", False),
        ("127.0.0.1", Tls.NONE, "ann", False),
        ("127.8.9.1", Tls.NONE, "ann", False),
        ("::1", Tls.NONE, "ann", False),
        ("localhost", Tls.NONE, "ann", False),
    ],
)
def test_a_login_without_tls_can_be_read_on_its_way(host, tls, username, clear):
    """Without TLS, and over a network."""
    spec = RelaySpec(name="r", host=host, port=25, tls=tls, username=username, password="x")
    assert spec.login_in_clear is clear
