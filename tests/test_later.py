"""What a report changes in a delivery: pure values, no loop, no clock."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from notifier.callbacks.events import Occasion, newest
from notifier.deliveries import Status
from notifier.errors import BeingSent, WrongState
from notifier.keys import CallbackEvent
from notifier.later import reported
from notifier.recipients import Later, LaterState, Recipient, RecipientStatus
from notifier.screening import without
from tests.deliveries import ANN, BOB, EVE, NOW, attempt, delivery, lost, sent, under_way

THEN = NOW + timedelta(hours=1)
SHORTEST = timedelta(microseconds=1)


def later(state="bounced", code="5.1.1", text="no such mailbox"):
    return Later(LaterState(state), THEN, code, text, "http")


def uncertain(**changes):
    """A delivery of which nobody knows whether a relay has it."""
    return delivery(uncertain=1, attempts=(attempt(accepted=()),), **changes)


def test_a_sent_message_stays_sent_and_says_that_it_bounced():
    """A bounce is the recipient's; the relay has taken the message all the same."""
    after = reported(sent(delivery()), ANN, later(), now=THEN)
    assert after.status is Status.SENT
    assert after.recipients[0].bounced
    assert after.recipients[0].status is RecipientStatus.ACCEPTED
    assert after.recipients[0].later == later()
    assert after.events[-1].what == "bounced"
    assert after.events[-1].detail == f"{ANN}: 5.1.1 no such mailbox"
    assert after.events[-1].by == "report:http"


def test_only_a_stronger_report_is_news():
    """A report that says no more than one before it changes nothing."""
    once = reported(sent(delivery()), ANN, later(), now=THEN)
    assert reported(once, ANN, later(), now=THEN) is once
    assert reported(once, ANN, later("delayed", "4.4.1"), now=THEN) is once
    spam = reported(sent(delivery()), ANN, later("complained", ""), now=THEN)
    assert reported(spam, ANN, later("delivered", ""), now=THEN) is spam


def test_bounced_recipient_stays_bounced():
    """A complaint before or after the bounce does not take it away."""
    for states in (("bounced", "complained"), ("complained", "bounced")):
        one = sent(delivery())
        for state in states:
            one = reported(one, ANN, later(state), now=THEN)
        assert one.recipients[0].bounced
        assert one.recipients[0].later.state is LaterState.BOUNCED


def test_a_report_is_the_newest_event_after_a_clock_step():
    """It was set back, or is a replica's that is behind: by their times both reports are told."""
    ended = THEN + timedelta(seconds=6)
    one = sent(delivery(recipients=(Recipient(ANN), Recipient(BOB))), now=ended)
    every = frozenset(CallbackEvent)
    ann = reported(one, ANN, later(), now=THEN + timedelta(seconds=5))
    assert newest(ann, every) == Occasion(CallbackEvent.BOUNCED, ended)
    bob = reported(ann, BOB, later(), now=THEN + timedelta(seconds=4))
    assert newest(bob, every) == Occasion(CallbackEvent.BOUNCED, ended + SHORTEST)
    held = uncertain(recipients=(Recipient(ANN), Recipient(BOB)), status=Status.HELD, due_at=THEN)
    half = reported(held, ANN, later(), now=NOW)
    assert newest(half, every) == Occasion(CallbackEvent.BOUNCED, THEN)
    over = reported(half, BOB, later("delivered"), now=NOW)
    assert newest(over, every) == Occasion(CallbackEvent.SENT, THEN + SHORTEST)


@pytest.mark.parametrize("state", ["delayed", "relayed", "delivered", "bounced", "complained"])
@pytest.mark.parametrize(
    "status", [Status.HELD, Status.DEFERRED, Status.QUEUED, Status.EXPIRED, Status.CANCELLED]
)
def test_any_report_settles_an_uncertain_outcome(status, state):
    """Who reports of a message has it: it is sent, and nobody sends it again."""
    after = reported(uncertain(status=status), ANN, later(state), now=THEN)
    assert after.status is Status.SENT
    assert after.finished_at == THEN
    assert after.reason == ""
    assert after.pending.recipients == ()


def test_other_recipients_stay_as_they_are():
    """The message is settled for one recipient, and still held for the other."""
    held = uncertain(recipients=(Recipient(ANN), Recipient(BOB)), status=Status.HELD)
    after = reported(held, ANN, later("delivered"), now=THEN)
    assert after.status is Status.HELD
    assert after.pending.recipients == (BOB,)


def test_a_recipient_suppressed_after_an_uncertain_attempt_may_have_the_message():
    """A report proves it for those who were in the envelope, and for a lone one after a crash."""
    several = without(lost(under_way()), {ANN: "a", BOB: "b", EVE: "c"}, THEN)
    crashed = without(delivery(status=Status.SENDING).recovered(NOW), {ANN: "bounced"}, THEN)
    for one in (several, crashed):
        assert one.status is Status.FAILED
        after = reported(one, ANN, later("delivered", "2.0.0"), now=THEN)
        assert (after.status, after.reason) == (Status.SENT, "")
        assert after.recipients[0].status is RecipientStatus.ACCEPTED
    unanswered = delivery(recipients=several.recipients, uncertain=1)
    with pytest.raises(WrongState, match="no relay took the message"):
        reported(unanswered, ANN, later("delivered"), now=THEN)


def test_while_it_is_being_sent_a_report_waits():
    """The outcome of the attempt would overwrite it."""
    with pytest.raises(BeingSent):
        reported(uncertain(status=Status.SENDING), ANN, later(), now=THEN)


def test_a_report_needs_a_recipient_that_a_relay_accepted():
    """A message that was never offered, and recipients who were refused or left out."""
    refused = Recipient(BOB, RecipientStatus.REFUSED, 550, "550 no")
    partly = replace(sent(delivery()), recipients=(*sent(delivery()).recipients, refused))
    suppressed = Recipient(ANN, RecipientStatus.SUPPRESSED)
    unsent = lost(under_way(recipients=(suppressed, Recipient(BOB))))
    for one, address in (
        (delivery(), ANN),
        (partly, BOB),
        (partly, "eve@example.org"),
        (unsent, ANN),
    ):
        with pytest.raises(WrongState):
            reported(one, address, later(), now=THEN)
