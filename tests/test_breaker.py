"""When a relay or a provider that fails rests, for how long, and how much it gets afterwards."""

import pytest
from msgspec.structs import replace

from notifier.attempts import Failure, Scope, Stage
from notifier.breaker import (
    AT_FIRST,
    REGROW_SECONDS,
    TAKES_SECONDS,
    Breaker,
    Rests,
    Setback,
    State,
)
from notifier.smtp.failures import setback
from tests.clocks import Clock


def failure(name, stage=Stage.CONNECT):
    return Failure(scope=Scope.RELAY, permanent=False, stage=stage, reply=name, name=name)


def breaker(clock, *, full=16, chance=0.5, slow_start=True, **rests):
    return Breaker(
        full=full, rests=Rests(**rests), clock=clock, random=lambda: chance, slow_start=slow_start
    )


def fails(tried, why, ticket=None, **more):
    """A send ends with this failure of a relay; with None it succeeds."""
    ticket = tried.begin() if ticket is None else ticket
    said = None if why is None else setback(why, takes=tried.takes)
    tried.end(ticket, said, **more)


REFUSED, WRONG_LOGIN = failure("connection_refused"), failure("auth_failed", Stage.AUTH)


@pytest.mark.parametrize(
    ("why", "needed"),
    [
        ("connection_refused", 3),
        ("dns_failed", 3),
        ("connect_timeout", 3),
        ("closing", 3),
        ("connection_lost", 3),
        ("malformed_reply", 3),
        ("unrecognised", 3),
        ("greeting_refused", 1),
        ("auth_failed", 1),
        ("auth_not_offered", 1),
        ("auth_required", 1),
        ("starttls_required", 1),
        ("relaying_denied", 1),
        ("quota_exceeded", 1),
        ("auth_unavailable", 3),
        ("not_accepting", 3),
        ("too_large", None),
        ("smtputf8_not_offered", None),
        ("tls_failed", 1),
        ("tls_certificate_expired", 1),
        ("out_of_step", None),
        ("sender_not_allowed", None),
    ],
)
def test_it_opens_after(why, needed):
    """
    What only a person can mend opens it at once, what may be chance at the third in a row,
    and what a working relay says of one message never.
    """
    tried = breaker(Clock())
    for count in range(1, 10):
        assert tried.fit
        fails(tried, failure(why))
        if count == needed:
            assert tried.state is State.OPEN
            return
    assert needed is None


def test_failures_count_only_in_a_row():
    """One success between, and it begins to count again."""
    tried = breaker(Clock())
    for _ in range(5):
        for each in (REFUSED, REFUSED, None):
            fails(tried, each)
    assert tried.state is State.CLOSED


@pytest.mark.parametrize(
    ("why", "rests"),
    [(REFUSED, [5, 10, 20, 40, 80, 160, 300, 300]), (WRONG_LOGIN, [60, 120, 240, 300, 300])],
)
def test_each_rest_is_twice_as_long(why, rests):
    """Up to five minutes; after a refused login from a minute on. One probe at a time."""
    clock = Clock()
    tried = breaker(clock)
    while tried.fit:
        fails(tried, why)
    for rest in rests:
        assert tried.left == pytest.approx(rest)
        clock.now += rest - 0.01
        assert not tried.fit
        clock.now += 0.02
        assert tried.fit
        ticket = tried.begin()
        assert tried.state is State.PROBING
        assert not tried.fit
        fails(tried, why, ticket)


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_rests_differ_by_a_fifth(chance):
    """So that many do not come back all at once."""
    clock = Clock()
    tried = breaker(clock, chance=chance)
    fails(tried, failure("tls_failed"))
    assert tried.left == pytest.approx(5 * (0.8 + 0.4 * chance))


@pytest.mark.parametrize("why", ["auth_required", "relaying_denied"])
def test_a_relay_that_takes_messages_is_not_rested_by_those_that_it_does_not_relay(why):
    """Ten minutes after a message that it took it is not believed that it takes none."""
    clock = Clock()
    tried = breaker(clock)
    tried.end(tried.begin(), None, took=True)
    for stage in (Stage.MAIL, Stage.RCPT, Stage.DOT):
        for _ in range(5):
            fails(tried, failure(why, stage))
    assert tried.state is State.CLOSED
    clock.now += TAKES_SECONDS
    fails(tried, failure(why, Stage.MAIL))
    assert tried.state is State.OPEN


@pytest.mark.parametrize("why", ["auth_required", "relaying_denied"])
def test_one_that_refuses_each_recipient_rests_for_a_short_time_each_time(why):
    """It may be the recipients: others' mail is the next probe, soon, and then it works."""
    clock = Clock()
    tried = breaker(clock)
    for _ in range(2):
        fails(tried, failure(why, Stage.RCPT))
        assert tried.state is State.CLOSED
    for _ in range(5):
        fails(tried, failure(why, Stage.RCPT))
        assert tried.left == pytest.approx(5)
        clock.now += tried.left
    tried.end(tried.begin(), None, took=True)
    assert tried.state is State.CLOSED


