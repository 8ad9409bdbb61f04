"""Which relay gets a message, how many at a time, and when one that failed is tried again."""

import asyncio
import itertools

import pytest
from msgspec.structs import replace

from notifier.attempts import Acceptance, Failure, Scope, Stage
from notifier.breaker import AT_FIRST
from notifier.relayspec import Pipelining
from notifier.smtp import Relay, Rests, State
from notifier.smtp.pacing import Rate
from tests.clocks import Clock
from tests.relay import CUT, FEATURES, ScriptedRelay
from tests.relays import ANN, BOB, EVE, SOURCE, copies, envelope, sending
from tests.waiting import LIMIT


def failure(name, stage=Stage.CONNECT):
    return Failure(scope=Scope.RELAY, permanent=False, stage=stage, reply=name, name=name)


# ---------------------------------------------------------------- pace


def test_a_rate_is_kept_over_any_time():
    """Not more than one second's share at once, and never more than the rate after it."""
    clock = Clock()
    pace = Rate(2.0, clock)
    sent = 0
    for _ in range(1000):
        while pace.available >= 1:
            assert pace.take() == 0.0
            sent += 1
        clock.now += 0.01
    assert sent == pytest.approx(2 + 2.0 * 10, abs=1)


def test_an_empty_bucket_goes_into_debt():
    """Each who comes too early waits for a place of its own."""
    pace = Rate(2.0, Clock())
    assert [pace.take() for _ in range(5)] == [0, 0, 0.5, 1.0, 1.5]
    assert pace.wait() == pytest.approx(2.0)


async def test_a_relays_rate_limits_room_and_holds_back_what_comes_too_early():
    """20 a second: room for no more than that; the rest waits, and all arrive."""
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, changes={"rate": 20.0, "connections": 100}) as relays,
    ):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for _ in range(30):
            await relays.send(envelope(), SOURCE)
        for _ in range(4):
            await asyncio.wait_for(relays.wait_for_room(), LIMIT)
            assert relays.room() >= 1
            await relays.send(envelope(), SOURCE)
        assert loop.time() - begun > (34 - 21) / 20  # a slow machine only takes longer
        assert len(relay.received) == 34


# ---------------------------------------------------------------- room


async def test_each_send_takes_a_place_of_its_relay():
    """Every send under way takes a place of those that the relay may have."""
    changes = {"pipelining": Pipelining.TRANSACTION}
    async with ScriptedRelay() as relay, sending(relay.spec, changes=changes) as relays:
        assert relays.room() == AT_FIRST
        relay.hold("DOT")
        sends = []
        for left in range(AT_FIRST - 1, -1, -1):
            sends.append(asyncio.create_task(relays.send(envelope(), SOURCE)))
            await relay.until_held(len(sends))
            assert relays.room() == left
        waiting = asyncio.create_task(relays.wait_for_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        relay.release()
        await asyncio.wait_for(waiting, LIMIT)
        assert all([(await send).accepted for send in sends])
        assert relays.room() == 2 * AT_FIRST  # each success makes room for one more


async def test_a_resting_relay_has_room_for_one_when_it_has_rested():
    """wait_for_room returns by itself then. While the probe is under way there is no room."""
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, rests=Rests(first=0.1, spread=0)) as relays,
    ):
        relay.answer("GREETING", "421 no", times=1)
        await relays.send(envelope(), SOURCE)
        assert relays.room() == 0
        assert relays.next_probe_at() is not None
        await asyncio.wait_for(relays.wait_for_room(), LIMIT)
        assert relays.room() == 1
        relay.hold("DOT")
        probe = asyncio.create_task(relays.send(envelope(), SOURCE))
        await relay.until_held(1)
        assert relays.room() == 0
        assert relays.states()[0].state is State.PROBING
        other = await relays.send(envelope(BOB), SOURCE)
        assert other.failures[BOB].name == "resting"
        relay.release()
        assert (await probe).accepted
        assert relays.room() == 1


@pytest.mark.parametrize("greeting", ["220 hello", "421 no"])
async def test_room_that_comes_while_one_looks_is_not_waited_for(greeting):
    """By its pace or by the end of its rest: that falls between two looks, sooner or later."""
    clock, rests = Clock(), Rests(first=2, spread=0)
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, rests=rests, changes={"rate": 0.5}, clock=clock) as relays,
    ):
        relay.answer("GREETING", greeting, times=1)
        await relays.send(envelope(), SOURCE)
        clock.now += 1.25
        clock.step = 0.5  # 0.25 s before, then 0.25 s after
        await asyncio.wait_for(relays.wait_for_room(), LIMIT)
        assert relays.room() == 1


