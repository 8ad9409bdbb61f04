"""The next message's commands in the write of the dot before it. RFC 2920, section 3.1."""

import asyncio
import contextlib
import itertools
from collections import Counter
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.relayspec import Pipelining
from notifier.smtp import turns
from notifier.smtp.pipelining import Behind
from notifier.smtp.session import Session, Timeouts
from tests.relay import CUT, FEATURES, FIN, SILENCE, ScriptedRelay
from tests.relays import ANN, BOB, EVE, SOURCE, copies, envelope, sending

ONE = {"connections": 1}
LOST = {CUT, FIN}
BAD_ORDER = "503 5.5.0 Error: improper use of SMTP command pipelining"


def ahead(relay):
    """How many dots came with the next commands behind them."""
    return sum(connection.ahead for connection in relay.connections)


def state(relays):
    return relays.states()[0]


def content(name):
    return f"Subject: {name}\r\n\r\nGood day.\r\n".encode()


@contextlib.asynccontextmanager
async def behind_each_other(relay, relays, *names, at="DOT"):
    """Sends of which the first is held at this stage while the second is behind its dot."""
    relay.hold("DATA")
    sends = []
    for name in names:
        sends.append(asyncio.create_task(relays.send(envelope(name), content(name))))
        await relay.until_held(1)
        await asyncio.sleep(0)
    relay.hold(at)
    relay._holding.discard("DATA")
    relay.let_go()
    await relay.until_held(1)
    try:
        yield sends
    finally:
        relay.release()
        await asyncio.wait(sends)


async def several(relays, *names):
    """The outcomes of sends that begin at once, in this order."""
    return await asyncio.gather(*(relays.send(envelope(name), content(name)) for name in names))


def assert_unmixed(relay):
    """Each recipient got its own message, from its own sender, and no mail has no recipient."""
    for sender, recipients, what in relay.received:
        assert (sender, what) == ("us@example.org", content(recipients[0]))
        assert len(recipients) == 1


# ---------------------------------------------------------------- how it goes


async def test_waiting_message_leaves_with_the_dot_before_it():
    """Of ten over one connection the last nine cost one write each."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        names = [f"n{number}@example.org" for number in range(10)]
        outcomes = await several(relays, *names)
        assert all(outcome.accepted for outcome in outcomes)
        assert list(copies(relay)) == names
        assert ahead(relay) == 9
        assert_unmixed(relay)
        assert state(relays).pipelining is Pipelining.FULL


async def test_each_conversation_is_its_own():
    """Commands that went ahead stand in the conversation of their own message."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        first, second = await several(relays, ANN, BOB)
        assert ahead(relay) == 1
        assert [line for line in first.conversation if "RCPT" in line] == [f"C: RCPT TO:<{ANN}>"]
        assert second.conversation[0] == "C: MAIL FROM:<us@example.org> SIZE=" + str(
            len(content(BOB))
        )
        assert second.conversation[-1] == "S: 250 2.0.0 taken"


