"""How long a journal's writer waits, so that more messages share a commit."""

import pytest

from notifier.journal.gathering import (
    GATHER_MOST_SECONDS,
    SEEN_BATCHES,
    SHARED_SECONDS,
    Gathering,
)


def test_a_caller_that_sends_one_message_after_the_other_does_not_wait():
    """The writer takes the next call at once while each batch has one new message."""
    gathering = Gathering()
    assert {gathering(2, 1) for _ in range(SEEN_BATCHES * 2)} == {0.0}


def test_messages_of_several_callers_share_a_commit():
    """After two new messages in one batch the writer waits, until several have had one."""
    gathering = Gathering()
    waits = [gathering(new + 1, new) for new in (2, *[1] * (SEEN_BATCHES + 1))]
    assert waits == [SHARED_SECONDS] * SEEN_BATCHES + [0.0, 0.0]


def test_outcomes_wait_less_than_messages():
    """Without new messages the wait grows with the batch, up to a limit; a single call has none."""
    gathering = Gathering()
    assert gathering(31, 30) == SHARED_SECONDS
    assert gathering(1, 0) == 0.0
    assert gathering(20, 0) == pytest.approx(0.001)
    assert gathering(500, 0) == GATHER_MOST_SECONDS < SHARED_SECONDS
