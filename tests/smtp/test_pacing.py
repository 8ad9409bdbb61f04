"""How fast a relay is asked that wants fewer messages, and what becomes of those that wait."""

import asyncio
import heapq
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.attempts import PACED, THROTTLED, TOO_MANY_CONNECTIONS
from notifier.smtp import Rests, State
from notifier.smtp.pacing import FORGET_AFTER, LONGEST_HOLD, REGAIN_SECONDS, Pace
from tests.clocks import Clock
from tests.relay import ScriptedRelay
from tests.relays import ANN, BOB, SOURCE, copies, envelope, sending
from tests.service import email, ended, notifying, submit, until_status
from tests.waiting import until

RATE = "451 Sender rate overlimit - 11.0 / 10s"
PLACES = 16


# ---------------------------------------------------------------- relays that are played


class Window:
    """Takes so many messages in each window of so many seconds."""

    def __init__(self, most, seconds):
        self.most, self.seconds = most, seconds
        self.window, self.taken = -1, 0

    def takes(self, now):
        window = int(now / self.seconds)
        if window != self.window:
            self.window, self.taken = window, 0
        self.taken += 1
        return self.taken <= self.most


class Bucket:
    """Takes so many a second, and so many at once after a pause."""

    def __init__(self, rate, burst):
        self.rate, self.burst = rate, burst
        self.left, self.at = burst, 0.0

    def takes(self, now):
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Smoothed:
    """Exim's `ratelimit`: an average that fades; `strict` counts what it refuses, too."""

    def __init__(self, most, seconds, *, strict):
        self.most, self.seconds, self.strict = most, seconds, strict
        self.rate, self.at = 0.0, None

    def takes(self, now):
        if self.at is None:
            rate = 1.0
        else:
            past = max(now - self.at, 1e-6) / self.seconds
            fading = math.exp(-past)
            rate = (1 - fading) / past + fading * self.rate
        takes = rate < self.most
        if takes or self.strict:
            self.rate, self.at = rate, now
        return takes


class Played:
    """A backlog sent to a played relay by up to 16 at a time, on a clock of its own."""

    def __init__(self, relay, *, seed=1):
        self.clock = Clock(1000.0)
        self.pace = Pace(self.clock)
        self.begun = 0
        self.relay = relay
        self.sent, self.refused, self.busy = 0, 0, 0
        self._random = random.Random(seed)
        self._events, self._number = [], 0

    @property
    def seconds(self):
        return self.clock.now - 1000.0

    def run(self, *, seconds=math.inf, messages=math.inf):
        """Until so many are sent, or so much time is over."""
        sent, end = self.sent + messages, self.clock.now + seconds
        while self.sent < sent and self.clock.now < end:
            while self.busy < PLACES and self.pace.wait() <= 1e-9:
                self.begun += 1
                self.pace.begin()
                self._push("ask", self.begun, self._random.uniform(0.005, 0.015))
                self.busy += 1
            wait = self.pace.wait()
            due = self._events[0][0] if self._events else math.inf
            if self.busy < PLACES and wait > 0 and self.clock.now + wait < due:
                self.clock.now += wait
            elif self._events:
                self._next()
        return self

    def _push(self, what, ticket, after):
        self._number += 1
        heapq.heappush(self._events, (self.clock.now + after, self._number, what, ticket))

    def _next(self):
        self.clock.now, _, what, ticket = heapq.heappop(self._events)
        if what == "ask":
            return self._push("yes" if self.relay.takes(self.clock.now) else "no", ticket, 0.01)
        self.busy -= 1
        if what == "yes":
            self.sent += 1
            return self.pace.answered(ticket)
        self.refused += 1
        return self.pace.refused(ticket, begun=self.begun, of_rate=True)


RATES = st.floats(0.2, 15.0)
RELAYS = st.one_of(
    st.builds(
        lambda rate, seconds: (
            Window(max(1, round(rate * seconds)), seconds),
            max(1, round(rate * seconds)) / seconds,
        ),
        RATES,
        st.sampled_from([1, 5, 10, 60]),
    ),
    st.builds(lambda rate, burst: (Bucket(rate, burst), rate), RATES, st.integers(1, 30)),
    st.builds(
        lambda rate, strict: (Smoothed(10 * rate, 10, strict=strict), rate),
        st.floats(0.5, 15.0),
        st.booleans(),
    ),
)


@settings(max_examples=20, deadline=None)
@given(played=RELAYS, seed=st.integers(0, 1000))
def test_a_relays_rate_is_found_and_kept(played, seed):
    """Of what it would take it gets most, and few are refused, whatever its way of counting."""
    relay, rate = played
    run = Played(relay, seed=seed).run(seconds=max(600, 100 / rate))
    assert run.sent >= 0.5 * rate * run.seconds
    assert run.refused <= PLACES + 4 + 0.15 * run.sent