async def test_nothing_waits_without_need():
    """A message that is alone leaves alone, and the next one begins anew."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        for _ in range(3):
            assert (await relays.send(envelope(), SOURCE)).accepted
        assert ahead(relay) == 0


@pytest.mark.parametrize(
    ("mode", "features"),
    [
        (Pipelining.TRANSACTION, FEATURES),
        (Pipelining.OFF, FEATURES),
        (Pipelining.FULL, ("SIZE 50000000",)),
    ],
)
async def test_it_can_be_turned_off(mode, features):
    """`transaction`, `off`, or a relay that does not offer it: nothing is behind a dot."""
    changes = {"connections": 1, "pipelining": mode}
    async with (
        ScriptedRelay(features=features) as relay,
        sending(relay.spec, changes=changes) as relays,
    ):
        relay.hold("MAIL")
        sends = [asyncio.create_task(relays.send(envelope(name), SOURCE)) for name in (ANN, BOB)]
        await relay.until_held(1)
        unread = [connection.buffer for connection in relay.connections]
        relay.release()
        assert all([(await send).accepted for send in sends])
        assert ahead(relay) == 0
        pipelined = mode is Pipelining.TRANSACTION
        assert [bool(each) for each in unread] == [pipelined]


async def test_message_that_cannot_go_ahead_has_its_turn():
    """An address that the relay cannot take, and a content of many pieces, are sent as before."""
    features = ("PIPELINING", "SIZE 50000000")
    async with (
        ScriptedRelay(features=features) as relay,
        sending(relay.spec, changes=ONE) as relays,
    ):
        large = b"x" * 70 + b"\r\n"
        sends = [
            relays.send(envelope(ANN), SOURCE),
            relays.send(envelope("änn@example.org", smtputf8=True), SOURCE),
            relays.send(envelope(BOB), SOURCE + large * 2000),
            relays.send(envelope(EVE), SOURCE),
        ]
        first, unfit, second, third = await asyncio.gather(*sends)
        assert unfit.because("smtputf8_not_offered")
        assert all(each.accepted for each in (first, second, third))
        assert copies(relay) == {ANN: 1, BOB: 1, EVE: 1}


async def test_messages_per_connection_hold():
    """Nothing goes ahead on a connection that has carried what it may."""
    changes = {"connections": 1, "messages_per_connection": 3}
    async with ScriptedRelay() as relay, sending(relay.spec, changes=changes) as relays:
        names = [f"n{number}@example.org" for number in range(7)]
        outcomes = await several(relays, *names)
        assert all(outcome.accepted for outcome in outcomes)
        assert relay.verbs().count("EHLO") == 3
        assert ahead(relay) == 4


async def test_a_rate_holds():
    """What is beyond the rate does not go ahead."""
    changes = {"connections": 1, "rate": 20.0}
    async with ScriptedRelay() as relay, sending(relay.spec, changes=changes) as relays:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        names = [f"n{number}@example.org" for number in range(24)]
        outcomes = await several(relays, *names)
        assert all(outcome.accepted for outcome in outcomes)
        assert loop.time() - begun > 3 / 20


# ---------------------------------------------------------------- whatever is refused

DOTS = ["250 2.0.0 ok", "452 4.3.1 full", "554 5.6.0 no", "421 4.3.0 closing", CUT, FIN, SILENCE]
NEXT = [
    *itertools.product(
        ("MAIL",),
        ("451 4.7.1 later", "550 5.7.1 no", "421 4.7.0 bye", CUT, b"250 ok\r\n250 ok\r\n"),
    ),
    *itertools.product(("RCPT",), ("450 4.2.1 later", "550 5.1.1 no", "421 bye", FIN)),
    *itertools.product(("DATA",), ("451 4.3.0 later", "554 5.5.1 no", "503 5.5.1 no", CUT)),
    ("DOT", "452 4.3.1 full"),
    ("DOT", "554 5.6.0 no"),
]


@pytest.mark.parametrize(("verb", "answer"), NEXT)
@pytest.mark.parametrize("dot", DOTS)
async def test_both_ends_stay_in_step(dot, verb, answer):
    """
    Whatever is said to the dot and to the commands behind it: each message is told what was said
    of it, nobody gets another's, and only the one whose dot was open is uncertain.
    """
    timeouts = Timeouts(block=1.0, dot=1.0) if dot == SILENCE else Timeouts()
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, timeouts=timeouts, changes=ONE) as relays,
    ):
        relay.answer("DOT", dot, times=1)
        relay.answer(verb, answer, times=1, after=int(verb != "DOT"))
        first, second, third = await several(relays, ANN, BOB, EVE)
        lost = dot in (*LOST, SILENCE)
        assert first.uncertain == lost
        assert not second.uncertain
        assert not third.uncertain
        assert bool(first.accepted) == (dot == DOTS[0])
        assert third.accepted or third.relay_failed
        counted = copies(relay)
        assert counted[ANN] == (first.accepted != () or lost)
        assert counted[BOB] == len(second.accepted)
        assert counted[EVE] == len(third.accepted)
        own = isinstance(answer, str) and answer[:1] in "45" and answer[:3] not in ("421", "503")
        assert second.accepted or second.relay_failed or own
        assert_unmixed(relay)


@pytest.mark.parametrize("answer", ["354 go on", "554 5.5.1 no valid recipients", "503 5.5.1 no"])
async def test_all_recipients_refused_while_data_is_out(answer):
    """354 all the same: the relay gets a dot and nothing else, and the next message follows."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        relay.answer("RCPT", "550 5.1.1 no such user", to=BOB)
        relay.answer("DATA", answer, times=1, after=1)
        first, second, third = await several(relays, ANN, BOB, EVE)
        assert first.accepted
        assert third.accepted
        assert second.failures[BOB].code == 550
        assert copies(relay) == {ANN: 1, EVE: 1}
        assert len(relay.connections) == 1
        assert state(relays).pipelining is Pipelining.FULL


