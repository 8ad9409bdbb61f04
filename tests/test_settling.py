"""What a person may say became of a message."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from notifier.attempts import Failure, Scope, Stage
from notifier.deliveries import OnUncertain, Status
from notifier.errors import WrongState
from notifier.metrics import Tally
from notifier.screening import stormy, without
from notifier.settling import SettledAs, Settlement, settle, settled_by
from tests.deliveries import ANN, BOB, EVE, NOW, attempt, called_off, delivery, lost, under_way

LATER = NOW + timedelta(hours=3)
SENT, FAILED = Settlement(SettledAs.SENT, "she has it"), Settlement(SettledAs.FAILED)


def settled(one, settlement=SENT, now=LATER):
    return settle(one, now, settlement=settlement, by="key:shop")


def states(one):
    return {each.address: each.status.value for each in one.recipients}


def test_a_held_message_is_sent_because_a_person_knows_it():
    """Its recipient is accepted, with who says so; the timeline has it with the reason."""
    held = lost(delivery(status=Status.SENDING, on_uncertain=OnUncertain.HOLD))
    assert held.status is Status.HELD
    done = settled(held)
    assert (done.status, done.finished_at, done.reason) == (Status.SENT, LATER, "")
    (recipient,) = done.recipients
    assert (recipient.status, recipient.code) == ("accepted", None)
    assert recipient.reply == "settled as sent by key:shop: she has it"
    event = done.events[-1]
    assert (event.what, event.detail, event.by) == ("settled", "as sent: she has it", "key:shop")
    assert settled_by(done) is event


def test_a_deferred_message_with_an_unknown_outcome_can_be_settled():
    """Deferred after an uncertain attempt: it arrived, so no second copy leaves."""
    deferred = lost(delivery(status=Status.SENDING))
    assert deferred.status is Status.DEFERRED
    assert settled(deferred).status is Status.SENT
    assert settled(deferred, FAILED).status is Status.FAILED


def test_a_message_that_never_arrived_fails():
    """With who says so as its reason; it can be retried as any other."""
    done = settled(lost(delivery(status=Status.SENDING)), FAILED)
    assert (done.status, done.reason) == (Status.FAILED, "settled as failed by key:shop")
    assert states(done) == {ANN: "refused"}
    again = done.retried(LATER)
    assert again.status is Status.QUEUED
    assert settled_by(again) is None


def test_reply_about_a_recipient_stays():
    """Ann was accepted and Bob refused; only what became of Eve was unknown."""
    refused = Failure(
        scope=Scope.RECIPIENT, permanent=True, stage=Stage.RCPT, reply="550 who?", code=550
    )
    first = attempt(accepted=(ANN,), failures={BOB: refused})
    tried = under_way().after(first, retry_at=NOW, now=NOW)
    unknown = lost(replace(tried, status=Status.SENDING))
    sent, failed = settled(unknown), settled(unknown, FAILED)
    assert states(sent) == {ANN: "accepted", BOB: "refused", EVE: "accepted"}
    assert states(failed) == {ANN: "accepted", BOB: "refused", EVE: "refused"}
    assert (sent.status, failed.status) == (Status.SENT, Status.SENT)
    assert failed.partial
    assert sent.recipients[1].reply == "550 who?"


def test_a_suppressed_recipient_stays_suppressed():
    """Nothing was sent to Bob, whatever became of the message."""
    one = without(under_way(), {BOB: "bounced twice"}, NOW)
    expected = {ANN: "accepted", BOB: "suppressed", EVE: "accepted"}
    assert states(settled(lost(replace(one, status=Status.SENDING)))) == expected


def test_a_recipient_suppressed_after_an_uncertain_attempt_is_settled():
    """The relay may have it for Ann; `sent` says that it has."""
    tried = lost(delivery(status=Status.SENDING))
    ended = without(replace(tried, status=Status.SENDING), {ANN: "bounced"}, NOW)
    assert ended.status is Status.FAILED
    done = settled(ended)
    assert (done.status, states(done)) == (Status.SENT, {ANN: "accepted"})
    assert settled(ended, FAILED).status is Status.FAILED


def test_nothing_is_sent_where_no_recipient_can_have_it():
    """Where no attempt was made for one who was offered, those who are suppressed stay so."""
    crashed = without(under_way().recovered(NOW), {ANN: "a", BOB: "b", EVE: "c"}, NOW)
    with pytest.raises(WrongState, match="every recipient"):
        settled(crashed)
    assert settled(crashed, FAILED).status is Status.FAILED


@pytest.mark.parametrize("end", ["expired", "cancelled", "refused"])
def test_a_message_that_ended_uncertain_can_be_settled_later(end):
    """It keeps the time of its end, and says how it had ended."""
    unknown = lost(delivery(status=Status.SENDING))
    if end == "expired":
        ended = unknown.expired(NOW + timedelta(hours=1))
    elif end == "cancelled":
        ended = called_off(unknown)
    else:  # the second copy, because the relay has the first
        refusal = Failure(
            scope=Scope.MESSAGE, permanent=True, stage=Stage.DOT, reply="554 twice", code=554
        )
        again = replace(unknown, status=Status.SENDING)
        ended = again.after(attempt(accepted=(), failures={ANN: refusal}), retry_at=NOW, now=NOW)
    done = settled(ended)
    assert (done.status, done.finished_at) == (Status.SENT, ended.finished_at)
    assert states(done) == {ANN: "accepted"}
    assert f"as sent (it was {ended.status})" in done.events[-1].detail


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (delivery(), "no attempt had an uncertain outcome"),
        (delivery(status=Status.SENDING, uncertain=1), "a worker is sending the message now"),
        (called_off(delivery()), "that is cancelled cannot be settled"),
        (
            delivery(uncertain=1).after(attempt(), retry_at=NOW, now=NOW),
            "a relay has accepted it",
        ),
        (settled(called_off(delivery(uncertain=1)), FAILED), "was settled as failed"),
        (stormy(delivery(), "too many", NOW), "no attempt was made, so"),
    ],
)
def test_a_known_outcome_cannot_be_settled(one, says):
    """Each refusal says why."""
    with pytest.raises(WrongState, match=says):
        settled(one)


def test_the_time_until_a_person_decides_is_not_the_relays():
    """The histogram of waits is that of relays' answers; the message is counted as sent."""
    tally = Tally()
    tally.count(settled(lost(delivery(status=Status.SENDING))))
    assert tally.ended["email", "sent"] == 1
    assert tally.wait_seconds.total == 0
