"""The life of a delivery: pure values, no loop, no clock."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from notifier.attempts import Acceptance, Attempt, Failure, Scope, Stage
from notifier.deliveries import (
    KEPT_FIRST,
    KEPT_LAST,
    MAX_UNCERTAIN,
    OnUncertain,
    Status,
)
from notifier.errors import WrongState
from notifier.recipients import Recipient, RecipientStatus
from tests.deliveries import ANN, BOB, EVE, NOW, under_way

LATER = NOW + timedelta(minutes=1)


def attempt(*accepted, uncertain=False, **failures):
    """An attempt; failures by first name: scope, permanent, code."""
    addresses = {"ann": ANN, "bob": BOB, "eve": EVE}
    return Attempt(
        relay="r",
        started_at=NOW,
        seconds=0.1,
        stage=Stage.DOT,
        code=250,
        reply="250 taken",
        accepted=accepted,
        uncertain=uncertain,
        failures={
            addresses[name]: Failure(
                scope=scope, permanent=permanent, stage=Stage.RCPT, reply=f"{code} no", code=code
            )
            for name, (scope, permanent, code) in failures.items()
        },
    )


def after(start, tried):
    return start.after(tried, retry_at=LATER, now=NOW)


def test_is_sent_when_all_are_accepted():
    """A delivery that every recipient's relay took is sent, and says when."""
    sent = after(under_way(), attempt(ANN, BOB, EVE))
    assert sent.status is Status.SENT
    assert sent.finished_at == NOW
    assert not sent.partial
    assert {each.reply for each in sent.recipients} == {"250 taken"}
    assert sent.tries == 1


def test_one_refused_recipient_makes_it_partial():
    """F28: accepted ones have it, the refused one keeps its reply, nobody is tried again."""
    sent = after(under_way(), attempt(ANN, EVE, bob=(Scope.RECIPIENT, True, 550)))
    assert sent.status is Status.SENT
    assert sent.partial
    assert sent.recipients[1] == Recipient(BOB, RecipientStatus.REFUSED, 550, "550 no")
    assert sent.pending.recipients == ()


def test_only_deferred_recipients_are_tried_again():
    """F27: the next envelope holds neither the accepted nor the refused."""
    deferred = after(
        under_way(),
        attempt(ANN, bob=(Scope.RECIPIENT, False, 451), eve=(Scope.RECIPIENT, True, 550)),
    )
    assert deferred.status is Status.DEFERRED
    assert deferred.due_at == LATER
    assert deferred.pending.recipients == (BOB,)


def test_accepted_recipient_stays_accepted():
    """An accepted recipient never gets it again, and keeps the reply of the relay that took it."""
    tried = attempt(ANN, bob=(Scope.RELAY, False, 530), ann=(Scope.RELAY, False, 530))
    words = {ANN: Acceptance("250 the other one", 250)}
    deferred = after(under_way(), replace(tried, acceptances=words))
    assert deferred.recipients[0] == Recipient(
        ANN, RecipientStatus.ACCEPTED, 250, "250 the other one"
    )
    assert deferred.pending.recipients == (BOB, EVE)


def test_the_reason_is_of_a_recipient_that_waits():
    """Not that somebody else has it already."""
    deferred = after(under_way(), attempt(ANN, EVE, bob=(Scope.RECIPIENT, False, 451)))
    assert deferred.reason == "451 no"


def test_fails_when_all_are_refused():
    """A message refused for good fails at once, with the relay's words as the reason."""
    no = (Scope.MESSAGE, True, 554)
    failed = after(under_way(), replace(attempt(ann=no, bob=no, eve=no), reply="554 spam"))
    assert failed.status is Status.FAILED
    assert failed.reason == "554 spam"


def test_a_permanent_fault_of_the_relay_loses_no_recipient():
    """535 is permanent, and yet no recipient is lost nor the message charged."""
    no = (Scope.RELAY, True, 535)
    waiting = after(under_way(), attempt(ann=no, bob=no, eve=no))
    assert waiting.status is Status.DEFERRED
    assert waiting.tries == 0
    assert not waiting.attempts[0].charged
    assert waiting.pending.recipients == (ANN, BOB, EVE)


def test_a_recipient_that_could_not_be_offered_makes_a_try_uncharged():
    """Whatever it has said of another: the message is not to be charged with its trouble."""
    tried = attempt(ann=(Scope.RELAY, False, 421), bob=(Scope.RECIPIENT, False, 450))
    assert tried.relay_failed
    assert not tried.charged


def test_the_backoff_for_a_relay_grows_and_is_reset():
    """Failures of the relay in a row make the wait longer, up to a minute. A charge resets it."""
    no = (Scope.RELAY, False, None)
    start = under_way()
    waits = []
    for _ in range(8):
        start = after(start, attempt(ann=no, bob=no, eve=no))
        waits.append(start.relay_backoff)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert after(start, attempt(ann=(Scope.RECIPIENT, False, 450))).relay_backoff == 1


def test_an_uncertain_outcome_is_counted_and_sent_again():
    """F31: nobody knows whether the relay has it: the count says so, and it is tried again."""
    doubtful = after(under_way(), attempt(uncertain=True))
    assert doubtful.status is Status.DEFERRED
    assert doubtful.uncertain == 1
    assert doubtful.tries == 1
    assert doubtful.pending.recipients == (ANN, BOB, EVE)