async def test_the_first_relays_pace_is_waited_for_without_looking_at_the_second():
    """One that works and is busy is waited for; that another is idle is no reason to look again."""
    clock = Clock()
    async with (
        ScriptedRelay() as first,
        ScriptedRelay() as second,
        sending(first.spec, second.spec, changes={"rate": 0.5}, clock=clock) as relays,
    ):
        await relays.send(envelope(), SOURCE)
        looks = []
        relays.room = lambda: looks.append(1) or 0
        waiting = asyncio.create_task(relays.wait_for_room())
        await asyncio.wait([waiting], timeout=0.05)
        assert len(looks) == 1
        waiting.cancel()
    assert not second.connections


async def test_a_relay_that_has_rested_is_not_tried_beyond_its_pace():
    """Nor is it asked over and over meanwhile whether it has room."""
    clock, rests = Clock(), Rests(first=5, spread=0)
    async with ScriptedRelay() as scripted:
        scripted.answer("GREETING", "421 no")
        relay = Relay(replace(scripted.spec, rate=0.01), clock=clock, rests=rests)
        await relay.send(envelope(), SOURCE)
        clock.now += 10
        assert relay.room() == 0
        assert relay.wait() == pytest.approx(90)
        await relay.close()


async def test_resuming_a_resting_relay_tries_it_at_once():
    """A person who has mended it need not wait for its rest to end."""
    async with ScriptedRelay() as relay, sending(relay.spec, rests=Rests()) as relays:
        relay.answer("GREETING", "421 no", times=1)
        await relays.send(envelope(), SOURCE)
        waiting = asyncio.create_task(relays.wait_for_room())
        relays.pause("relay")
        relays.resume("relay")
        await asyncio.wait_for(waiting, LIMIT)
        assert (await relays.send(envelope(), SOURCE)).accepted


# ---------------------------------------------------------------- several


@pytest.fixture
async def pair():
    """Two relays and their specs by the names `first` and `second`."""
    async with ScriptedRelay() as first, ScriptedRelay() as second:
        specs = (replace(first.spec, name="first"), replace(second.spec, name="second"))
        yield first, second, specs


async def test_all_go_to_the_first(pair):
    """The second is for when the first fails."""
    first, second, specs = pair
    async with sending(*specs) as relays:
        for _ in range(5):
            assert (await relays.send(envelope(), SOURCE)).relay == "first"
    assert len(first.received) == 5
    assert not second.connections


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("GREETING", "554 5.7.1 no"),
        ("EHLO", "421 4.3.2 no"),
        ("MAIL", "421 4.3.2 no"),
        ("MAIL", "550 5.4.5 quota"),
        ("MAIL", "550 5.7.60 sender"),
        ("RCPT", CUT),
        ("RCPT", "554 5.7.1 <ann@example.org>: Relay access denied"),
        ("DATA", CUT),
        ("DOT", "550 5.7.60 sender"),
        ("DOT", "554 5.2.252 SendAsDenied"),
        ("DOT", "432 4.3.2 thread limit"),
    ],
)
async def test_the_second_relay_takes_over(pair, verb, answer):
    """One copy; the attempt is the second's, and begins with why the first was passed over."""
    first, second, specs = pair
    first.answer(verb, answer)
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(), SOURCE)
    assert attempt.relay == "second"
    assert attempt.accepted == (ANN,)
    assert attempt.conversation[0].startswith("   first passed over")
    assert attempt.conversation[-1] == "S: 250 2.0.0 taken"
    assert not first.received
    assert copies(second) == {ANN: 1}


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("MAIL", "451 4.3.0 later"),
        ("MAIL", "553 5.1.7 no"),
        ("RCPT", "450 4.2.0 later"),
        ("RCPT", "550 5.1.1 nobody"),
        ("DATA", "554 5.7.1 no"),
        ("DOT", "554 5.7.1 spam"),
        ("DOT", "552 5.7.0 a picture of this size is spam"),
        ("DOT", "451 4.3.0 later"),
        ("DOT", "421 4.3.0 later"),
        ("DOT", CUT),
    ],
)
async def test_a_message_that_the_first_relay_answered_goes_nowhere_else(pair, verb, answer):
    """A no is not shopped around, and a message that may have left is not sent by another."""
    first, second, specs = pair
    first.answer(verb, answer)
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(), SOURCE)
    assert attempt.relay == "first"
    assert not attempt.accepted
    assert not second.connections


