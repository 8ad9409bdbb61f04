"""Messages over SMTP when all is well: what goes over the wire, and how often."""

import asyncio
from datetime import UTC, datetime

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.attempts import Scope, Stage
from notifier.errors import ConfigurationError, Rejected
from notifier.relayspec import RelaySpec, Tls
from notifier.smtp import Relay, State, Timeouts
from notifier.smtp.outcomes import LINES_KEPT
from notifier.smtp.transaction import stuffed
from tests.relay import FEATURES, ScriptedRelay
from tests.relays import ANN, BOB, EVE, SOURCE, envelope, sending
from tests.waiting import LIMIT

PLAIN = tuple(feature for feature in FEATURES if feature != "PIPELINING")
both_ways = pytest.mark.parametrize("features", [FEATURES, PLAIN], ids=["pipelined", "one by one"])
on_each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@both_ways
@on_each_loop
def test_delivers(features, run):
    """What the relay gets is the envelope and the source, octet by octet."""

    async def scenario():
        async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
            attempt = await relays.send(envelope(ANN, BOB), SOURCE)
        assert relay.received == [("us@example.org", (ANN, BOB), SOURCE)]
        assert attempt.accepted == (ANN, BOB)
        assert (attempt.stage, attempt.code) == (Stage.DOT, 250)
        assert attempt.reply == "250 2.0.0 taken"
        assert not attempt.failures
        assert not attempt.uncertain
        assert attempt.relay == "relay"
        assert attempt.started_at <= datetime.now(UTC)
        assert 0 < attempt.seconds < LIMIT

    run(scenario())


@both_ways
async def test_a_connection_carries_many_messages(features):
    """Ten messages one after the other need one connection, one EHLO and no RSET."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        for _ in range(10):
            assert (await relays.send(envelope(), SOURCE)).accepted
        assert len(relay.connections) == 1
        assert relay.verbs().count("EHLO") == 1
        assert "RSET" not in relay.verbs()
        assert len(relay.received) == 10
        await relays.close()
        await relay.until(lambda: not relay.open)
        assert relay.verbs()[-1] == "QUIT"


async def test_pipelining_sends_the_envelope_at_once():
    """RFC 2920: the relay has every command before it has answered the first one."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.hold("MAIL")
        attempt = asyncio.create_task(relays.send(envelope(ANN, BOB), SOURCE))
        await relay.until_held(1)
        (connection,) = relay.connections
        await relay.until(lambda: connection.buffer.endswith(b"DATA\r\n"))
        relay.release()
        assert (await attempt).accepted == (ANN, BOB)


async def test_commands_wait_for_replies_without_pipelining():
    """A relay that does not know pipelining never sees two commands at once."""
    async with ScriptedRelay(features=PLAIN) as relay, sending(relay.spec) as relays:
        for verb in ("MAIL", "RCPT", "DATA"):
            relay.hold(verb)
            attempt = asyncio.create_task(relays.send(envelope(ANN, BOB), SOURCE))
            await relay.until_held(1)
            assert not relay.connections[-1].buffer
            relay.release()
            assert (await attempt).accepted


async def test_a_relay_that_knows_no_ehlo_is_spoken_to_with_helo():
    """RFC 5321, section 3.2: an old server is no reason not to send."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("EHLO", "502 5.5.1 what?")
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert "HELO" in relay.verbs()


@both_ways
async def test_f29_the_size_is_announced_and_held_to(features):
    """RFC 1870: stated at MAIL; what is larger than the relay takes fails before it is asked."""
    features = (*(each for each in features if "SIZE" not in each), "SIZE 100")
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        await relays.send(envelope(), SOURCE)
        assert f"MAIL FROM:<us@example.org> SIZE={len(SOURCE)}" in relay.heard
        attempt = await relays.send(envelope(ANN, BOB), SOURCE + b"x" * 80 + b"\r\n")
        assert relay.verbs().count("MAIL") == 1
    assert {failure.scope for failure in attempt.failures.values()} == {Scope.MESSAGE}
    assert all(failure.final for failure in attempt.failures.values())
    assert "111 octets" in attempt.reply
    assert "100" in attempt.reply
    assert set(attempt.failures) == {ANN, BOB}


async def test_without_size_none_is_announced():
    """A relay that does not offer SIZE would not understand it."""
    async with ScriptedRelay(features=["PIPELINING"]) as relay, sending(relay.spec) as relays:
        await relays.send(envelope(), SOURCE)
        assert "MAIL FROM:<us@example.org>" in relay.heard


async def test_addresses_that_are_not_ascii_need_smtputf8():
    """RFC 6531: said at MAIL where it is offered, a clear final failure where it is not."""
    address = "jürgen@bücher.example"
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        attempt = await relays.send(envelope(address, smtputf8=True), SOURCE)
        assert attempt.accepted == (address,)
        assert relay.received[0][1] == (address,)
        assert any(line.endswith(" SMTPUTF8") for line in relay.heard)
    async with ScriptedRelay(features=["PIPELINING"]) as relay, sending(relay.spec) as relays:
        attempt = await relays.send(envelope(address, smtputf8=True), SOURCE)
        assert attempt.failures[address].final
        assert attempt.failures[address].scope is Scope.MESSAGE
        assert "SMTPUTF8" in attempt.reply
        assert "MAIL" not in relay.verbs()


@both_ways
@pytest.mark.parametrize(
    "poison",
    ["é@example.org", "a b@example.org", "a\r\nRSET\r\n@x.org", "a>@x", "\ud800@x", "\0@x"],
)
async def test_f34_an_address_that_cannot_be_written_fails_alone(features, poison):
    """It fails alone: the others of its message get theirs, and so does the next message."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        alone = await relays.send(envelope(poison), SOURCE)
        mixed = await relays.send(envelope(ANN, poison, BOB), SOURCE)
        sender = await relays.send(envelope(ANN, sender=poison), SOURCE)
        after = await relays.send(envelope(EVE), SOURCE)
        assert len(relay.connections) == 1
    assert alone.failures[poison].final
    assert mixed.accepted == (ANN, BOB)
    assert mixed.failures[poison].scope is Scope.RECIPIENT
    assert sender.failures[ANN].final
    assert sender.failures[ANN].scope is Scope.MESSAGE
    assert after.accepted == (EVE,)
    assert [recipients for _, recipients, _ in relay.received] == [(ANN, BOB), (EVE,)]
    assert "RSET" not in relay.verbs()


