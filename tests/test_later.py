"""What a report changes in a delivery: pure values, no loop, no clock."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from notifier.deliveries import Status
from notifier.errors import BeingSent, WrongState
from notifier.later import reported
from notifier.recipients import Later, LaterState, Recipient, RecipientStatus
from tests.deliveries import ANN, BOB, NOW, attempt, delivery, sent

THEN = NOW + timedelta(hours=1)


def later(state="bounced", code="5.1.1", text="no such mailbox"):
    return Later(LaterState(state), THEN, code, text, "http")


def uncertain(**changes):
    """A delivery of which nobody knows whether a relay has it."""
    return delivery(uncertain=1, attempts=(attempt(accepted=()),), **changes)


def test_a_sent_message_stays_sent_and_says_that_it_bounced():
    """A bounce is the recipient's; the relay has taken the message all the same."""
    after = reported(sent(delivery()), ANN, later(), now=THEN)
    assert after.status is Status.SENT
    assert after.bounced
    assert after.recipients[0].status is RecipientStatus.ACCEPTED
    assert after.recipients[0].later == later()
    assert after.events[-1].what == "bounced"
    assert after.events[-1].detail == f"{ANN}: 5.1.1 no such mailbox"
    assert after.events[-1].by == "report:http"


def test_only_what_outweighs_is_news():
    """A report that says no more than one before it changes nothing."""
    once = reported(sent(delivery()), ANN, later(), now=THEN)
    assert reported(once, ANN, later(), now=THEN) is once
    assert reported(once, ANN, later("delayed", "4.4.1"), now=THEN) is once
    spam = reported(once, ANN, later("complained", ""), now=THEN)
    assert spam.recipients[0].later.state is LaterState.COMPLAINED


@pytest.mark.parametrize("state", ["delayed", "relayed", "delivered", "bounced", "complained"])
@pytest.mark.parametrize(
    "status", [Status.HELD, Status.DEFERRED, Status.QUEUED, Status.EXPIRED, Status.CANCELLED]
)
def test_any_report_settles_what_was_uncertain(status, state):
    """Who reports of a message has it: it is sent, and nobody sends it again."""
    after = reported(uncertain(status=status), ANN, later(state), now=THEN)
    assert after.status is Status.SENT
    assert after.finished_at == THEN
    assert after.reason == ""
    assert after.pending.recipients == ()


def test_those_of_whom_nothing_is_reported_stay_as_they_are():
    """The message is settled for one recipient, and still held for the other."""
    held = uncertain(recipients=(Recipient(ANN), Recipient(BOB)), status=Status.HELD)
    after = reported(held, ANN, later("delivered"), now=THEN)
    assert after.status is Status.HELD
    assert after.pending.recipients == (BOB,)


def test_while_it_is_being_sent_a_report_waits():
    """The outcome of the attempt would overwrite it."""
    with pytest.raises(BeingSent):
        reported(uncertain(status=Status.SENDING), ANN, later(), now=THEN)


def test_nobody_can_report_of_what_no_relay_has():
    """A message that was never offered, and recipients who were refused or left out."""
    refused = Recipient(BOB, RecipientStatus.REFUSED, 550, "550 no")
    partly = replace(sent(delivery()), recipients=(*sent(delivery()).recipients, refused))
    unsent = uncertain(recipients=(Recipient(ANN, RecipientStatus.SUPPRESSED),))
    for one, address in (
        (delivery(), ANN),
        (partly, BOB),
        (partly, "eve@example.org"),
        (unsent, ANN),
    ):
        with pytest.raises(WrongState):
            reported(one, address, later(), now=THEN)