@settings(max_examples=20, deadline=None)
@given(played=RELAYS)
def test_it_does_not_swing(played):
    """Once a rate is found, no minute is without messages, and none has twice what it takes."""
    relay, rate = played
    run = Played(relay).run(seconds=max(300, 60 / rate))
    for _ in range(5):
        before, span = run.sent, max(60.0, 20 / rate)
        run.run(seconds=span)
        assert 0.3 * rate * span <= run.sent - before + 1 <= 2 * rate * span + 2


def test_exims_strict_limit_costs_few_refusals():
    """300 messages at 10 in 10 s: within a tenth of what is possible."""
    run = Played(Smoothed(10, 10, strict=True)).run(messages=300)
    assert run.seconds < 330
    assert run.refused < PLACES + 10


@settings(max_examples=20, deadline=None)
@given(rate=st.floats(0.2, 5), factor=st.sampled_from([3, 10, 50]))
def test_a_limit_that_is_lifted_is_soon_left_behind(rate, factor):
    """Within some minutes it gets that much more, however little it got before."""
    run = Played(Bucket(rate, 5)).run(seconds=300)
    run.relay = Bucket(1e6, 1e6)
    end = run.seconds + max(60.0, 30 / rate) * FORGET_AFTER + LONGEST_HOLD
    while (found := run.pace.rate) is not None and found < factor * rate:
        assert run.run(seconds=5).seconds < end


@settings(max_examples=20, deadline=None)
@given(rate=st.floats(5, 15))
def test_a_limit_that_is_tightened_is_found_again(rate):
    """To a tenth: the next minutes go by the new one, with few refusals."""
    run = Played(Bucket(rate, 5)).run(seconds=300)
    run.relay = Bucket(rate / 10, 5)
    run.run(seconds=120)
    before, refused = run.sent, run.refused
    run.run(seconds=600)
    assert run.sent - before >= 0.5 * 600 * rate / 10
    assert run.refused - refused <= 15 + 0.1 * (run.sent - before)


def test_one_that_refuses_all_is_asked_once_a_minute_and_no_more():
    """One message each time: the first refusals double the wait, up to the longest."""
    run = Played(Bucket(0.0, 0)).run(seconds=3600)
    assert run.refused <= PLACES + 6 + 3600 / LONGEST_HOLD
    assert run.pace.refuses


def test_a_quiet_limit_is_forgotten():
    """Where nothing is sent for long, the next message goes at once."""
    run = Played(Bucket(0.5, 1)).run(seconds=300)
    assert run.pace.limits
    run.clock.now += REGAIN_SECONDS * FORGET_AFTER + 1
    assert not run.pace.limits
    assert run.pace.available == math.inf


def test_refusals_of_what_was_under_way_are_one_refusal():
    """Sixteen at once hold it as long as one does."""
    clock = Clock()
    one, many = Pace(clock), Pace(clock)
    one.refused(1, begun=1, of_rate=True)
    news = [many.refused(ticket, begun=16, of_rate=True) for ticket in range(1, 17)]
    assert news == [True] + 15 * [False]
    assert one.wait() == many.wait() > 0
    assert not many.refuses


def test_too_many_connections_teach_no_rate():
    """It is left alone for a moment, and then gets as many as it takes, over fewer connections."""
    clock = Clock()
    pace = Pace(clock)
    pace.refused(1, begun=1, of_rate=False)
    clock.now += pace.wait()
    pace.begin()
    pace.answered(2)
    assert pace.rate is None
    assert not pace.limits


# ---------------------------------------------------------------- over real connections


async def test_a_relay_that_refuses_for_its_rate_is_left_alone_uncharged():
    """The message is not charged; the next is not even offered until the relay is asked again."""
    clock = Clock()
    async with ScriptedRelay() as relay, sending(relay.spec, clock=clock, rests=Rests()) as relays:
        relay.answer("MAIL", RATE, times=1)
        refused = await relays.send(envelope(), SOURCE)
        assert (refused.failures[ANN].name, refused.charged, refused.throttled) == (
            THROTTLED,
            False,
            True,
        )
        assert relays.room() == 0
        assert relays.room() >= 0
        assert relays.paced
        waits = await relays.send(envelope(BOB), SOURCE)
        assert waits.unoffered
        assert waits.failures[BOB].name == PACED
        (state,) = relays.states()
        assert (state.state, state.throttled) == (State.CLOSED, 1)
        assert state.held_until is not None
        clock.now += 3
        assert relays.room() == 1
        assert (await relays.send(envelope(BOB), SOURCE)).accepted == (BOB,)
        (state,) = relays.states()
        assert state.held_until is None
        assert state.pace > 0
    assert copies(relay) == {BOB: 1}
    assert len(relay.connections) == 1  # that it refuses for the rate is no fault of a connection


