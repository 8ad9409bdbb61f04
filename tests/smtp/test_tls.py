"""What protects a connection, and the login: nothing goes in clear that was not meant to."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
import uvloop

from notifier.attempts import Stage
from notifier.relayspec import Tls
from notifier.smtp import Rests, State
from tests.relay import FEATURES, ScriptedRelay, StopReading
from tests.relays import ANN, BOB, SHORT_DOT, SOURCE, copies, envelope, sending
from tests.waiting import LIMIT

LOGIN = {"username": "ann", "password": "hüsh"}
PLAIN_TOKEN = base64.b64encode("\0ann\0hüsh".encode()).decode()
protected = pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
on_each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


def context(authority, *names, **changes):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1", "localhost")), **changes).configure_cert(made)
    return made


@protected
@on_each_loop
def test_delivers_protected(tls, run, good, trusted):
    """TLS from the first octet or from STARTTLS on; login after it; many messages over it."""

    async def scenario():
        features = (*FEATURES, "AUTH PLAIN LOGIN")
        async with (
            ScriptedRelay(tls=tls, context=good, features=features) as relay,
            sending(relay.spec, changes=trusted | LOGIN) as relays,
        ):
            first = await relays.send(envelope(), SOURCE)
            large = await relays.send(envelope(BOB), SOURCE * 100_000)
            assert first.accepted
            assert large.accepted
            assert len(relay.connections) == 1
            assert relay.heard.count(f"AUTH PLAIN {PLAIN_TOKEN}") == 1
            assert any("protected by TLS" in line for line in first.conversation)
            assert relay.received[1][2] == SOURCE * 100_000
            # RFC 3207, section 4.2: what was offered before TLS is asked for again.
            assert relay.verbs().count("EHLO") == (2 if tls is Tls.STARTTLS else 1)
            await relays.close()
            await relay.until(lambda: not relay.open)
            assert relay.verbs()[-1] == "QUIT"

    run(scenario())


async def test_a_host_by_name_is_tried_at_each_of_its_addresses(good, trusted):
    """`localhost` may be ::1 first, where nobody listens."""
    async with (
        ScriptedRelay(tls=Tls.IMPLICIT, context=good) as relay,
        sending(relay.spec, changes=trusted | {"host": "localhost"}) as relays,
    ):
        assert (await relays.send(envelope(), SOURCE)).accepted


BAD = {
    "tls_certificate_expired": {"not_after": datetime.now(UTC) - timedelta(days=1)},
    "tls_certificate_not_yet_valid": {"not_before": datetime.now(UTC) + timedelta(days=1)},
    "tls_certificate_wrong_host": {},
    "tls_certificate_untrusted": {},
}


@protected
@on_each_loop
@pytest.mark.parametrize("name", BAD)
def test_f23_a_bad_certificate(tls, name, run, authority, trusted):
    """By its name in the state; no mail, no login, no charge; the relay rests at once."""
    issuer = trustme.CA() if name.endswith("untrusted") else authority
    names = ("other.example",) if name.endswith("wrong_host") else ("127.0.0.1",)

    async def scenario():
        async with (
            ScriptedRelay(tls=tls, context=context(issuer, *names, **BAD[name])) as relay,
            sending(relay.spec, changes=trusted | LOGIN, rests=Rests()) as relays,
        ):
            attempt = await relays.send(envelope(), SOURCE)
            assert attempt.failures[ANN].name == name
            assert attempt.stage is Stage.TLS
            assert not attempt.charged
            (state,) = relays.states()
            assert state.state is State.OPEN
            assert state.trouble.name == name
            assert not {"AUTH", "MAIL"} & {*relay.verbs()}
            await relay.until(lambda: not relay.open)

    run(scenario())


@protected
async def test_without_a_ca_of_its_own_the_systems_are_trusted(tls, good):
    """A certificate of an authority nobody knows is not valid enough."""
    async with (
        ScriptedRelay(tls=tls, context=good) as relay,
        sending(relay.spec) as relays,
    ):
        attempt = await relays.send(envelope(), SOURCE)
    assert attempt.failures[ANN].name == "tls_certificate_untrusted"


async def test_f24_stripped_starttls_sends_nothing(trusted):
    """A relay, or somebody between, that does not offer STARTTLS gets neither login nor mail."""
    async with (
        ScriptedRelay(features=(*FEATURES, "AUTH PLAIN LOGIN")) as relay,
        sending(relay.spec, changes=trusted | LOGIN | {"tls": Tls.STARTTLS}) as relays,
    ):
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "starttls_required"
        assert not attempt.charged
        assert relay.verbs() == ["EHLO"]


@pytest.mark.parametrize(
    ("answer", "name"),
    [("554 5.7.0 not you", "starttls_refused"), ("454 4.7.0 not now", "starttls_unavailable")],
)
async def test_f24_starttls_that_is_refused_sends_nothing(trusted, good, answer, name):
    """Also when it is offered and then turned down."""
    async with (
        ScriptedRelay(tls=Tls.STARTTLS, context=good) as relay,
        sending(relay.spec, changes=trusted | LOGIN) as relays,
    ):
        relay.answer("STARTTLS", answer)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == name
        assert relay.verbs() == ["EHLO", "STARTTLS"]


async def test_extensions_from_before_tls_are_dropped(trusted, good):
    """CVE-2011-0411's family: octets put in behind the 220 end it; nothing is sent."""
    async with (
        ScriptedRelay(tls=Tls.STARTTLS, context=good) as relay,
        sending(relay.spec, changes=trusted) as relays,
    ):
        relay.answer("STARTTLS", b"220 go ahead\r\n250-evil\r\n250 AUTH PLAIN\r\n", times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name in ("stray_reply", "tls_failed")
        assert not {"AUTH", "MAIL"} & {*relay.verbs()}
        assert relay.verbs().count("EHLO") == 1


async def test_a_port_that_does_not_speak_tls(trusted):
    """smtps:// to a port that greets in clear: a name for it, and no mail."""
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, changes=trusted | {"tls": Tls.IMPLICIT}) as relays,
    ):
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "tls_failed"
        assert not attempt.charged
        assert not relay.received


