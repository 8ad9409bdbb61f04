"""What each trouble with a relay is taken for: the table in notifier.smtp.failures, row by row."""

import asyncio
import errno
import ssl
from socket import EAI_NONAME, gaierror

import pytest

from notifier.attempts import Scope, Stage
from notifier.smtp.failures import asks_for_less, classify, refusal
from notifier.smtp.replies import Reply
from tests.relay import FEATURES, ScriptedRelay
from tests.relays import ANN, BOB, EVE, SOURCE, copies, envelope, sending
from tests.waiting import LIMIT

PLAIN = tuple(feature for feature in FEATURES if feature != "PIPELINING")
both_ways = pytest.mark.parametrize("features", [FEATURES, PLAIN], ids=["pipelined", "one by one"])

# verb, answer, what it is about, whether it is final, at which stage
ROWS = [
    ("GREETING", "554 5.7.1 not you", Scope.RELAY, False, Stage.GREETING),
    ("GREETING", "421 4.3.2 not now", Scope.RELAY, False, Stage.GREETING),
    ("EHLO", "550 5.7.1 not you", Scope.RELAY, False, Stage.EHLO),
    ("EHLO", "421 4.3.2 not now", Scope.RELAY, False, Stage.EHLO),
    ("MAIL", "421 4.3.2 not now", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "450 4.1.8 who is that?", Scope.MESSAGE, False, Stage.MAIL),
    ("MAIL", "451 4.3.0 later", Scope.MESSAGE, False, Stage.MAIL),
    ("MAIL", "452 4.3.1 disk full", Scope.MESSAGE, False, Stage.MAIL),
    ("MAIL", "503 5.5.1 nested MAIL", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "530 5.7.0 log in first", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "534 5.7.9 a better login", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "535 5.7.8 who are you?", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "538 5.7.11 TLS first", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "550 5.4.5 daily quota", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "550 5.7.60 not as this sender", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "432 4.3.2 too many connections", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "451 4.4.2 idle for too long", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "530 5.7.57 not authenticated", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "552 sending quota exceeded", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "554 5.7.1 <x[192.0.2.1]>: Client host rejected: no", Scope.RELAY, False, Stage.MAIL),
    ("MAIL", "550 5.7.1 not this sender", Scope.MESSAGE, True, Stage.MAIL),
    ("MAIL", "552 5.3.4 too big", Scope.MESSAGE, True, Stage.MAIL),
    ("MAIL", "553 5.1.7 bad sender", Scope.MESSAGE, True, Stage.MAIL),
    ("MAIL", "354 what?", Scope.RELAY, False, Stage.MAIL),
    ("RCPT", "421 4.3.2 not now", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "450 4.2.1 greylisted", Scope.RECIPIENT, False, Stage.RCPT),
    ("RCPT", "451 4.3.0 later", Scope.RECIPIENT, False, Stage.RCPT),
    ("RCPT", "452 4.5.3 too many", Scope.RECIPIENT, False, Stage.RCPT),
    ("RCPT", "552 5.5.3 too many", Scope.RECIPIENT, False, Stage.RCPT),
    ("RCPT", "550 Too many recipients", Scope.RECIPIENT, False, Stage.RCPT),
    ("RCPT", "450 4.3.2 Service currently unavailable", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "554 5.7.1 <ann@example.org>: Relay access denied", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "454 4.7.1 <ann@example.org>: Relay access denied", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "554 5.7.1 <x>: Client host rejected: Access denied", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "504 5.5.2 <x>: Helo command rejected: no FQDN", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "550 relay not permitted", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "550 Administrative prohibition", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "550 5.7.1 <ann@example.org>... Relaying denied", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "550 5.7.54 SMTP; Unable to relay recipient", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "550 5.7.64 TenantAttribution; no", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "553 not in my list of allowed rcpthosts (#5.7.1)", Scope.RELAY, False, Stage.RCPT),
    (
        "RCPT",
        "553 5.7.1 Sender address rejected: not owned by user",
        Scope.RELAY,
        False,
        Stage.RCPT,
    ),
    ("RCPT", "450 4.7.1 Client host rejected: no PTR", Scope.RECIPIENT, False, Stage.RCPT),
    ("RCPT", "550 5.7.1 blocked by policy", Scope.RECIPIENT, True, Stage.RCPT),
    ("RCPT", "552 5.2.2 daily quota of the mailbox", Scope.RECIPIENT, True, Stage.RCPT),
    ("RCPT", "450 4.4.2 no answer from the next host", Scope.RECIPIENT, False, Stage.RCPT),
    ("RCPT", "503 5.5.1 MAIL first", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "530 5.7.0 log in first", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "550 5.1.1 no such user", Scope.RECIPIENT, True, Stage.RCPT),
    ("RCPT", "550 5.4.5 daily quota", Scope.RELAY, False, Stage.RCPT),
    ("RCPT", "552 5.2.2 mailbox full", Scope.RECIPIENT, True, Stage.RCPT),
    ("RCPT", "554", Scope.RECIPIENT, True, Stage.RCPT),
    ("RCPT", "300 what?", Scope.RELAY, False, Stage.RCPT),
    ("DATA", "250 ok", Scope.RELAY, False, Stage.DATA),
    ("DATA", "421 4.3.2 not now", Scope.RELAY, False, Stage.DATA),
    ("DATA", "451 4.3.0 later", Scope.MESSAGE, False, Stage.DATA),
    ("DATA", "503 5.5.1 RCPT first", Scope.RELAY, False, Stage.DATA),
    ("DATA", "554 5.7.1 no", Scope.MESSAGE, True, Stage.DATA),
    ("DOT", "421 4.3.2 not now", Scope.MESSAGE, False, Stage.DOT),
    ("DOT", "451 4.3.0 later", Scope.MESSAGE, False, Stage.DOT),
    ("DOT", "452 4.3.1 disk full", Scope.MESSAGE, False, Stage.DOT),
    ("DOT", "503 5.5.1 what?", Scope.MESSAGE, False, Stage.DOT),
    ("DOT", "432 4.3.2 sender thread limit exceeded", Scope.RELAY, False, Stage.DOT),
    ("DOT", "535 5.7.1 no", Scope.RELAY, False, Stage.DOT),
    ("DOT", "550 5.4.5 daily limit", Scope.RELAY, False, Stage.DOT),
    ("DOT", "550 5.7.60 not as this sender", Scope.RELAY, False, Stage.DOT),
    ("DOT", "554 5.2.252 SendAsDenied; us@example.org", Scope.RELAY, False, Stage.DOT),
    ("DOT", "554 5.2.0 STOREDRV.Submission.Exception:SendAsDenied", Scope.RELAY, False, Stage.DOT),
    ("DOT", "554 5.2.2 mailbox full; STOREDRV.Submission", Scope.RELAY, False, Stage.DOT),
    ("DOT", "552 sending quota exceeded", Scope.RELAY, False, Stage.DOT),
    ("DOT", "554 5.2.0 no", Scope.MESSAGE, True, Stage.DOT),
    ("DOT", "550 5.7.26 authentication required: DKIM", Scope.MESSAGE, True, Stage.DOT),
    ("DOT", "552 5.2.2 mailbox full", Scope.MESSAGE, True, Stage.DOT),
    ("DOT", "552 5.7.0 a picture of this size is spam", Scope.MESSAGE, True, Stage.DOT),
    ("DOT", "552 5.7.0 content blocked", Scope.MESSAGE, True, Stage.DOT),
    ("DOT", "552 5.3.4 too big", Scope.MESSAGE, True, Stage.DOT),
    ("DOT", "554 5.7.1 spam", Scope.MESSAGE, True, Stage.DOT),
]