async def test_a_recipient_refused_by_the_first_relay_is_not_offered_to_the_second(pair):
    """Only those whom it did not answer for go on, and what it said is kept."""
    first, second, specs = pair
    first.answer("RCPT", "550 5.1.1 nobody", to=ANN)
    first.answer("RCPT", "421 4.3.2 no", to=EVE)
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(ANN, BOB, EVE), SOURCE)
    assert attempt.accepted == (BOB, EVE)
    assert attempt.failures[ANN].reply == "550 5.1.1 nobody"
    assert copies(second) == {BOB: 1, EVE: 1}
    assert not any(ANN in line for line in second.heard)


async def test_when_all_relays_fail_the_reply_is_the_last_ones(pair):
    """Nothing is charged, and the conversation names them in order."""
    first, second, specs = pair
    first.answer("GREETING", "421 4.3.2 first")
    second.answer("GREETING", "421 4.3.2 second")
    async with sending(*specs, rests=Rests(spread=0)) as relays:
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.relay == "second"
        assert not attempt.charged
        assert "first passed over" in attempt.conversation[0]
        assert "S: 421 4.3.2 second" in attempt.conversation
        assert relays.room() == 0
        assert relays.next_probe_at() is not None
        assert [state.trouble.name for state in relays.states()] == ["greeting_refused"] * 2


async def test_a_resting_or_paused_first_is_not_asked(pair):
    """The second carries on until the first has rested, or a person takes it in again."""
    first, _, specs = pair
    first.answer("GREETING", "421 no", times=1)
    async with sending(*specs, rests=Rests()) as relays:
        used = [(await relays.send(envelope(), SOURCE)).relay for _ in range(3)]
        assert used == ["second"] * 3
        assert len(first.connections) == 1
        relays.resume("first")
        assert (await relays.send(envelope(), SOURCE)).relay == "first"
        relays.pause("first")
        assert (await relays.send(envelope(), SOURCE)).relay == "second"


async def test_a_second_that_is_paused_hides_not_why_the_first_failed(pair):
    """It is not asked: the attempt is the first one's, in its words."""
    first, second, specs = pair
    first.answer("MAIL", "421 4.3.2 closing")
    async with sending(*specs) as relays:
        relays.pause("second")
        attempt = await relays.send(envelope(), SOURCE)
    assert (attempt.relay, attempt.reply) == ("first", "421 4.3.2 closing")
    assert not second.connections


async def test_the_second_is_left_alone_while_the_first_works(pair):
    """A relay that is busy is waited for: the order is for failures, not for sharing the load."""
    first, second, specs = pair
    async with sending(*specs, changes={"connections": 2}) as relays:
        assert relays.room() == 2
        first.hold("DOT")
        sends = [asyncio.create_task(relays.send(envelope(), SOURCE)) for _ in range(3)]
        await first.until_held(2)
        assert relays.room() == 0
        first.release()
        used = [(await send).relay for send in sends]
    assert used == ["first"] * 3
    assert not second.connections


async def test_a_message_that_one_relay_never_takes_does_not_rest_it():
    """503 or "not as this sender" for one message, between others that go well: no rest."""
    async with ScriptedRelay() as relay, sending(relay.spec, rests=Rests()) as relays:
        for number, answer in enumerate(itertools.repeat("550 5.7.60 sender", 6)):
            relay.answer("MAIL", answer, times=1)
            assert (await relays.send(envelope(), SOURCE)).relay_failed
            if number % 2:
                assert (await relays.send(envelope(BOB), SOURCE)).accepted
        assert relays.states()[0].state is State.CLOSED
        assert relays.states()[0].sent == 3
        assert relays.states()[0].failed == 6


OF_THE_RELAY = [
    *("530 5.7.0 log in first", "534 5.7.9 no", "538 5.7.11 no", "550 5.4.5 quota"),
    *("550 5.7.60 sender", "503 5.5.1 what?", "354 what?", "554 5.7.1 Relay access denied"),
]


@pytest.mark.parametrize("answer", OF_THE_RELAY)
async def test_recipient_accepted_by_the_first_relay_is_not_sent_to_the_second(pair, answer):
    """The first takes Ann and has something against Bob: one copy each, both on record."""
    first, second, specs = pair
    first.answer("RCPT", answer, to=BOB)
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
    assert attempt.accepted == (ANN, BOB)
    assert not attempt.failures
    assert (copies(first), copies(second)) == ({ANN: 1}, {BOB: 1})