@given(
    st.lists(
        st.sampled_from([b"", b".", b"..", b".x", b"x.", b"hello", b". ."]), min_size=1, max_size=12
    )
)
def test_f40_stuffing_ends_the_content_once(lines):
    """RFC 5321, section 4.5.2: one lone dot, at the end; unstuffed it is what was put in."""
    content = b"".join(line + b"\r\n" for line in lines)
    wire = stuffed(content)
    assert wire.endswith(b".\r\n")
    *sent, end, nothing = wire.split(b"\r\n")
    assert (end, nothing) == (b".", b"")
    assert b"." not in sent
    assert b"".join(line.removeprefix(b".") + b"\r\n" for line in sent) == content


async def test_f40_dots_arrive_as_they_were():
    """Lines that begin with dots, also the first one, survive the way over a real socket."""
    source = b".\r\n..\r\n.a\r\n\r\n. .\r\nb.\r\n"
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        for content in (source, source * 20_000, b"\r\n", b"no end"):
            await relays.send(envelope(), content)
        assert relay.received.pop()[2] == b"no end\r\n"
        assert [content for _, _, content in relay.received] == [source, source * 20_000, b"\r\n"]


async def test_the_conversation_is_kept_and_the_password_is_not():
    """The first message on a connection shows how it was opened, the next shows only itself."""
    async with ScriptedRelay(features=[*FEATURES, "AUTH PLAIN"]) as relay:
        changes = {"username": "ann", "password": "hush"}
        async with sending(relay.spec, changes=changes) as relays:
            first = await relays.send(envelope(), SOURCE)
            second = await relays.send(envelope(), SOURCE)
    assert second.conversation == (
        f"C: MAIL FROM:<us@example.org> SIZE={len(SOURCE)}",
        "S: 250 2.1.0 ok",
        "C: RCPT TO:<ann@example.org>",
        "S: 250 2.1.5 ok",
        "C: DATA",
        "S: 354 end with a dot",
        f"C: ({len(SOURCE)} octets)",
        "S: 250 2.0.0 taken",
    )
    opening = first.conversation[: -len(second.conversation)]
    assert first.conversation == opening + second.conversation
    assert "S: 220 relay.example.org ESMTP" in opening
    assert "C: AUTH PLAIN ********" in opening
    assert "S: 235 2.7.0 welcome" in opening
    (said,) = [line for line in relay.heard if line.startswith("AUTH")]
    assert said.split()[-1] not in "".join(opening)


async def test_a_long_conversation_loses_its_middle():
    """Fifty recipients and a relay that talks much: what is kept has a limit."""
    addresses = [f"{number}@{'x' * 200}.example" for number in range(50)]
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "250 2.1.5 " + "good " * 1000)
        attempt = await relays.send(envelope(*addresses), SOURCE)
    assert attempt.accepted == tuple(addresses)
    assert len(attempt.conversation) <= LINES_KEPT
    assert max(map(len, attempt.conversation)) <= 500
    assert any("left out" in line for line in attempt.conversation)
    assert attempt.conversation[-1] == "S: 250 2.0.0 taken"


async def test_a_connection_carries_its_share():
    """Past messages_per_connection a new one is opened, and the old one hears QUIT."""
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, changes={"messages_per_connection": 3}) as relays,
    ):
        for _ in range(7):
            await relays.send(envelope(), SOURCE)
        assert len(relay.connections) == 3
        await relay.until(lambda: relay.open == 1)
        assert relay.verbs().count("QUIT") == 2