@both_ways
@pytest.mark.parametrize(
    ("verb", "answer", "scope", "final", "stage"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS]
)
async def test_a_refusal(features, verb, answer, scope, final, stage):
    """F29 among others: who is to blame, whether it is final; and the next message goes through."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer(verb, answer)
        attempt = await relays.send(envelope(), SOURCE)
        relay.answer(verb, None)
        await asyncio.wait_for(relays.wait_for_room(), LIMIT)
        after = await relays.send(envelope(BOB), SOURCE)
    failure = attempt.failures[ANN]
    assert (failure.scope, failure.final, failure.stage) == (scope, final, stage)
    assert failure.reply == attempt.reply == answer
    assert failure.code == attempt.code == int(answer[:3])
    assert attempt.stage == stage
    assert not attempt.uncertain
    assert attempt.charged is (scope is not Scope.RELAY)
    assert not attempt.accepted
    assert any(answer in line for line in attempt.conversation)
    assert after.accepted == (BOB,)
    assert copies(relay) == {BOB: 1}


@both_ways
@pytest.mark.parametrize("answer", ["354 go on", "300 hm", "251 elsewhere"])
async def test_an_odd_reply_to_the_dot_is_uncertain(features, answer):
    """2xx is a yes whatever its last digits; 3xx may be anything, and the message be taken."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("DOT", answer, times=1)
        attempt = await relays.send(envelope(), SOURCE)
        after = await relays.send(envelope(BOB), SOURCE)
    assert attempt.uncertain is (answer[0] == "3")
    assert bool(attempt.accepted) is (answer[0] == "2")
    assert attempt.charged
    assert after.accepted == (BOB,)


@both_ways
async def test_f27_each_recipient_has_its_own_outcome(features):
    """Of four one is greylisted, one is lost: the others have it, and each has its own words."""
    carl = "carl@example.org"
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "450 4.2.0 later", to=ANN)
        relay.answer("RCPT", "452 4.5.3 too many", to=BOB)
        relay.answer("RCPT", "550 5.1.1 nobody", to=EVE)
        attempt = await relays.send(envelope(ANN, BOB, carl, EVE), SOURCE)
        assert copies(relay) == {carl: 1}
    assert attempt.accepted == (carl,)
    assert (attempt.code, attempt.stage) == (250, Stage.DOT)
    assert {who: (each.reply, each.final) for who, each in attempt.failures.items()} == {
        ANN: ("450 4.2.0 later", False),
        BOB: ("452 4.5.3 too many", False),
        EVE: ("550 5.1.1 nobody", True),
    }
    assert attempt.charged