@protected
@on_each_loop
def test_f32_unsent_octets_under_tls_are_not_sent(tls, run, good, trusted):
    """The octets under TLS are counted: not uncertain, and no copy arrives later."""
    large = b"Subject: large\r\n\r\n" + (b"y" * 70 + b"\r\n") * 110_000

    async def scenario():
        async with (
            ScriptedRelay(tls=tls, context=good, receive_buffer=4096) as relay,
            sending(relay.spec, changes=trusted, timeouts=SHORT_DOT) as relays,
        ):
            relay.answer("DATA", StopReading("354 go on"))
            attempt = await relays.send(envelope(), large)
            assert attempt.stage is Stage.DOT
            assert attempt.relay_failed
            assert not attempt.uncertain
            relay.read_on()
            await relay.until(lambda: not relay.open)
            assert not relay.received

    run(scenario())


# ---------------------------------------------------------------- login


@pytest.mark.parametrize(
    ("offered", "mechanism"),
    [
        ("AUTH PLAIN LOGIN CRAM-MD5", "PLAIN"),
        ("AUTH LOGIN PLAIN", "PLAIN"),
        ("AUTH CRAM-MD5 LOGIN", "LOGIN"),
        ("AUTH=LOGIN", "LOGIN"),
        ("AUTH CRAM-MD5", "CRAM-MD5"),
        ("AUTH XOAUTH2 CRAM-MD5", "CRAM-MD5"),
    ],
)
@pytest.mark.parametrize("welcome", [True, False])
async def test_f25_one_mechanism_is_tried_once(offered, mechanism, welcome):
    """The best that is offered; and no other after it, for wrong passwords are counted there."""
    async with (
        ScriptedRelay(features=(*FEATURES, offered)) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        if not welcome:
            relay.answer("AUTH", "535 5.7.8 wrong")
        attempt = await relays.send(envelope(), SOURCE)
        assert bool(attempt.accepted) is welcome
        (auth,) = [line for line in relay.heard if line.startswith("AUTH")]
        assert auth.split()[1] == mechanism
        assert "hüsh" not in "".join(attempt.conversation)
        assert PLAIN_TOKEN not in "".join(attempt.conversation)


async def test_f25_a_refused_login_rests_the_relay_for_a_minute():
    """One 535: nothing is charged or lost, and no second AUTH before 60 s, then 120 s."""
    now = 0.0
    async with (
        ScriptedRelay(features=(*FEATURES, "AUTH PLAIN")) as relay,
        sending(
            relay.spec, changes=LOGIN, rests=Rests(), clock=lambda: now, random=lambda: 0.5
        ) as relays,
    ):
        relay.answer("AUTH", "535 5.7.8 wrong")
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "auth_failed"
        assert attempt.stage is Stage.AUTH
        assert not attempt.charged
        opened = []
        while now < 400:
            if relays.room():
                opened.append(now)
                await relays.send(envelope(), SOURCE)
            now += 1.0
        assert opened == [60, 180]
        assert relay.verbs().count("AUTH") == 3
        relay.answer("AUTH", None)
        now = 1000.0
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert relays.states()[0].state is State.CLOSED
        assert copies(relay) == {ANN: 1}


async def test_a_login_that_is_not_offered_has_a_name():
    """The operator has given a password, the relay wants none: a person has to look."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=LOGIN) as relays:
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "auth_not_offered"
        assert "MAIL" not in relay.verbs()


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "AUTH"])
async def test_a_relay_that_says_more_than_it_was_asked_at_the_handshake(verb):
    """Out of step before it has begun: not used."""
    usual = {"GREETING": b"220 hi", "EHLO": b"250-hi\r\n250 AUTH PLAIN", "AUTH": b"235 welcome"}
    async with (
        ScriptedRelay(features=(*FEATURES, "AUTH PLAIN")) as relay,
        sending(relay.spec, changes=LOGIN) as relays,
    ):
        relay.answer(verb, usual[verb] + b"\r\n250 2.0.0 taken\r\n", times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].name == "stray_reply"
        assert attempt.relay_failed
        await asyncio.wait_for(relays.wait_for_room(), LIMIT)
        assert (await relays.send(envelope(BOB), SOURCE)).accepted
        assert copies(relay) == {BOB: 1}