async def test_of_two_idle_connections_the_older_one_is_closed():
    """The other one has been used since, and carries the next message."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.hold("DOT")
        sends = [asyncio.create_task(relays.send(envelope(), SOURCE)) for _ in range(2)]
        await relay.until_held(2)
        relay.release()
        await asyncio.gather(*sends)
        pool = relays._relays[0]._pool
        pool._idle[0].idle_since -= Timeouts().idle
        pool._reap()
        await relay.until(lambda: relay.open == 1)
        await relays.send(envelope(), SOURCE)
        assert len(relay.connections) == 2


async def test_an_idle_connection_is_closed_politely_after_a_while():
    """The pool closes a connection that is no longer needed by itself."""
    timeouts = Timeouts(idle=0.1)
    async with ScriptedRelay() as relay, sending(relay.spec, timeouts=timeouts) as relays:
        await relays.send(envelope(), SOURCE)
        assert relays.states()[0].idle == 1
        await relay.until(lambda: not relay.open)
        assert relay.verbs()[-1] == "QUIT"
        assert relays.states()[0].idle == 0
        assert (await relays.send(envelope(), SOURCE)).accepted


async def test_no_more_connections_than_allowed():
    """As many sends as you like: the relay sees so many connections, and all mail arrives."""
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, changes={"connections": 3}) as relays,
    ):
        relay.hold("DOT")
        sends = [asyncio.create_task(relays.send(envelope(), SOURCE)) for _ in range(20)]
        await relay.until_held(3)
        assert relay.open == 3
        assert relays.room() == 0
        assert relays.states()[0].busy == 3
        relay.release()
        assert all([(await send).accepted for send in sends])
        assert len(relay.connections) == 3
        assert len(relay.received) == 20


@on_each_loop
def test_stopping_cuts_every_send_short_and_says_what_is_known(run):
    """abort_all: at the dot it is uncertain, before it certainly not sent, waiting not begun."""

    async def scenario():
        async with (
            ScriptedRelay() as relay,
            ScriptedRelay() as other,
            sending(relay.spec, changes={"connections": 2}) as relays,
            sending(other.spec, changes={"connections": 2}) as others,
        ):
            await relays.send(envelope(), SOURCE)
            relay.hold("DOT")
            at_dot = asyncio.create_task(relays.send(envelope(ANN), SOURCE))
            await relay.until_held(1)
            relay.hold("MAIL")
            at_mail = asyncio.create_task(relays.send(envelope(BOB), SOURCE))
            await relay.until_held(2)
            other.hold("GREETING")
            greeted = [asyncio.create_task(others.send(envelope(EVE), SOURCE)) for _ in range(3)]
            await other.until_held(2)
            relays.abort_all()
            others.abort_all()
            async with asyncio.timeout(LIMIT):
                dot, mail = await at_dot, await at_mail
                rest = [await send for send in greeted]
            assert dot.uncertain
            assert dot.stage is Stage.DOT
            assert not dot.accepted
            assert not mail.uncertain
            assert mail.stage is Stage.MAIL
            assert mail.relay_failed
            assert all(each.relay_failed and not each.charged for each in rest)
            states = [*relays.states(), *others.states()]
            assert {each.state for each in states} == {State.CLOSED}

    run(scenario())


async def test_cancelling_a_send_breaks_its_connection():
    """A half-done conversation is not given to the next message."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        for stage in ("DOT", "MAIL", "GREETING"):
            relay.hold(stage)
            sending_one = asyncio.create_task(relays.send(envelope(), SOURCE))
            await relay.until_held(1)
            sending_one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending_one
            await relay.until(lambda: relay.open == 0)
            relay.release()
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert relays.states()[0].busy == 0


async def test_a_pause_is_heeded_and_ended():
    """A paused relay gets nothing, and a resumed one does. An unknown name is refused."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relays.pause("relay")
        assert relays.room() == 0
        assert relays.states()[0].state is State.PAUSED
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.relay_failed
        assert attempt.failures[ANN].name == "paused"
        assert not relay.connections
        waiting = asyncio.create_task(relays.wait_for_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        relays.resume("relay")
        await asyncio.wait_for(waiting, LIMIT)
        assert (await relays.send(envelope(), SOURCE)).accepted
        with pytest.raises(Rejected, match="nobody"):
            relays.pause("nobody")


def test_a_wrong_file_of_certificates_is_an_error_of_the_settings(tmp_path):
    """The error comes when the relay is set up, with the name of its setting."""
    spec = RelaySpec(
        name="r", host="localhost", port=25, tls=Tls.STARTTLS, ca=str(tmp_path / "none.pem")
    )
    with pytest.raises(ConfigurationError, match=r"NOTIFIER_RELAYS.*none\.pem"):
        Relay(spec)


@settings(max_examples=10, deadline=None)
@given(st.binary(max_size=300))
def test_any_text_with_line_ends_arrives(text):
    """Whatever the source, what the relay reads is what was given."""
    source = text.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"

    async def scenario():
        async with ScriptedRelay() as relay, sending(relay.spec) as relays:
            await relays.send(envelope(), source)
            assert relay.received == [("us@example.org", (ANN,), source)]

    asyncio.run(scenario())
