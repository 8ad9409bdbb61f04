"""
One fault at a time, at each place where there can be one (see `tests.every_place`).

Here with a stride where there are many places or each needs a process; the torture run
(`python -m tests.torture`) goes through all of them.
"""

import pytest

from tests.every_place import FAULTS, SCENARIOS, go_through, killed

MANY = "twenty messages"


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_each_failure_of_the_journal_loses_nothing(fault, scenario, tmp_path):
    """Until a run is untouched: no message lost, none sent twice without being flagged."""
    stride = 1
    if fault is killed:
        stride = 31 if scenario == MANY else 5
    elif scenario == MANY:
        stride = 7
    runs = await go_through(fault, scenario, tmp_path, stride=stride)
    assert runs > 1, "no place was reached"