async def test_no_recipient_is_taken_into_an_envelope_without_a_sender():
    """MAIL behind the dot is refused, RCPT and DATA are accepted: the connection is dropped."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        relay.answer("MAIL", "503 5.5.1 nested MAIL", times=1, after=1)
        relay.answer("RCPT", "250 ok", times=1, after=1)
        relay.answer("DATA", "354 go on", times=1, after=1)
        first, second = await several(relays, ANN, BOB)
        assert first.accepted
        assert second.accepted
        assert copies(relay) == {ANN: 1, BOB: 1}
        assert_unmixed(relay)
        assert state(relays).pipelining is Pipelining.TRANSACTION


# ---------------------------------------------------------------- the link is lost


@pytest.mark.parametrize("how", [CUT, FIN])
async def test_only_a_lost_reply_to_the_content_is_uncertain(how):
    """What was behind it goes to the relay anew, before all others, and is not charged."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        relay.answer("DOT", how, times=1)
        first, second, third = await several(relays, ANN, BOB, EVE)
        assert first.uncertain
        assert second.accepted == (BOB,)
        assert third.accepted == (EVE,)
        assert list(copies(relay)) == [ANN, BOB, EVE]
        assert len(relay.connections) == 2


async def test_a_stop_leaves_the_open_dot_uncertain():
    """The open dot is uncertain, the message behind it was not begun, and nothing else leaves."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        async with behind_each_other(relay, relays, ANN, BOB, EVE) as sends:
            relays.abort_all()
            first, second, third = [await send for send in sends]
        assert first.uncertain
        for attempt in (second, third):
            assert attempt.relay_failed
            assert not attempt.uncertain
        await relay.until(lambda: not relay.open)
        assert copies(relay) == {ANN: 1}


async def test_a_pause_does_not_stop_requests_under_way():
    """It is under way; what only waits is not begun."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        async with behind_each_other(relay, relays, ANN, BOB, EVE) as sends:
            relays.pause("relay")
            relay.release()
            first, second, third = [await send for send in sends]
        assert first.accepted
        assert second.accepted
        assert third.because("paused")
        assert relays.room() == 0


async def test_cancellation_behind_a_dot_affects_no_other_message():
    """The message before it is taken; the connection, which has commands open, is given up."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        async with behind_each_other(relay, relays, ANN, BOB, EVE) as sends:
            sends[1].cancel()
            await asyncio.wait(sends[1:2])
            relay.release()
            assert (await sends[0]).accepted
            assert (await sends[2]).accepted
        assert copies(relay) == {ANN: 1, EVE: 1}
        assert state(relays).busy == 0
        assert relays.room() > 0


async def test_cancellation_at_the_dot_affects_no_message_behind_it():
    """What has gone ahead in vain begins anew."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        async with behind_each_other(relay, relays, ANN, BOB, EVE) as sends:
            sends[0].cancel()
            await asyncio.wait(sends[:1])
            relay.release()
            assert (await sends[1]).accepted
            assert (await sends[2]).accepted
        assert copies(relay) == {ANN: 1, BOB: 1, EVE: 1}
        assert state(relays).busy == 0


