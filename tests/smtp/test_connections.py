"""When a message goes again at once over another connection, or the rest of its recipients."""

import asyncio

import pytest

from notifier.attempts import Scope, Stage
from notifier.smtp import State
from notifier.smtp import pool as connections
from notifier.smtp.outcomes import Offers
from tests.relay import CUT, FEATURES, FIN, ScriptedRelay
from tests.relays import ANN, BOB, EVE, SOURCE, copies, envelope, sending

PLAIN = tuple(feature for feature in FEATURES if feature != "PIPELINING")
both_ways = pytest.mark.parametrize("features", [FEATURES, PLAIN], ids=["pipelined", "one by one"])


class LimitedRelay(ScriptedRelay):
    """Takes so many messages on a connection, and so many recipients in a transaction."""

    def __init__(self, *, messages=1000, recipients=1000, **options):
        super().__init__(**options)
        self.messages = messages
        self.recipients = recipients
        self.turned_away = 0

    def answer_to(self, verb, argument, connection):
        mails = connection.__dict__.setdefault("mails", 0)
        if verb == "MAIL" and connection.envelope is None:
            if mails >= self.messages:
                self.turned_away += 1
                return "452 4.5.3 Too many messages sent"
            connection.mails += 1
        envelope = connection.envelope
        if verb == "RCPT" and envelope and len(envelope[1]) >= self.recipients:
            self.turned_away += 1
            return "452 4.5.3 Too many recipients"
        return super().answer_to(verb, argument, connection)


# ---------------------------------------------------------------- a connection's time is up


class LeavesIdleOnes(ScriptedRelay):
    """Answers the first command on a kept connection by 451 4.4.2, and hangs up."""

    def answer_to(self, verb, argument, connection):
        if not getattr(connection, "idle", False):
            return super().answer_to(verb, argument, connection)
        asyncio.get_running_loop().call_soon(connection.transport.close)
        return "451 4.4.2 Timeout waiting for data from client."


@both_ways
async def test_451_4_4_2_to_the_first_command_on_a_kept_connection_costs_nothing(features):
    """The relay has waited for too long: at once again on a fresh one, not charged."""
    async with LeavesIdleOnes(features=features) as relay, sending(relay.spec) as relays:
        await relays.send(envelope(BOB), SOURCE)
        relay.connections[0].idle = True
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted == (ANN,)
        assert not attempt.failures
        assert len(relay.connections) == 2
        assert relays.states()[0].trouble is None
    assert copies(relay) == {BOB: 1, ANN: 1}


@both_ways
async def test_451_4_4_2_on_a_fresh_connection_is_the_relays_trouble(features):
    """Once more would be a circle: it is put off, and not charged."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("MAIL", "451 4.4.2 Timeout")
        attempt = await relays.send(envelope(), SOURCE)
        assert len(relay.connections) == 1
    assert (attempt.failures[ANN].name, attempt.charged) == ("closing", False)


@both_ways
async def test_mail_put_off_after_good_messages_means_the_connection(features):
    """A relay that takes five on a connection gets ten over two, none of them charged."""
    async with LimitedRelay(messages=5, features=features) as relay, sending(relay.spec) as relays:
        attempts = [await relays.send(envelope(), SOURCE) for _ in range(10)]
        assert all(attempt.accepted and not attempt.failures for attempt in attempts)
        assert len(relay.connections) == 2
    assert copies(relay) == {ANN: 10}


async def test_the_number_of_messages_on_a_connection_is_remembered():
    """Turned away twice after five, it is turned away no more: each connection gets five."""
    async with LimitedRelay(messages=5) as relay, sending(relay.spec) as relays:
        for _ in range(40):
            assert (await relays.send(envelope(), SOURCE)).accepted
        assert relay.turned_away == 2
        assert len(relay.connections) == 8
    assert copies(relay) == {ANN: 40}


async def test_facts_about_a_relay_are_forgotten(monkeypatch):
    """Limits change: after its time a connection is tried to the full again."""
    monkeypatch.setattr(connections, "REMEMBER_SECONDS", 0.0)
    async with LimitedRelay(messages=5) as relay, sending(relay.spec) as relays:
        for _ in range(11):
            await relays.send(envelope(), SOURCE)
        relay.messages = 1000
        for _ in range(30):
            await relays.send(envelope(), SOURCE)
        assert len(relay.connections) == 3


async def test_mail_put_off_on_a_fresh_connection_too_is_the_messages():
    """One fresh connection, not one after the other; and its words are what is kept."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        await relays.send(envelope(BOB), SOURCE)
        relay.answer("MAIL", "450 4.1.8 who is that?")
        attempt = await relays.send(envelope(), SOURCE)
        assert len(relay.connections) == 2
    assert attempt.failures[ANN].scope is Scope.MESSAGE
    assert attempt.charged