def test_one_connection_too_many_does_not_rest_a_relay_that_takes_messages():
    """421 as a greeting, while other connections work: as any failure, only three in a row."""
    clock = Clock()
    tried = breaker(clock)
    busy = replace(failure("greeting_refused", Stage.GREETING), code=421)
    tried.end(tried.begin(), None, took=True)
    for _ in range(4):
        fails(tried, busy, asks_for_less=True)
        tried.end(tried.begin(), None, took=True)
        assert tried.state is State.CLOSED
    assert tried.capacity == 1
    for _ in range(3):
        assert tried.state is State.CLOSED
        fails(tried, busy)
    assert tried.state is State.OPEN
    fresh = breaker(clock)
    fails(fresh, busy)
    assert fresh.state is State.OPEN


def test_a_quota_reply_at_the_dot_is_about_the_relay():
    """Three refusals for it in a row make the relay rest, also if it has just taken a message."""
    tried = breaker(Clock())
    tried.end(tried.begin(), None, took=True)
    for _ in range(3):
        assert tried.state is State.CLOSED
        fails(tried, failure("quota_exceeded", Stage.DOT))
    assert tried.state is State.OPEN


def test_those_that_fail_together_are_one_failure():
    """Sixteen under way when it opens do not make it rest for a day; nor can one close it."""
    clock = Clock()
    tried = breaker(clock)
    tickets = [tried.begin() for _ in range(17)]
    for ticket in tickets[:-1]:
        fails(tried, REFUSED, ticket)
    assert tried.left == pytest.approx(5)
    tried.end(tickets[-1], None)
    assert tried.state is State.OPEN


def test_after_a_probe_it_gets_more_step_by_step():
    """One, and with every success one more at a time, up to all of them."""
    clock = Clock()
    tried = breaker(clock, full=4)
    fails(tried, failure("tls_failed"))
    clock.now += 10
    tried.end(tried.begin(), None)
    seen = [tried.capacity]
    for _ in range(5):
        tried.end(tried.begin(), None)
        seen.append(tried.capacity)
    assert seen == [1, 2, 3, 4, 4, 4]
    fails(tried, failure("tls_failed"))
    assert tried.left == pytest.approx(5)  # it begins anew


def test_a_probe_that_we_gave_up_shows_nothing():
    """Cancelled by ourselves: the next one may try at once."""
    clock = Clock()
    tried = breaker(clock)
    fails(tried, failure("tls_failed"))
    clock.now += 10
    tried.forget(tried.begin())
    assert tried.fit


def test_a_relay_that_asks_for_less_gets_half_and_slowly_more():
    """Eight throttled at a time halve it once. Then it gets one more a minute."""
    clock = Clock()
    tried = breaker(clock, full=16)
    for _ in range(16):
        tried.end(tried.begin(), None)
    assert tried.capacity == 16
    for ticket in [tried.begin() for _ in range(8)]:
        tried.end(ticket, None, asks_for_less=True)
    assert tried.capacity == 8
    for _ in range(10):
        tried.end(tried.begin(), None)
    assert tried.capacity == 8
    for wanted in range(9, 17):
        clock.now += REGROW_SECONDS
        for _ in range(3):
            tried.end(tried.begin(), None)
        assert tried.capacity == wanted


def test_failures_under_way_do_not_lengthen_a_rest():
    """Eight requests that fail together are one outage; asking for more time counts."""
    clock = Clock()
    tried = breaker(clock, full=8)
    tickets = [tried.begin() for _ in range(9)]
    for ticket in tickets[:-1]:
        tried.end(ticket, Setback(at_once=True))
    assert tried.left == 5
    clock.now += 1
    tried.end(tickets[-1], Setback(at_once=True, at_least=60))
    assert tried.left == 60
    clock.now += 59
    assert not tried.fit
    clock.now += 1
    assert tried.fit
    tried.end(tried.begin(), Setback())
    assert tried.left == 10


def test_one_that_does_not_start_slowly_gets_everything_once_it_works():
    """A provider gets all of its requests at a time at first, and again after a rest."""
    clock = Clock()
    tried = breaker(clock, full=8, slow_start=False)
    assert tried.capacity == 8
    tried.end(tried.begin(), Setback(at_once=True))
    clock.now += tried.left
    tried.end(tried.begin(), None)
    assert (tried.state, tried.capacity) == (State.CLOSED, 8)


def test_one_that_a_person_says_works_begins_anew():
    """What it had failed with before, and what was under way, counts no more."""
    clock = Clock()
    tried = breaker(clock)
    before = tried.begin()
    tried.end(tried.begin(), Setback(at_once=True))
    tried.reset()
    assert tried.fit
    tried.end(before, Setback(at_once=True))
    assert tried.state is State.CLOSED
    tried.end(tried.begin(), Setback(at_once=True))
    assert tried.left == 5


def test_a_relay_starts_slowly():
    """Of one that nothing is known of, few are asked at a time."""
    assert breaker(Clock()).capacity == AT_FIRST
    assert breaker(Clock(), full=2).capacity == 2