async def test_each_recipient_has_the_words_of_the_relay_that_took_it(pair):
    """Ann's are the first's, Bob's the second's; the conversation has both."""
    first, second, specs = pair
    first.answer("RCPT", "530 5.7.0 log in first", to=BOB)
    first.answer("DOT", "250 first has it")
    second.answer("DOT", "251 second has it")
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
    assert attempt.acceptance(ANN) == Acceptance("250 first has it", 250)
    assert attempt.acceptance(BOB) == Acceptance("251 second has it", 251)
    assert "   first took it, but not for all; the others:" in attempt.conversation
    assert "S: 250 first has it" in attempt.conversation
    assert "S: 251 second has it" in attempt.conversation


@pytest.mark.parametrize("verb", ["GREETING", "RCPT", "DOT"])
@pytest.mark.parametrize("answer", ["530 5.7.0 log in first", CUT])
async def test_acceptance_by_the_first_relay_stands(pair, verb, answer):
    """Refused, cut off, silent about the dot: Ann has it, by the first, and Bob is pending."""
    first, second, specs = pair
    first.answer("RCPT", "530 5.7.0 log in first", to=BOB)
    second.answer(verb, answer)
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
    assert attempt.accepted == (ANN,)
    assert attempt.acceptance(ANN).reply == "250 2.0.0 taken"
    assert attempt.failures.keys() == {BOB}
    assert not attempt.failures[BOB].final
    assert attempt.uncertain is (verb == "DOT" and answer == CUT)
    assert attempt.relay == ("second" if attempt.uncertain else "first")


async def test_after_an_abort_no_second_relay_is_asked(pair):
    """What the first relay did not get stays in the queue."""
    first, second, specs = pair
    async with sending(*specs) as relays:
        first.hold("RCPT")
        sends = asyncio.create_task(relays.send(envelope(ANN), SOURCE))
        await first.until_held(1)
        relays.abort_all()
        attempt = await sends
    assert attempt.failures[ANN].name == "aborted"
    assert not second.connections


async def test_no_recipient_goes_to_the_next_relay_after_an_abort(pair):
    """One has an answer of the relay's kind already when it is broken off: nobody goes on."""
    first, second, specs = pair
    first.features = ()
    first.answer("RCPT", "530 5.7.0 log in first", to=ANN)
    async with sending(*specs) as relays:
        first.hold("DATA")
        sends = asyncio.create_task(relays.send(envelope(ANN, BOB), SOURCE))
        await first.until_held(1)
        relays.abort_all()
        attempt = await sends
    assert attempt.failures[ANN].name == "auth_required"
    assert attempt.failures[BOB].name == "aborted"
    assert not second.connections