async def test_mail_put_off_on_a_connection_that_has_carried_nothing_is_the_messages():
    """It was used, and nothing was taken over it: so there is no limit that it has reached."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "550 5.1.1 nobody", to=BOB)
        await relays.send(envelope(BOB), SOURCE)
        relay.answer("MAIL", "450 4.1.8 who is that?")
        assert (await relays.send(envelope(), SOURCE)).charged
        assert len(relay.connections) == 1


async def test_a_sender_that_is_put_off_everywhere_teaches_nothing_of_connections():
    """A fresh one is no better: the next messages are not sent each over its own."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        for _ in range(3):
            assert (await relays.send(envelope(BOB), SOURCE)).accepted
            relay.answer("MAIL", "450 4.1.8 who is that?")
            assert not (await relays.send(envelope(), SOURCE)).accepted
            relay.answer("MAIL", None)
        opened = len(relay.connections)
        for _ in range(5):
            assert (await relays.send(envelope(BOB), SOURCE)).accepted
        assert len(relay.connections) == opened


@both_ways
async def test_a_relay_that_wants_to_be_asked_anew_is_asked_anew_once(features):
    """450 4.3.2, as postscreen after its tests: a new connection, on which it is taken."""
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "450 4.3.2 Service currently unavailable", times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.accepted == (ANN,)
        assert not attempt.failures
        assert len(relay.connections) == 2
        await relay.until(lambda: relay.open == 1)
    assert copies(relay) == {ANN: 1}


async def test_one_that_has_too_many_connections_gets_no_further_one_at_once():
    """432 4.3.2, as Exchange says it, asks for less: it is the relay's, and for later."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("MAIL", "432 4.3.2 Concurrent connections limit exceeded")
        assert not (await relays.send(envelope(), SOURCE)).charged
        assert len(relay.connections) == 1


async def test_a_relay_that_never_takes_anything_is_not_asked_in_a_circle():
    """Two connections, then it is put off, not charged; in the end the relay rests."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "450 4.3.2 Service currently unavailable")
        for count in (2, 4, 6):
            assert relays.states()[0].state is State.CLOSED
            attempt = await relays.send(envelope(), SOURCE)
            assert not attempt.charged
            assert len(relay.connections) == count
        assert relays.states()[0].state is State.OPEN
    assert not relay.received


async def test_a_kept_connection_that_breaks_is_followed_by_two_fresh_ones_at_most():
    """Worn out, then twice asked to come again: three offers, and no fourth."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        await relays.send(envelope(BOB), SOURCE)
        relay.answer("MAIL", FIN, times=1)
        relay.answer("RCPT", "450 4.3.2 Service currently unavailable")
        assert not (await relays.send(envelope(), SOURCE)).accepted
        assert len(relay.connections) == 3


# ---------------------------------------------------------------- too many for one transaction


@both_ways
async def test_recipients_too_many_for_a_transaction_go_in_the_next_ones(features):
    """Fifty at a limit of ten: five transactions at once, one attempt, each has it once."""
    fifty = tuple(f"n{number}@example.org" for number in range(50))
    async with (
        LimitedRelay(recipients=10, features=features) as relay,
        sending(relay.spec) as relays,
    ):
        attempt = await relays.send(envelope(*fifty), SOURCE)
        assert [len(recipients) for _, recipients, _ in relay.received] == [10] * 5
        assert relay.turned_away == 40  # in the first: later ones name no more than ten
        assert len(relay.connections) == 1
    assert attempt.accepted == fifty
    assert not attempt.failures
    assert copies(relay) == dict.fromkeys(fifty, 1)


async def test_a_recipient_refused_in_between_is_asked_once():
    """What was said of one in the first transaction is not asked again in the second."""
    async with LimitedRelay(recipients=2) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "550 5.1.1 nobody", to=BOB)
        attempt = await relays.send(envelope(ANN, BOB, EVE, "carl@example.org"), SOURCE)
        assert [line for line in relay.heard if BOB in line] == [f"RCPT TO:<{BOB}>"]
    assert attempt.accepted == (ANN, EVE, "carl@example.org")
    assert attempt.failures[BOB].final


async def test_too_many_where_none_is_taken_is_put_off():
    """No progress, no next transaction: it is tried again by the schedule."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "452 4.5.3 Too many recipients")
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
        assert relay.verbs().count("MAIL") == 1
    assert attempt.charged
    assert not any(failure.final for failure in attempt.failures.values())


