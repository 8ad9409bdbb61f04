"""What is left of a message once a person is forgotten."""

import pytest
from msgspec.structs import replace

from notifier.deliveries import Status
from notifier.erasure.person import person_of
from notifier.erasure.wiping import Outcome, Wiping
from notifier.errors import BeingSent
from notifier.pseudonyms import Pseudonyms
from notifier.recipients import Recipient, RecipientStatus
from tests.deliveries import ANN, BOB, NOW, attempt, delivery

PSEUDONYMS = Pseudonyms(b"a secret")
SENT = RecipientStatus.ACCEPTED


def wiped(before, address=ANN):
    wiping = Wiping(person_of(address, PSEUDONYMS), NOW, "key:a")
    return wiping(before), wiping.outcome


def to(*addresses, **changes):
    return delivery(recipients=tuple(map(Recipient, addresses)), **changes)


def test_a_message_in_the_hands_of_a_worker_is_left_alone():
    """Its outcome would overwrite the change."""
    with pytest.raises(BeingSent):
        wiped(to(ANN, status=Status.SENDING))


def test_a_message_that_reached_a_recipient_is_sent_and_not_cancelled():
    """Whoever was still waiting is taken off; the message has reached somebody."""
    recipients = (Recipient(BOB, SENT, 250, "ok"), Recipient(ANN))
    after, outcome = wiped(delivery(recipients=recipients, status=Status.DEFERRED))
    assert (after.status, outcome) == (Status.SENT, Outcome.CANCELLED)
    assert [each.status for each in after.recipients] == [SENT, RecipientStatus.SUPPRESSED]


def test_replies_about_the_person_go_while_others_wait():
    """The conversations go, and a reply has the pseudonym; the others stay as they were."""
    said = replace(
        attempt(accepted=(ANN,)), reply=f"250 {ANN.upper()} ok", conversation=(f"C: RCPT {ANN}",)
    )
    recipients = (Recipient(ANN, SENT, 250, f"<{ANN}> ok"), Recipient(BOB, reply="450 later"))
    before = delivery(recipients=recipients, status=Status.DEFERRED, attempts=(said,))
    after, outcome = wiped(before)
    hidden = PSEUDONYMS.of(ANN)
    assert outcome is Outcome.TAKEN_OFF
    assert (after.status, after.subject) == (Status.DEFERRED, before.subject)
    assert after.pending.recipients == (BOB,)
    assert after.attempts[0].reply == f"250 {hidden} ok"
    assert (after.attempts[0].accepted, after.attempts[0].conversation) == ((hidden,), ())
    assert after.recipients[1] == recipients[1]


def test_replies_go_with_the_content():
    """A reply may name the person in another way than by the address."""
    said = replace(attempt(accepted=(ANN,)), reply="250 for Ann Lee", conversation=("S: Ann Lee",))
    told = delivery(recipients=(Recipient(ANN, SENT, 250, "Ann Lee"),), attempts=(said,))
    before = replace(told.with_event(NOW, "bounced", "Ann Lee"), status=Status.SENT)
    after, outcome = wiped(before)
    assert outcome is Outcome.MESSAGES
    assert (after.attempts[0].reply, after.attempts[0].code) == ("", said.code)
    assert "Ann Lee" not in repr(after)


def test_a_person_who_was_taken_off_is_not_asked_again():
    """A retry is for the others; the pseudonym never becomes a recipient of SMTP."""
    recipients = (Recipient(ANN), Recipient(BOB))
    after, _ = wiped(delivery(recipients=recipients, status=Status.HELD))
    assert after.status is Status.HELD
    assert after.retried(NOW).pending.recipients == (BOB,)


@pytest.mark.parametrize(
    "recipient",
    ["+12025550123", "+12025550123 (1/2)", "2025550123@txt.example.net (2/2)"],
)
def test_a_number_is_known_in_each_part_and_at_each_gateway(recipient):
    """A carrier's gateway has the national number before its `@`."""
    after, outcome = wiped(to(recipient, channel="sms"), "+1 202 555 0123")
    assert outcome is Outcome.CANCELLED
    assert after.recipients[0].address == PSEUDONYMS.of("+12025550123")


def test_pseudonyms_have_one_length_and_need_the_secret():
    """The same address has the same pseudonym, another secret makes another one."""
    other = Pseudonyms(b"another").of(ANN)
    assert PSEUDONYMS.of(ANN) == PSEUDONYMS.of(ANN) != other
    assert len({len(each) for each in (PSEUDONYMS.of("+12025550123"), other)}) == 1