@both_ways
async def test_f28_two_of_three(features):
    """The one that does not exist is refused with its text, the two others have it once."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "550 5.1.1 nobody", to=BOB)
        attempt = await relays.send(envelope(ANN, BOB, EVE), SOURCE)
    assert attempt.accepted == (ANN, EVE)
    assert attempt.failures.keys() == {BOB}
    assert copies(relay) == {ANN: 1, EVE: 1}


@both_ways
async def test_a_transaction_without_accepted_recipients_sends_nothing(features):
    """The connection is kept, and the next message is sent over it."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "550 5.1.1 nobody", times=2)
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
        assert (await relays.send(envelope(EVE), SOURCE)).accepted
        assert len(relay.connections) == 1
        assert copies(relay) == {EVE: 1}
    assert attempt.stage is Stage.RCPT
    assert attempt.reply == "550 5.1.1 nobody"
    assert {failure.final for failure in attempt.failures.values()} == {True}


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
async def test_a_relay_that_wants_content_without_recipients_gets_a_lone_dot(verb):
    """RFC 2920, section 3.1: 354 though all was refused; the two ends stay in step."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer(verb, "550 5.1.1 no", times=1)
        relay.answer("DATA", "354 go on", times=1)
        attempt = await relays.send(envelope(ANN), SOURCE)
        assert attempt.failures[ANN].reply == "550 5.1.1 no"
        assert (await relays.send(envelope(EVE), SOURCE)).accepted
        assert len(relay.connections) == 1
        nothing, mail = relay.received
        assert nothing[1:] == ((), b"")
        assert mail[1:] == ((EVE,), SOURCE)


@both_ways
async def test_554_at_data_after_all_were_refused_is_not_the_reason(features):
    """What counts is what was said of the recipients: a greylisted one is tried again."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "450 4.2.0 later")
        relay.answer("DATA", "554 5.5.1 no valid recipients")
        attempt = await relays.send(envelope(), SOURCE)
    assert attempt.failures[ANN].reply == "450 4.2.0 later"
    assert not attempt.failures[ANN].final


@both_ways
async def test_a_refused_envelope_is_reset_before_the_next(features):
    """RSET goes before the next message, once; the connection is kept."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("MAIL", "550 5.7.1 no", times=1)
        await relays.send(envelope(), SOURCE)
        await relays.send(envelope(), SOURCE)
        await relays.send(envelope(), SOURCE)
        assert relay.verbs().count("RSET") == 1
        assert len(relay.connections) == 1


@pytest.mark.parametrize(
    ("error", "stage", "name"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), Stage.CONNECT, "connection_refused"),
        (ConnectionResetError(), Stage.GREETING, "connection_lost"),
        (ConnectionResetError(), Stage.TLS, "tls_failed"),
        (TimeoutError(), Stage.CONNECT, "connect_timeout"),
        (TimeoutError(), Stage.GREETING, "greeting_timeout"),
        (TimeoutError(), Stage.EHLO, "timeout"),
        (gaierror(EAI_NONAME, "unknown"), Stage.CONNECT, "dns_failed"),
        (OSError(errno.ENETUNREACH, "no way"), Stage.CONNECT, "connect_failed"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), Stage.TLS, "tls_failed"),
        (ValueError("odd"), Stage.CONNECT, "unrecognised"),
        (RuntimeError(), Stage.EHLO, "unrecognised"),
    ],
)
def test_an_exception_from_below(error, stage, name):
    """Sockets, names, TLS, and what nobody knows: the relay's, under a name to look up."""
    failure = classify(error, stage)
    assert (failure.scope, failure.name, failure.final) == (Scope.RELAY, name, False)


@pytest.mark.parametrize(
    ("said", "less"),
    [
        ("421 4.7.0 slow down", False),
        ("421 too much", True),
        ("432 4.3.2 connections exceeded", True),
        ("450 4.7.1 rate", True),
        ("454 4.7.0 not now", True),
        ("454 Throttling failure", False),
        ("450 4.2.1 greylisted", False),
        ("451 4.3.0 later", False),
        ("550 5.7.1 no", False),
    ],
)
def test_a_relay_that_asks_for_less(said, less):
    """By words that speak of connections, or by a code where the words speak of nothing."""
    assert asks_for_less(refusal(Stage.MAIL, Reply(int(said[:3]), said))) is less


def test_only_a_permanent_refusal_loses_a_message():
    """Only 5xx is final, and only where it is about message or recipient."""
    for code in range(200, 600):
        for stage in Stage:
            failure = refusal(stage, Reply(code, f"{code} hm"))
            assert not failure.final or 500 <= code < 600
            assert not failure.final or stage in (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT)