async def test_a_message_leaves_a_connection_whose_dot_hangs(monkeypatch):
    """A message that waits long behind a dot moves to another connection once there is one."""
    monkeypatch.setattr(turns, "AHEAD_SECONDS", 0.05)
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, changes={"connections": 2}) as relays,
    ):
        relay.hold("DATA")
        sends = [
            asyncio.create_task(relays.send(envelope(name), content(name)))
            for name in (ANN, EVE, BOB)
        ]
        await relay.until_held(2)
        relay.hold("DOT")
        relay._holding.discard("DATA")
        relay.let_go()  # one of the two dots has BOB's commands behind it
        await relay.until_held(2)
        hung, other = sorted((each for each, _, _ in relay._held), key=lambda each: not each.ahead)
        relay._held = [each for each in relay._held if each[0] is hung]
        relay._holding.clear()
        other.go_on("DOT", "")
        assert (await sends[2]).accepted
        assert sum(send.done() for send in sends) == 2
        relay.release()
        assert [(await send).accepted for send in sends] == [(ANN,), (EVE,), (BOB,)]
        assert copies(relay) == {ANN: 1, EVE: 1, BOB: 1}
        await relay.until(lambda: relay.open == 1)


# ---------------------------------------------------------------- relays that do not like it


@pytest.mark.parametrize("verb", ["MAIL", "DATA"])
async def test_a_relay_that_says_so_is_asked_the_old_way(verb):
    """The refused one begins anew and is not charged; from then on each waits for the dot."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        relay.answer(verb, BAD_ORDER, times=1, after=1)
        names = [f"n{number}@example.org" for number in range(5)]
        outcomes = await several(relays, *names)
        assert all(outcome.accepted for outcome in outcomes)
        assert sorted(copies(relay)) == names
        assert ahead(relay) <= 2
        assert state(relays).pipelining is Pipelining.TRANSACTION
        assert state(relays).pipelining_trouble == BAD_ORDER
        seen = ahead(relay)
        await several(relays, ANN, BOB, EVE)
        assert ahead(relay) == seen
        relays.resume("relay")
        assert state(relays).pipelining is Pipelining.FULL
        assert not state(relays).pipelining_trouble
        await several(relays, ANN, BOB, EVE)
        assert ahead(relay) > seen


async def test_a_refusal_of_pipelined_commands_is_not_the_fault_of_the_message():
    """The message is offered anew, alone; it was not its fault."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        relay.answer("DOT", BAD_ORDER, times=1)
        outcomes = await several(relays, ANN, BOB, EVE)
        assert all(outcome.accepted for outcome in outcomes)
        assert copies(relay) == {ANN: 1, BOB: 1, EVE: 1}
        assert state(relays).pipelining is Pipelining.TRANSACTION


async def test_a_relay_that_swallows_pipelined_commands():
    """It never answers those commands: the message begins anew, and that is the last time."""
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, timeouts=Timeouts(data=1.0), changes=ONE) as relays,
    ):
        relay.answer("MAIL", SILENCE, times=1, after=1)
        outcomes = await several(relays, ANN, BOB, EVE)
        assert all(outcome.accepted for outcome in outcomes)
        assert state(relays).pipelining is Pipelining.TRANSACTION


