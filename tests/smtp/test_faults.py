"""Connections that break, hang or talk nonsense, at every stage: the fault matrix over SMTP."""

import asyncio
import signal
import socket
import struct
import sys
from datetime import timedelta

import psutil
import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from notifier.attempts import Scope, Stage
from notifier.relayspec import RelaySpec, Tls
from notifier.smtp import Rests, State, Timeouts
from notifier.smtp.resolver import Resolver
from notifier.smtp.session import PIECE, Session
from tests.paths import ROOT
from tests.process import free_port
from tests.relay import CUT, FEATURES, FIN, SILENCE, ScriptedRelay, StopReading
from tests.relays import ANN, BOB, SHORT, SHORT_DOT, SOURCE, copies, envelope, sending
from tests.waiting import LIMIT, until

PLAIN = tuple(feature for feature in FEATURES if feature != "PIPELINING")
both_ways = pytest.mark.parametrize("features", [FEATURES, PLAIN], ids=["pipelined", "one by one"])
on_each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
# 8 MB: more than any kernel between two processes takes at once, if nobody reads.
LARGE = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 110_000


async def until_accepted(relays, limit=LIMIT):
    """Try until one gets through."""
    async with asyncio.timeout(limit):
        while not (await relays.send(envelope(), SOURCE)).accepted:
            await relays.wait_for_room()


def stands_still(relays):
    """Whether the kernel takes no more of the upload that is under way."""
    (session,) = relays._relays[0]._pool._busy
    return session._paused


# ---------------------------------------------------------------- no connection


async def test_f20_a_relay_that_refuses_connections_rests():
    """Three refusals and it is left alone; nothing is charged; it is found again by a probe."""
    spec = RelaySpec(name="relay", host="127.0.0.1", port=free_port())
    async with sending(spec) as relays:
        attempts = [await relays.send(envelope(), SOURCE) for _ in range(3)]
        assert {each.failures[ANN].name for each in attempts} == {"connection_refused"}
        assert {each.stage for each in attempts} == {Stage.CONNECT}
        assert not any(each.charged for each in attempts)
        assert relays.room() == 0
        (state,) = relays.states()
        assert state.state is State.OPEN
        assert state.trouble.name == "connection_refused"
        assert abs(relays.next_probe_at() - state.opens_at) < timedelta(seconds=1)
        async with ScriptedRelay(port=spec.port):
            await asyncio.wait_for(relays.wait_for_room(), LIMIT)
            assert relays.room() == 1
            assert (await relays.send(envelope(), SOURCE)).accepted
            assert relays.states()[0].state is State.CLOSED
            assert relays.next_probe_at() is None


async def test_f21_an_unknown_name():
    """A name that does not exist is the relay's trouble."""
    spec = RelaySpec(name="relay", host="relay.invalid", port=25)
    async with sending(spec, timeouts=SHORT) as relays:
        attempt = await relays.send(envelope(), SOURCE)
    assert attempt.failures[ANN].name in ("dns_failed", "connect_timeout")
    assert not attempt.charged