async def test_doubt_about_the_second_transaction_does_not_touch_the_first():
    """The first has been accepted; of the rest nobody knows, and nobody goes on."""
    async with LimitedRelay(recipients=1) as relay, sending(relay.spec) as relays:
        relay.answer("DOT", CUT, times=1, after=1)
        attempt = await relays.send(envelope(ANN, BOB, EVE), SOURCE)
        assert len(relay.received) == 2
    assert attempt.accepted == (ANN,)
    assert attempt.uncertain
    assert attempt.acceptance(ANN).reply == "250 2.0.0 taken"
    assert attempt.failures.keys() == {BOB, EVE}


async def test_no_transaction_begins_after_a_stop(monkeypatch):
    """The first has been accepted; those who were too many wait for another time."""
    async with LimitedRelay(recipients=1) as relay, sending(relay.spec) as relays:
        add = Offers.add

        def stop_and_add(offers, *args, **options):
            relays.abort_all()
            add(offers, *args, **options)

        monkeypatch.setattr(Offers, "add", stop_and_add)
        attempt = await relays.send(envelope(ANN, BOB), SOURCE)
        assert relay.verbs().count("MAIL") == 1
    assert attempt.accepted == (ANN,)
    assert attempt.failures[BOB].name == "too_many_recipients"
    assert not attempt.failures[BOB].final


# ---------------------------------------------------------------- which connection is kept


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_connection_that_is_out_of_step_is_not_used_again(verb):
    """After a 503 nobody knows which envelope is open: the next message has a fresh one."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer(verb, "503 5.5.1 bad sequence", times=1)
        assert (await relays.send(envelope(), SOURCE)).relay_failed
        assert (await relays.send(envelope(BOB), SOURCE)).accepted == (BOB,)
        assert len(relay.connections) == 2
    assert copies(relay) == {BOB: 1}


async def test_a_connection_on_which_the_dot_got_503_is_not_used_again():
    """The content may have been read as commands."""
    async with ScriptedRelay() as relay, sending(relay.spec) as relays:
        relay.answer("DOT", "503 5.5.1 bad sequence", times=1)
        assert not (await relays.send(envelope(), SOURCE)).accepted
        assert (await relays.send(envelope(BOB), SOURCE)).accepted == (BOB,)
        assert len(relay.connections) == 2


class FirstSender(ScriptedRelay):
    """As Postfix and Exim: a second MAIL gets 503, and what follows is sent by the first."""

    def answer_to(self, verb, argument, connection):
        if verb == "DATA" and connection.envelope and connection.envelope[1]:
            return "354 end with a dot"
        return super().answer_to(verb, argument, connection)


@both_ways
async def test_after_all_were_refused_the_next_mail_has_its_own_sender(features):
    """MAIL stays open over there: RSET goes first, or the next would leave under its name."""
    async with FirstSender(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "550 5.1.1 nobody", to=BOB)
        await relays.send(envelope(BOB, sender="first@example.org"), SOURCE)
        attempt = await relays.send(envelope(sender="second@example.org"), SOURCE)
        assert attempt.accepted == (ANN,)
        assert relay.verbs().count("RSET") == 1
        assert len(relay.connections) == 1
    assert [(sender, recipients) for sender, recipients, _ in relay.received] == [
        ("second@example.org", (ANN,))
    ]


async def test_a_recipient_without_a_sender_gets_no_empty_mail():
    """MAIL is refused, RCPT and DATA are not: a dot would send nothing to somebody."""
    async with FirstSender() as relay, sending(relay.spec) as relays:
        relay.answer("MAIL", "550 5.7.1 not you", times=1)
        relay.answer("RCPT", "250 2.1.5 ok", times=1)
        relay.answer("DATA", "354 go on", times=1)
        attempt = await relays.send(envelope(), SOURCE)
        assert attempt.failures[ANN].reply == "550 5.7.1 not you"
        await relay.until(lambda: not relay.open)
        assert (await relays.send(envelope(BOB), SOURCE)).accepted == (BOB,)
    assert copies(relay) == {BOB: 1}
    assert all(content for _, _, content in relay.received)


@both_ways
async def test_recipients_in_any_order_have_their_own_replies(features):
    """Named as the envelope has them, not by the alphabet, and answered in that order."""
    order = (EVE, ANN, BOB)
    async with ScriptedRelay(features=features) as relay, sending(relay.spec) as relays:
        relay.answer("RCPT", "550 5.1.1 no eve", to=EVE)
        relay.answer("RCPT", "450 4.2.1 ann later", to=ANN)
        attempt = await relays.send(envelope(*order), SOURCE)
        named = [line for line in relay.heard if line.startswith("RCPT")]
    assert named == [f"RCPT TO:<{address}>" for address in order]
    assert attempt.failures[EVE].reply == "550 5.1.1 no eve"
    assert attempt.failures[ANN].reply == "450 4.2.1 ann later"
    assert attempt.accepted == (BOB,)
    assert attempt.stage is Stage.DOT