@pytest.mark.parametrize(
    "said",
    [
        "432 4.3.2 Concurrent connections limit exceeded",
        "421 Too many concurrent SMTP connections",
        "421 4.7.0 mx Error: too many connections from 192.0.2.1",
    ],
)
async def test_too_many_connections_are_fewer_afterwards(said):
    """Half of them; those that were kept open beyond that are closed; the relay does not rest."""
    clock = Clock()
    async with ScriptedRelay() as relay, sending(relay.spec, clock=clock, rests=Rests()) as relays:
        relay.hold("DOT")
        sends = [asyncio.create_task(relays.send(envelope(), SOURCE)) for _ in range(4)]
        await relay.until_held(4)
        relay.release()
        await asyncio.gather(*sends)
        before = relays.states()[0].limit
        verb = "MAIL" if said.startswith("432") else "GREETING"
        if verb == "GREETING":
            for connection in relay.connections:
                connection.transport.abort()
            await until(lambda: relays.states()[0].idle == 0)
        relay.answer(verb, said)
        refused = await relays.send(envelope(), SOURCE)
        assert (refused.failures[ANN].name, refused.charged) == (TOO_MANY_CONNECTIONS, False)
        (state,) = relays.states()
        assert (state.state, state.limit) == (State.CLOSED, before // 2)
        relay.answer(verb, None)
        clock.now += 3
        assert (await relays.send(envelope(BOB), SOURCE)).accepted


async def test_message_refused_for_rate_goes_to_the_next_relay():
    """Only what was refused goes on to it; what was not offered waits for the first's pace."""
    clock = Clock()
    async with (
        ScriptedRelay() as first,
        ScriptedRelay() as second,
        sending(first.spec, second.spec, clock=clock, rests=Rests()) as relays,
    ):
        first.answer("MAIL", RATE)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted == (ANN,)
        assert (await relays.send(envelope(BOB), SOURCE)).unoffered
        assert copies(second) == {ANN: 1}
        # Refused again when it is asked again: it has failed for now, and the second takes over.
        clock.now += 3
        assert (await relays.send(envelope(), SOURCE)).accepted == (ANN,)
        assert relays.room() > 1
        assert (await relays.send(envelope(BOB), SOURCE)).accepted == (BOB,)
        assert len(second.received) == 3


async def test_a_message_that_waits_for_the_pace_keeps_its_place_and_is_overtaken(tmp_path):
    """Not charged, no long wait of its own; what is urgent goes first; a batch in its order."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        relay.answer("MAIL", RATE, times=1)
        ids = await submit(service, *[email(f"a{number}@example.org") for number in range(3)])
        await relay.until(lambda: any(line.startswith("MAIL") for line in relay.heard))
        (urgent,) = await submit(service, email("urgent@example.org", priority="urgent"))
        for id in (urgent, *ids):
            delivery = await ended(service, id)
            assert delivery.status == "sent"
            assert delivery.tries == 1
        got = [recipients[0] for _, recipients, _ in relay.received]
        assert sorted(got) == [
            "a0@example.org",
            "a1@example.org",
            "a2@example.org",
            "urgent@example.org",
        ]


async def test_message_waiting_for_the_pace_expires_with_a_reason(tmp_path):
    """The relay never takes it: it says whose limit it was."""
    async with ScriptedRelay() as relay, notifying(tmp_path, relay) as service:
        relay.answer("MAIL", RATE)
        (first,) = await submit(service, email())
        await until_status(service, first, "deferred")
        (other,) = await submit(service, email("b@example.org", ttl=1))
        delivery = await ended(service, other)
    assert delivery.status == "expired"
    assert "asked more slowly" in delivery.reason
    assert "rate overlimit" in delivery.reason


async def test_a_waiting_message_is_not_offered_once_the_relay_wants_fewer_connections():
    """It was under way when another was refused; its connection is kept for the next one."""
    clock = Clock()
    async with (
        ScriptedRelay() as relay,
        sending(relay.spec, clock=clock, rests=Rests()) as relays,
    ):
        relay.hold("MAIL")
        first = asyncio.create_task(relays.send(envelope(), SOURCE))
        await relay.until_held(1)
        relay.hold("EHLO")
        second = asyncio.create_task(relays.send(envelope(BOB), SOURCE))
        await relay.until_held(2)
        relay.answer("MAIL", RATE)
        relay.release("MAIL")
        assert (await first).throttled
        relay.release()
        assert (await second).unoffered
        assert sum(line.startswith("MAIL") for line in relay.heard) == 1
        (state,) = relays.states()
        assert (state.failed, state.throttled, state.idle) == (1, 1, 2)