def test_hold_means_that_no_second_copy_leaves():
    """With on_uncertain=hold a person decides, after a lost reply and after a crash alike."""
    start = under_way(on_uncertain=OnUncertain.HOLD)
    assert after(start, attempt(uncertain=True)).status is Status.HELD
    assert start.recovered(NOW).status is Status.HELD


def test_uncertainty_ends_in_a_persons_hands():
    """F06: what was uncertain three times is held."""
    start = under_way()
    for _ in range(MAX_UNCERTAIN - 1):
        start = start.recovered(NOW)
        assert start.status is Status.QUEUED
    assert start.recovered(NOW).status is Status.HELD


def test_ends_by_age():
    """A try that would come after the expiry is not waited for; the last reply is kept."""
    start = under_way(expires_at=LATER)
    expired = after(start, attempt(ann=(Scope.RECIPIENT, False, 451)))
    assert expired.status is Status.EXPIRED
    assert "250 taken" in expired.reason
    assert expired.finished_at == NOW


def test_expiry_keeps_the_recipients_that_have_the_message():
    """If some have the message when time is up, it is sent, in part."""
    start = under_way(expires_at=LATER)
    over = after(start, attempt(ANN, bob=(Scope.RECIPIENT, False, 451)))
    assert over.status is Status.SENT
    assert over.partial


def test_a_person_can_try_again_without_repeating():
    """A retry forgives who was refused, and leaves alone who has it."""
    no = (Scope.RECIPIENT, True, 550)
    sent = after(under_way(), attempt(ANN, bob=no, eve=no))
    again = replace(sent, expires_at=NOW).retried(LATER)
    assert again.status is Status.QUEUED
    assert again.pending.recipients == (BOB, EVE)
    assert again.expires_at == LATER
    assert again.finished_at is None


@pytest.mark.parametrize(("tried", "status"), [(False, Status.QUEUED), (True, Status.DEFERRED)])
def test_released_delivery_is_unchanged(tried, status):
    """A claimed delivery that no worker came to is queued or deferred again, uncounted."""
    start = under_way(attempts=(attempt(),) if tried else ())
    assert start.released() == replace(start, status=status)


def test_remembers_first_and_last_attempts():
    """Attempts do not grow without end: the first and the last are kept, the rest counted."""
    start = under_way()
    for number in range(50):
        tried = replace(attempt(ann=(Scope.RECIPIENT, False, 451)), seconds=float(number))
        start = after(start, tried)
    assert len(start.attempts) == KEPT_FIRST + KEPT_LAST
    assert start.attempts_dropped == 30
    assert [each.seconds for each in start.attempts[:3]] == [0, 1, 2]
    assert start.attempts[-1].seconds == 49
    assert start.tries == 50


def test_remembers_first_and_last_events():
    """Events do not grow without end either, whatever they are of."""
    start = under_way(status=Status.QUEUED)
    for number in range(1000):
        start = start.hurried(NOW + timedelta(seconds=number))
    assert len(start.events) == KEPT_FIRST + KEPT_LAST
    assert start.events_dropped == 980
    assert [(each.at - NOW).seconds for each in start.events[:4]] == [0, 1, 2, 983]
    ended = start.recovered(NOW).cancelled(LATER).retried(LATER)
    assert [each.what for each in ended.events[-3:]] == ["recovered", "cancelled", "retried"]
    assert ended.events_dropped == 983


@pytest.mark.parametrize("status", [Status.SENDING, Status.SENT])
@pytest.mark.parametrize("change", ["retried", "cancelled", "hurried"])
def test_delivery_under_way_or_done_is_not_touched(status, change):
    """F44: once it is on its way nobody can call it off, hurry it or repeat it."""
    with pytest.raises(WrongState):
        getattr(under_way(status=status), change)(NOW)


def test_held_delivery_can_be_cancelled():
    """A person who does not want a second copy cancels what waits for their word."""
    held = under_way(status=Status.HELD, reason="the relay may have it already")
    cancelled = held.cancelled(LATER)
    assert cancelled.status is Status.CANCELLED
    assert cancelled.finished_at == LATER


def test_each_further_life_is_as_long_as_the_first():
    """A message that is retried again and again does not live longer each time."""
    life, now = under_way(), NOW
    for _ in range(5):
        now = life.expires_at
        life = life.expired(now).retried(now)
        assert life.expires_at == now + timedelta(hours=1)


def test_it_should_leave_from_its_acceptance_its_time_or_a_persons_word_on():
    """So a wait is measured from there: not from when somebody scheduled it, days before."""
    accepted = under_way(status=Status.QUEUED)
    assert accepted.wanted_at == NOW
    scheduled = replace(accepted, status=Status.SCHEDULED, send_at=LATER)
    assert scheduled.wanted_at == LATER
    earlier, later = NOW + timedelta(seconds=1), LATER + timedelta(seconds=1)
    assert scheduled.hurried(earlier).wanted_at == earlier
    assert scheduled.hurried(later).wanted_at == LATER
    retried = scheduled.cancelled(earlier).retried(later)
    assert retried.wanted_at == later
    latest = later + timedelta(seconds=1)
    assert retried.cancelled(latest).retried(latest).wanted_at == latest


def test_a_retry_by_hand_begins_the_schedule_anew():
    """Its tries are forgotten, so that the next failure waits as long as a first one."""
    failed = under_way(status=Status.FAILED, tries=7)
    assert failed.retried(LATER).tries == 0
