"""The public IDs of messages."""

from datetime import timedelta

from notifier.clock import utc_now
from notifier.intake.submission import new_id


def test_no_id_is_made_twice():
    """Also not when new random octets are drawn from the system."""
    now = utc_now()
    ids = {new_id(now) for _ in range(1000)}
    assert len(ids) == 1000
    assert len({id[12:] for id in ids}) == 1000


def test_ids_sort_by_time():
    """Those of a later millisecond come after all others."""
    now = utc_now()
    assert new_id(now) < new_id(now + timedelta(milliseconds=1))
