"""When to try retry."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.deliveries import Status
from notifier.errors import WrongState
from notifier.retries import RetryPolicy, retry
from tests.deliveries import delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("tries", "wait"), [(0, 10), (1, 10), (2, 60), (3, 3600), (99, 3600)])
def test_follows_the_schedule_and_repeats_its_last_step(tries, wait):
    """The n-th step follows the n-th charged try; the last is repeated."""
    policy = RetryPolicy(schedule=(10, 60, 3600), random=lambda: 0.5)
    assert (policy.next_try(tries=tries, now=NOW) - NOW).total_seconds() == wait


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 50))
def test_spreads_by_a_fifth(random, tries):
    """Jitter keeps within 20 % either way, so that a crowd does not come back at once."""
    policy = RetryPolicy(schedule=(100,), random=lambda: random)
    assert 80 <= (policy.next_try(tries=tries, now=NOW) - NOW).total_seconds() <= 120


def test_content_can_be_retried_until_its_retention_after_the_end_is_over():
    """What was handed in long before it ended counts from its end."""
    ended = NOW + timedelta(days=9)
    failed = delivery(status=Status.FAILED, created_at=NOW, finished_at=ended)
    kept = timedelta(days=7)
    almost = ended + kept - timedelta(seconds=1)
    assert retry(failed, almost, kept=kept).status is Status.QUEUED
    with pytest.raises(WrongState, match="NOTIFIER_BODY_RETENTION"):
        retry(failed, ended + kept, kept=kept)