async def test_a_relay_that_does_not_relay_does_not_ask_for_less():
    """Postfix says 454 by default, by which others ask to be sent less at a time."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "454 4.7.1 <bob@example.org>: Relay access denied", to=BOB)
        for _ in range(3):
            await relays.send(envelope(ANN, BOB), SOURCE)
        assert relays.states()[0].limit >= AT_FIRST


async def test_doubt_at_the_dot_does_not_rest_a_relay():
    """Nobody knows whether it took them; each is charged, and goes by the schedule."""
    async with ScriptedRelay() as relay, sending(relay.spec, rests=Rests()) as relays:
        relay.answer("DOT", CUT)
        for _ in range(5):
            assert (await relays.send(envelope(), SOURCE)).uncertain
        assert relays.states()[0].state is State.CLOSED


@pytest.mark.parametrize(
    ("answer", "name"),
    [("530 5.7.0 log in first", "auth_required"), ("550 5.4.5 quota", "quota_exceeded")],
)
async def test_one_recipient_cannot_rest_a_relay_that_takes_others(answer, name):
    """Refused for one, 250 to the dot for the other, again and again: it works."""
    async with ScriptedRelay() as relay, sending(relay.spec, rests=Rests()) as relays:
        relay.answer("RCPT", answer, to=BOB)
        for _ in range(5):
            assert (await relays.send(envelope(ANN, BOB), SOURCE)).accepted == (ANN,)
            assert not (await relays.send(envelope(BOB), SOURCE)).accepted
        (state,) = relays.states()
        assert state.state is State.CLOSED
        assert (state.sent, state.trouble.name) == (5, name)
        assert len(relay.connections) == 1


@pytest.mark.parametrize("answer", ["454 4.7.0 later", "432 4.7.12 later", "421 4.7.0 bye"])
async def test_a_4xx_to_a_login_is_trouble_of_that_connection(answer):
    """RFC 4954, section 6: one in four of them does not rest the relay, nor is a password wrong."""
    login = {"username": "u", "password": "p"}
    async with (
        ScriptedRelay(features=(*FEATURES, "AUTH PLAIN")) as relay,
        sending(relay.spec, rests=Rests(), changes=login) as relays,
    ):
        relay.answer("AUTH", answer, times=1)
        relay.hold("DOT")
        sends = [asyncio.create_task(relays.send(envelope(), SOURCE)) for _ in range(4)]
        await relay.until_held(3)
        relay.release()
        attempts = [await each for each in sends]
        assert relays.states()[0].state is State.CLOSED
    (refused,) = [each for each in attempts if each.failures]
    assert refused.failures[ANN].name == "auth_unavailable"
    assert not refused.charged
    assert copies(relay) == {ANN: 3}


# ---------------------------------------------------------------- what one of them cannot take


SMALL = ("PIPELINING", "SIZE 20", "8BITMIME", "SMTPUTF8")
OLD = ("PIPELINING", "SIZE 50000000", "8BITMIME")


@pytest.mark.parametrize(
    ("features", "smtputf8"), [(SMALL, False), (OLD, True)], ids=["SIZE", "SMTPUTF8"]
)
async def test_message_one_relay_can_never_take_goes_to_the_next(pair, features, smtputf8):
    """The EHLO of one relay does not bind the other, and the first stays usable."""
    first, second, specs = pair
    first.features = features
    async with sending(*specs) as relays:
        for _ in range(4):
            attempt = await relays.send(envelope(smtputf8=smtputf8), SOURCE)
            assert (attempt.relay, attempt.accepted) == ("second", (ANN,))
        assert relays.states()[0].state is State.CLOSED
        assert relays.states()[0].trouble is None
        assert len(first.connections) == 1
    assert "MAIL" not in first.verbs()
    assert len(second.received) == 4


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("MAIL", "552 5.3.4 limit"),
        ("DOT", "552 5.3.4 limit"),
        ("MAIL", "552 too much"),
        ("DOT", "552 message size exceeds our limit"),
        ("MAIL", "550 5.6.7 ASCII only"),
    ],
)
async def test_one_that_says_so_in_its_replies_is_passed_over_too(pair, verb, answer):
    """Its limit need not stand in its EHLO."""
    first, second, specs = pair
    first.answer(verb, answer)
    async with sending(*specs) as relays:
        assert (await relays.send(envelope(), SOURCE)).accepted == (ANN,)
    assert (copies(first), copies(second)) == ({}, {ANN: 1})


async def test_message_no_relay_can_take_fails_with_each_reason(pair):
    """Too large for the first, of an address that the second cannot write: for good, charged."""
    first, second, specs = pair
    first.features, second.features = SMALL, OLD
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(smtputf8=True), SOURCE)
    failure = attempt.failures[ANN]
    assert failure.final
    assert attempt.charged
    assert failure.reply == attempt.reply
    assert "first: the message has 29 octets, the relay takes 20 at most" in failure.reply
    assert "second: an address is not ASCII" in failure.reply


async def test_while_another_may_be_able_to_take_it_nothing_is_lost(pair):
    """The second rests: it was not asked, so that it is put off, and not charged."""
    first, second, specs = pair
    first.features = SMALL
    second.answer("GREETING", "421 no", times=1)
    async with sending(*specs, rests=Rests()) as relays:
        for _ in range(2):
            attempt = await relays.send(envelope(), SOURCE)
            assert not attempt.failures[ANN].final
            assert not attempt.charged
        relays.resume("second")
        assert (await relays.send(envelope(), SOURCE)).relay == "second"


async def test_a_recipient_that_no_relay_can_take_is_lost_alone(pair):
    """The other has it, by the first relay's words; of this one both reasons are kept."""
    first, second, specs = pair
    first.answer("RCPT", "552 5.3.4 ours is smaller", to=BOB)
    second.answer("RCPT", "552 5.3.4 so is ours", to=BOB)
    async with sending(*specs) as relays:
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
    assert (attempt.accepted, attempt.reply) == ((ANN,), "250 2.0.0 taken")
    assert attempt.failures[BOB].final
    assert attempt.failures[BOB].reply == (
        "first: 552 5.3.4 ours is smaller; second: 552 5.3.4 so is ours"
    )