@pytest.mark.parametrize("answer", [CUT, FIN])
async def test_a_relay_that_hangs_up_on_pipelined_commands(answer):
    """Once may be chance; twice in a row it is the relay's way."""
    async with ScriptedRelay() as relay, sending(relay.spec, changes=ONE) as relays:
        for wanted in (Pipelining.FULL, Pipelining.TRANSACTION):
            relay.answer("MAIL", answer, times=1, after=1)
            outcomes = await several(relays, ANN, BOB)
            assert all(outcome.accepted for outcome in outcomes)
            assert state(relays).pipelining is wanted
            relay.answer("MAIL", None)
        assert state(relays).pipelining_trouble.startswith("the ")


class ThreeEach(ScriptedRelay):
    """Takes three messages a connection."""

    def __init__(self):
        super().__init__()
        self.mails = Counter()

    def answer_to(self, verb, argument, connection):
        self.mails[connection] += verb == "MAIL"
        if verb == "MAIL" and self.mails[connection] > 3:
            return "421 4.7.0 too many messages"
        return super().answer_to(verb, argument, connection)


async def test_a_limit_of_messages_is_no_dislike():
    """A relay that takes three messages a connection and then hangs up is understood."""
    async with ThreeEach() as relay, sending(relay.spec, changes=ONE) as relays:
        names = [f"n{number}@example.org" for number in range(12)]
        outcomes = await several(relays, *names)
        assert all(outcome.accepted for outcome in outcomes)
        assert sorted(copies(relay)) == sorted(names)
        assert state(relays).pipelining is Pipelining.FULL
        # It has shown its limit twice: from then on nobody asks for more.
        assert max(list(relay.mails.values())[2:]) == 3


def test_one_tries_for_all():
    """Until it has worked there is one try at a time; of many that fail together one counts."""
    behind, sessions = Behind("relay", Pipelining.FULL), [object() for _ in range(16)]
    assert behind.allowed
    behind.begin(sessions[0])
    assert not behind.allowed
    behind.worked(sessions[0])
    for session in sessions:
        assert behind.allowed
        behind.begin(session)
    for session in sessions:
        behind.failed(session, "restarted", certain=False)
    assert behind.mode is Pipelining.FULL
    behind.begin(sessions[1])
    assert not behind.allowed
    behind.failed(sessions[1], "restarted", certain=False)
    assert behind.mode is Pipelining.TRANSACTION
    assert not behind.allowed


# ---------------------------------------------------------------- replies in any pieces


class Wire(asyncio.Transport):
    """Takes everything."""

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def get_extra_info(self, name, default=None):
        return None

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return False

    def write(self, data):
        pass

    def abort(self):
        pass


@given(
    dot=st.sampled_from(["250 2.0.0 ok", "250-2.0.0 taken\r\n250 as 17", "554-no\r\n554 never"]),
    others=st.lists(
        st.sampled_from(["250 ok", "550 no", "250-a\r\n250 b", "354 go"]), min_size=3, max_size=5
    ),
    cuts=st.sets(st.integers(1, 80)),
)
def test_replies_may_come_in_any_pieces(dot, others, cuts):
    """The dot has its reply, and each command behind it has its own."""

    @mock.patch("notifier.smtp.session.QUICKACK", None)
    async def scenario():
        session = Session(Timeouts())
        session.connection_made(Wire())
        session.data_received(b"220 hello\r\n")
        answer = session.go_ahead(b"MAIL\r\nRCPT\r\nDATA\r\n", len(others), 10.0)
        upload = asyncio.create_task(session.upload(b"x\r\n.\r\n", b"MAIL\r\nRCPT\r\nDATA\r\n"))
        await asyncio.sleep(0)
        said = "".join(f"{each}\r\n" for each in (dot, *others)).encode()
        places = [0, *sorted(cut for cut in cuts if cut < len(said)), len(said)]
        for begin, end in itertools.pairwise(places):
            session.data_received(said[begin:end])
        reply = await upload
        await answer.waiter
        replies = answer.replies
        assert session.breach is None
        assert reply.code == int(dot[:3])
        assert [each.code for each in replies] == [int(each[:3]) for each in others]
        session.fail("over", "the test is over")

    asyncio.run(scenario())
