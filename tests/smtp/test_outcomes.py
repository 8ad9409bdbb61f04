"""Several offers of one envelope as one outcome: values, whatever is said in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.attempts import Acceptance, Attempt, Failure, Scope, Stage
from notifier.smtp.outcomes import LINES_KEPT, Offers
from tests.relays import ANN, BOB, EVE, envelope

ALL = (ANN, BOB, EVE)


def failure(scope, *, permanent=False):
    reply = f"{'5' if permanent else '4'}50 {scope}"
    return Failure(scope=scope, permanent=permanent, stage=Stage.RCPT, reply=reply)


def outcome(accepted=(), failures=None, *, uncertain=False, reply="250 taken"):
    return Attempt(
        Stage.DOT,
        reply,
        int(reply[:3]),
        tuple(accepted),
        failures or {},
        uncertain,
        ("C: MAIL",),
    )


def words():
    """What an offer may say of a recipient: accepted, one of the failures, or nothing."""
    failures = st.builds(
        lambda scope, permanent: failure(scope, permanent=permanent),
        st.sampled_from(Scope),
        st.booleans(),
    )
    return st.one_of(st.just("accepted"), st.none(), failures)


@st.composite
def outcomes(draw):
    """An offer as `Attempt` promises it; also one that speaks of somebody whom it did not get."""
    said = {address: draw(words()) for address in ALL}
    reply = f"250 number {draw(st.integers(0, 9))}"
    return outcome(
        [address for address, word in said.items() if word == "accepted"],
        {address: word for address, word in said.items() if isinstance(word, Failure)},
        uncertain=draw(st.booleans()) and draw(st.booleans()),
        reply=reply,
    )


@given(st.lists(outcomes(), min_size=1, max_size=5))
def test_an_accepted_recipient_is_in_no_further_envelope(told):
    """And after one of which nobody knows there is none."""
    offers = Offers(envelope(*ALL))
    accepted, doubt = {}, False
    for each in told:
        offers.add(each)
        accepted |= dict.fromkeys(each.accepted, each.reply)
        doubt = doubt or each.uncertain
        left = offers.left(lambda _: True)
        if each.uncertain:
            assert left is None
            break
        assert left is None or not accepted.keys() & set(left.recipients)
    whole = offers.as_one()
    assert set(whole.accepted) == accepted.keys()
    assert not accepted.keys() & whole.failures.keys()
    assert whole.uncertain is doubt
    for address, reply in accepted.items():
        said = whole.acceptances.get(address) or Acceptance(whole.reply, whole.code)
        assert said == Acceptance(reply, 250)


def test_final_recipient_is_not_offered_again():
    """Nor what the next one may not be asked for."""
    offers = Offers(envelope(*ALL))
    said = {
        ANN: failure(Scope.RECIPIENT, permanent=True),
        BOB: failure(Scope.RECIPIENT),
        EVE: failure(Scope.RELAY),
    }
    offers.add(outcome(failures=said))
    assert offers.left(lambda _: True).recipients == (BOB, EVE)
    assert offers.left(lambda each: each.scope is Scope.RELAY).recipients == (EVE,)
    assert offers.left(lambda _: False) is None


def test_an_acceptance_or_an_uncertain_attempt_decides():
    """Else the last; and whose offer it was."""
    offers = Offers(envelope(*ALL))
    later = failure(Scope.RELAY)
    offers.add(outcome(failures=dict.fromkeys(ALL, later), reply="421 no"), by="first")
    assert (offers.as_one().reply, offers.decided_by) == ("421 no", "first")
    offers.add(outcome([ANN], {BOB: later, EVE: later}), by="second")
    offers.add(outcome(failures={BOB: later, EVE: later}, reply="450 no"), by="third")
    assert (offers.as_one().reply, offers.decided_by) == ("250 taken", "second")
    offers.add(outcome(failures={BOB: later, EVE: later}, uncertain=True, reply="354 ?"), by="4")
    assert (offers.as_one().reply, offers.decided_by) == ("354 ?", "4")
    assert offers.as_one().acceptances == {ANN: Acceptance("250 taken", 250)}


def test_a_conversation_of_many_offers_is_kept_within_bounds():
    """Of fifty transactions the first and the last lines are kept."""
    offers = Offers(envelope(*ALL))
    for _ in range(100):
        offers.add(outcome(failures=dict.fromkeys(ALL, failure(Scope.RELAY))))
    assert len(offers.as_one().conversation) == LINES_KEPT