async def test_f21_a_lookup_that_hangs_delays_no_other_message(monkeypatch):
    """
    Ten sends wait for one thread; each gives up in time; the loop and the default executor
    are free, and another relay works meanwhile.
    """
    hang, asked = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, flags=0, **kwargs):
        if host == "hung.example" and not flags:
            asked.append(host)
            asyncio.run_coroutine_threadsafe(hang.wait(), loop).result()
        return real(host, *args, flags=flags, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with ScriptedRelay() as relay:
        hung = RelaySpec(name="hung", host="hung.example", port=25, connections=20)
        resolver = Resolver()
        async with (
            sending(hung, resolver=resolver, timeouts=SHORT) as relays,
            sending(relay.spec, resolver=resolver) as others,
        ):
            sends = [asyncio.create_task(relays.send(envelope(), SOURCE)) for _ in range(10)]
            await until(lambda: asked)
            assert (await others.send(envelope(), SOURCE)).accepted
            await asyncio.to_thread(int)
            attempts = [await send for send in sends]
        assert len(asked) == 1
        assert attempts[0].failures[ANN].name == "connect_timeout"
        assert not any(each.charged for each in attempts)
        hang.set()


async def test_f22_a_relay_that_is_stopped():
    """SIGSTOP: what is under way ends in time, by its stage; nothing is left open after SIGCONT."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.relay",
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        port = int(await process.stdout.readline())
        spec = RelaySpec(name="relay", host="127.0.0.1", port=port)
        async with sending(spec, timeouts=SHORT) as relays:
            await until_accepted(relays)
            process.send_signal(signal.SIGSTOP)
            attempt = await relays.send(envelope(), SOURCE)
            assert attempt.relay_failed
            assert attempt.stage in (Stage.GREETING, Stage.CONNECT)  # the old one, then a fresh one
            process.send_signal(signal.SIGCONT)
            await asyncio.wait_for(relays.wait_for_room(), LIMIT)
            await until_accepted(relays, LIMIT)
        ours = psutil.Process()
        await until(
            lambda: not [c for c in ours.net_connections() if c.raddr and c.raddr[1] == port]
        )
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.wait()


# ---------------------------------------------------------------- turned down


async def test_f26_a_greeting_of_421_rests_the_relay_at_once():
    """Nothing is charged, and the relay is asked again only after its rest, by one connection."""
    async with ScriptedRelay() as relay:
        relay.answer("GREETING", "421 4.3.2 too busy")
        async with sending(relay.spec, rests=Rests(first=60.0)) as relays:
            attempt = await relays.send(envelope(), SOURCE)
            assert attempt.failures[ANN].name == "greeting_refused"
            assert not attempt.charged
            again = await relays.send(envelope(), SOURCE)
            assert again.failures[ANN].name == "resting"
            assert "421 4.3.2 too busy" in again.reply
            assert len(relay.connections) == 1


async def test_f26_a_storm_of_421_makes_few_connections():
    """A minute of it, by a clock of its own: at most 20 connections, nothing charged."""
    now = 0.0
    async with ScriptedRelay() as relay:
        relay.answer("MAIL", "421 4.7.0 slow down")
        async with sending(relay.spec, rests=Rests(), clock=lambda: now) as relays:
            while now < 60:
                sends = [
                    asyncio.create_task(relays.send(envelope(), SOURCE))
                    for _ in range(relays.room())
                ]
                for send in sends:
                    assert not (await send).charged
                now += 0.5
            assert 3 <= len(relay.connections) <= 20


def timeouts_of(verb, how):
    """Short at the stage where the relay says nothing; elsewhere the machine may be slow."""
    if how != SILENCE:
        return Timeouts()
    stages = ("data", verb.lower()) if verb in ("MAIL", "RCPT") else (verb.lower(),)  # one flight
    return Timeouts(**dict.fromkeys(stages, 0.5))


# ---------------------------------------------------------------- broken before the dot


@both_ways
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", [CUT, FIN, SILENCE, "421 4.4.2 idle too long"])
async def test_f30_a_used_connection_that_breaks_costs_nothing(features, verb, how):
    """It goes again at once on a fresh one: one copy, one attempt, no failure."""
    timeouts = timeouts_of(verb, how)
    async with (
        ScriptedRelay(features=features) as relay,
        sending(relay.spec, timeouts=timeouts) as relays,
    ):
        await relays.send(envelope(BOB), SOURCE)
        relay.answer(verb, how, times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted == (ANN,)
        assert not attempt.failures
        assert len(relay.connections) == 2
        assert copies(relay) == {BOB: 1, ANN: 1}
        assert relays.states()[0].trouble is None


@both_ways
@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", [CUT, FIN, SILENCE])
async def test_f30_a_fresh_connection_that_breaks_is_the_relays_fault(features, verb, how):
    """Not charged, not sent, told by its stage; and the next try makes exactly one copy."""
    timeouts = timeouts_of(verb, how)
    async with (
        ScriptedRelay(features=features) as relay,
        sending(relay.spec, timeouts=timeouts) as relays,
    ):
        relay.answer(verb, how, times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.relay_failed
        assert not attempt.uncertain
        assert attempt.stage is Stage[verb]
        assert attempt.code is None
        names = {CUT: ("connection_lost",), FIN: ("connection_lost",)}
        assert attempt.failures[ANN].name in names.get(how, ("timeout", "greeting_timeout"))
        assert not relay.received
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert copies(relay) == {ANN: 1}


async def test_a_recipient_refused_before_the_break_stays_refused():
    """The relay's clear no is kept; only the others are tried again."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "550 5.1.1 nobody", to=ANN)
        relay.answer("DATA", CUT)
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
    # With the answers in the same flight the end may overtake them: then nobody was refused.
    assert attempt.failures[BOB].scope is Scope.RELAY
    if attempt.stage is Stage.DATA:
        assert attempt.failures[ANN].final


# ---------------------------------------------------------------- broken at the dot


@both_ways
@pytest.mark.parametrize("how", [CUT, FIN, SILENCE])
@on_each_loop
def test_f31_a_reset_after_the_dot_is_uncertain(features, how, run):
    """The relay has it and cannot say so: uncertain, charged, and not sent again by us."""

    async def scenario():
        timeouts = timeouts_of("DOT", how)
        async with (
            ScriptedRelay(features=features) as relay,
            sending(relay.spec, timeouts=timeouts) as relays,
        ):
            await relays.send(envelope(BOB), SOURCE)
            relay.answer("DOT", how, times=1)
            attempt = await relays.send(envelope(), SOURCE)
            assert attempt.uncertain
            assert attempt.charged
            assert attempt.stage is Stage.DOT
            assert not attempt.accepted
            assert copies(relay) == {BOB: 1, ANN: 1}
            assert (await relays.send(envelope(BOB), SOURCE)).accepted
            assert len(relay.connections) == 2

    run(scenario())


@on_each_loop
def test_f32_a_relay_that_stops_reading_never_gets_a_copy_later(run):
    """What has not left us has certainly not arrived: not sent; and it stays that way."""

    async def scenario():
        async with (
            ScriptedRelay(receive_buffer=4096) as relay,
            sending(relay.spec, timeouts=SHORT_DOT) as relays,
        ):
            relay.answer("DATA", StopReading("354 go on"))
            attempt = await relays.send(envelope(), LARGE)
            assert attempt.stage is Stage.DOT
            assert not attempt.uncertain
            assert attempt.relay_failed
            assert "not sent" in attempt.reply
            relay.read_on()
            await relay.until(lambda: not relay.open)
            assert not relay.received

    run(scenario())


@on_each_loop
def test_f32_nor_does_one_that_hangs_up_on_its_side_and_reads_on(run):
    """Half a FIN in the middle of the content: we hang up too, and what was left stays here."""

    async def scenario():
        async with ScriptedRelay(receive_buffer=4096) as relay, sending(relay.spec) as relays:
            relay.answer("DATA", StopReading("354 go on"))
            attempt = asyncio.create_task(relays.send(envelope(), LARGE))
            await relay.until(lambda: relay.connections and relay.connections[0].stopped)
            await until(lambda: stands_still(relays))
            relay.connections[0].transport.write_eof()
            attempt = await attempt
            assert attempt.relay_failed
            assert not attempt.uncertain
            relay.read_on()
            await relay.until(lambda: not relay.open)
            assert not relay.received

    run(scenario())


@on_each_loop
@pytest.mark.parametrize(
    ("size", "read"),
    [(len(LARGE), 0), (len(LARGE), 1_000_000), (1_000_000, 0)],
    ids=["unread", "a part read", "1 MB unread"],
)
@pytest.mark.parametrize("tls", list(Tls))
def test_f32_a_relay_that_resets_within_the_content_has_not_got_it(
    tls, size, read, run, good, trusted
):
    """What was killed over there has not had the dot, which is still here: sure, not charged."""
    changes = trusted if tls is not Tls.NONE else {}
    content = LARGE[: size - 2] + b"\r\n"

    async def scenario():
        async with (
            ScriptedRelay(tls=tls, context=good, receive_buffer=4096) as relay,
            sending(relay.spec, changes=changes) as relays,
        ):
            relay.answer("DATA", StopReading("354 go on"), times=1)
            attempt = asyncio.create_task(relays.send(envelope(), content))
            await relay.until(lambda: relay.connections and relay.connections[0].stopped)
            (connection,) = relay.connections
            await relay.until(connection.has_unread)  # so the first write is over
            if read:
                connection.transport.resume_reading()
                await relay.until(lambda: len(connection.buffer) >= read)
                connection.transport.pause_reading()
            connection.end(CUT)
            attempt = await attempt
            assert attempt.stage is Stage.DOT
            assert not attempt.uncertain
            assert attempt.relay_failed
            assert not attempt.charged
            assert "octets were not sent" in attempt.reply
            assert (await relays.send(envelope(BOB), SOURCE)).accepted
            assert copies(relay) == {BOB: 1}

    run(scenario())


@on_each_loop
def test_f32_also_where_only_the_end_of_it_is_still_here(run):
    """All of it was given to the transport, which keeps what the kernel has not taken."""

    async def scenario():
        async with ScriptedRelay(receive_buffer=4096) as relay, sending(relay.spec) as relays:
            relay.hold("DATA")
            relay.answer("DATA", StopReading("354 go on"))
            attempt = asyncio.create_task(relays.send(envelope(), LARGE[: PIECE - 100] + b"\r\n"))
            await relay.until_held(1)
            (session,) = relays._relays[0]._pool._busy
            sock = session._below.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            relay.release()
            await until(lambda: session._paused)
            relay.connections[0].end(CUT)
            attempt = await attempt
            assert not attempt.uncertain
            assert attempt.relay_failed

    run(scenario())


@on_each_loop
@pytest.mark.parametrize("content", [SOURCE, LARGE], ids=["small", "large"])
def test_f32_content_written_after_a_reset_is_not_sent(content, run):
    """The kernel knows of the reset before we do, and takes nothing: that is certain, too."""

    async def scenario():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = socket.create_connection(listener.getsockname())
            relay, _ = listener.accept()
        client.setblocking(False)
        session = Session(Timeouts())
        await asyncio.get_running_loop().create_connection(lambda: session, sock=client)
        relay.sendall(b"220 hi\r\n")
        await session.greeting(5)
        relay.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        relay.close()
        assert await session.upload(content) is None
        assert session.unsent == len(content)

    run(scenario())


@on_each_loop
@pytest.mark.parametrize("tls", list(Tls))
def test_f31_a_relay_that_has_read_all_and_resets_may_have_it(tls, run, good, trusted):
    """However large it was: once the dot has left us nobody knows."""
    changes = trusted if tls is not Tls.NONE else {}

    async def scenario():
        async with (
            ScriptedRelay(tls=tls, context=good) as relay,
            sending(relay.spec, changes=changes) as relays,
        ):
            relay.answer("DOT", CUT, times=1)
            attempt = await relays.send(envelope(), LARGE)
            assert attempt.uncertain
            assert attempt.charged
            assert copies(relay) == {ANN: 1}

    run(scenario())


async def test_each_reply_to_one_flight_has_its_own_time():
    """Recipients that are looked up one by one may take long together, if each comes in time."""
    timeouts = Timeouts(data=1.5)
    async with ScriptedRelay() as relay, sending(relay.spec, timeouts=timeouts) as relays:
        relay.hold("RCPT")
        attempt = asyncio.create_task(
            relays.send(envelope(*(f"{n}@x.org" for n in range(4))), SOURCE)
        )
        for _ in range(4):
            await relay.until_held(1)
            await asyncio.sleep(0.5)
            relay.let_go()
        attempt = await attempt
        assert len(attempt.accepted) == 4
        assert attempt.seconds > timeouts.data


async def test_a_slow_reader_gets_the_time_it_needs():
    """As long as the relay takes some of it, the upload is not given up."""
    async with (
        ScriptedRelay(receive_buffer=4096) as relay,
        sending(relay.spec, timeouts=Timeouts(block=1.0, dot=LIMIT)) as relays,
    ):
        relay.hold("DATA")
        relay.answer("DATA", StopReading("354 go on"))
        attempt = asyncio.create_task(relays.send(envelope(), LARGE))
        await relay.until_held(1)
        # The kernel would take megabytes at a time, and our view be as coarse.
        (session,) = relays._relays[0]._pool._busy
        sock = session._below.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        relay.release()
        (connection,) = relay.connections
        begun = asyncio.get_running_loop().time()
        connection.stopped = False
        while asyncio.get_running_loop().time() - begun < 2.0:  # twice `block`
            connection.transport.resume_reading()
            await asyncio.sleep(0.005)
            connection.transport.pause_reading()
            await asyncio.sleep(0.1)
        assert not attempt.done()
        connection.transport.resume_reading()
        assert (await attempt).accepted
        assert relay.received[0][2] == LARGE


async def test_an_early_250_does_not_count():
    """A 250 while most of the content is still here cannot mean that it was taken."""
    async with ScriptedRelay(receive_buffer=4096) as relay, sending(relay.spec) as relays:
        relay.answer("DATA", StopReading("354 go on"))
        attempt = asyncio.create_task(relays.send(envelope(), LARGE))
        await relay.until(lambda: relay.connections and relay.connections[0].stopped)
        await until(lambda: stands_still(relays))
        relay.connections[0].transport.write(b"250 2.0.0 taken\r\n")
        attempt = await attempt
    assert not attempt.accepted
    assert not attempt.uncertain
    assert attempt.relay_failed


async def test_a_no_that_comes_early_is_heard():
    """A relay need not wait for the end of what it does not want."""
    async with ScriptedRelay(receive_buffer=4096) as relay, sending(relay.spec) as relays:
        relay.answer("DATA", StopReading("354 go on"), times=1)
        attempt = asyncio.create_task(relays.send(envelope(), LARGE))
        await relay.until(lambda: relay.connections and relay.connections[0].stopped)
        await until(lambda: stands_still(relays))
        relay.connections[0].transport.write(b"552 5.3.4 too big\r\n")
        attempt = await attempt
        assert attempt.reply == "552 5.3.4 too big"
        assert attempt.failures[ANN].final
        relay.read_on()
        assert (await relays.send(envelope(BOB), SOURCE)).accepted
        await relay.until(lambda: relay.open == 1)
        assert copies(relay) == {BOB: 1}


# ---------------------------------------------------------------- nonsense

NONSENSE = [
    b"hello\r\n",
    b"25x ok\r\n",
    b"250ok\r\n",
    b"99 ok\r\n",
    b"199 ok\r\n",
    b"600 ok\r\n",
    b"\xff\xfe\r\n",
    b"\r\n",
    b"250-a\r\n251 b\r\n",
    b"250 " + b"x" * 9000 + b"\r\n",
    b"2" * 9000,
    (b"250-" + b"x" * 1000 + b"\r\n") * 40,
]


@both_ways
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("octets", NONSENSE, ids=lambda octets: repr(octets[:10]))
async def test_f33_a_malformed_reply_ends_the_connection(features, verb, octets):
    """It is the relay's fault (uncertain at the dot), and the next message is clean."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer(verb, octets, times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.uncertain is (verb == "DOT")
        assert attempt.stage is Stage[verb]
        assert attempt.failures[ANN].name == "malformed_reply"
        assert not attempt.accepted
        after = await relays.send(envelope(BOB), SOURCE)
        assert after.accepted == (BOB,)
        assert len(relay.connections) == 2


@both_ways
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_f33_one_reply_too_many_before_the_dot(features, verb):
    """Out of step: whichever belongs to what, no content is sent, and no 250 is taken for a yes."""
    usual = {"MAIL": b"250 ok", "RCPT": b"250 ok", "DATA": b"354 go on"}[verb]
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer(verb, usual + b"\r\n250 2.0.0 taken\r\n", times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert not attempt.accepted
        assert attempt.relay_failed
        assert not relay.received
        assert (await relays.send(envelope(BOB), SOURCE)).accepted


@pytest.mark.parametrize("stray", [b"250 hello\r\n", b"250-he", b"\0\0\0", b"421 4.4.2 bye\r\n"])
async def test_f33_a_stray_reply_after_the_dot_is_not_taken_for_the_next(stray):
    """The message was accepted; the connection is not used again."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("DOT", b"250 2.0.0 taken\r\n" + stray, times=1)
        assert (await relays.send(envelope(), SOURCE)).accepted
        assert (await relays.send(envelope(BOB), SOURCE)).accepted
        assert len(relay.connections) == 2
        assert copies(relay) == {ANN: 1, BOB: 1}


async def test_f35_a_reset_that_hangs_does_not_hide_the_refusal():
    """550 is told at once; the next message waits for RSET no longer than its limit."""
    timeouts = Timeouts(rset=0.5)
    async with ScriptedRelay() as relay, sending(relay.spec, timeouts=timeouts) as relays:
        relay.answer("RCPT", "550 5.1.1 nobody", to=ANN)
        relay.answer("RSET", SILENCE)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.reply == "550 5.1.1 nobody"
        assert attempt.failures[ANN].final
        assert "RSET" not in relay.verbs()
        after = await relays.send(envelope(BOB), SOURCE)
        assert after.accepted == (BOB,)
        assert len(relay.connections) == 2


@pytest.mark.parametrize(
    "how", [b"421 4.4.2 idle\r\n", b"", b"<rst>", b"421-4.4.2\r\n421 idle\r\n"]
)
@on_each_loop
def test_f36_an_idle_connection_closed_by_the_relay_costs_nothing(how, run):
    """It is noticed and replaced: no failure, no trouble on record, one copy."""

    async def scenario():
        async with ScriptedRelay() as relay, sending(relay.spec) as relays:
            await relays.send(envelope(), SOURCE)
            (connection,) = relay.connections
            if how == b"<rst>":
                connection.end(CUT)
            else:
                connection.transport.write(how)
                connection.end(FIN)
            await until(lambda: relays.states()[0].idle == 0)
            attempt = await relays.send(envelope(BOB), SOURCE)
            assert attempt.accepted == (BOB,)
            assert relays.states()[0].trouble is None
            assert copies(relay) == {ANN: 1, BOB: 1}

    run(scenario())


async def test_f36_an_end_of_an_idle_connection_is_noticed_late():
    """The end of an idle connection may be on its way while the next message is written."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        for _ in range(20):
            await relays.send(envelope(), SOURCE)
            relay.connections[-1].end(CUT)
            assert (await relays.send(envelope(BOB), SOURCE)).accepted
        assert copies(relay) == {ANN: 20, BOB: 20}


# ---------------------------------------------------------------- anything

replies = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"250 ok",
            b"354 go",
            b"250-a\r\n250 b",
            b"421 bye",
            b"550 no",
            b"250-",
            b"\r",
            b"\n",
            b"5",
        ]
    ),
).map(lambda octets: octets + b"\r\n")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(said=[[b"550 no\r\n"], [b"250 ok\r\n", b"", b"\r\n"]], ending="fin", pipelining=False)
@given(
    said=st.lists(st.lists(st.one_of(replies, st.binary(max_size=30)), max_size=5), max_size=5),
    ending=st.sampled_from(["fin", "rst", "stay"]),
    pipelining=st.booleans(),
)
def test_any_conversation_leaves_the_next_message_clean(said, ending, pipelining):
    """Any octets, in any pieces, from the envelope on: an attempt, in time, and nothing stays."""
    asyncio.run(_any_relay(said, ending, pipelining=pipelining))


async def _any_relay(said, ending, *, pipelining):
    short = Timeouts(mail=0.05, rcpt=0.05, data=0.05, dot=0.05, rset=0.05, quit=0.05, block=0.05)

    async def serve(reader, writer):
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-hi\r\n250 PIPELINING\r\n" if pipelining else b"250 hi\r\n")
        for pieces in said:
            if not await reader.readline():
                break
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
        if ending == "rst":
            writer.transport.abort()
        elif ending == "fin":
            writer.close()
        else:
            while await reader.read(1000):
                pass
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = RelaySpec(name="relay", host="127.0.0.1", port=port)
    async with sending(spec, timeouts=short) as relays:
        async with asyncio.timeout(30):
            attempt = await relays.send(envelope(ANN, BOB), SOURCE)
        assert attempt.reply
        assert {*attempt.accepted, *attempt.failures} == {ANN, BOB}
        assert bool(attempt.accepted) <= (attempt.code is not None and 200 <= attempt.code < 300)
        server.close()
        relays._relays[0]._timeouts = Timeouts()  # the good relay may be slow
        async with ScriptedRelay(port=port) as relay:
            await asyncio.wait_for(relays.wait_for_room(), 30)
            after = await relays.send(envelope(BOB), SOURCE)
            assert after.accepted == (BOB,)
            assert [content for _, _, content in relay.received] == [SOURCE]
