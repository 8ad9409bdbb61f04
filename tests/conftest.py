"""What tests of several modules share, and what costs too much to be made for each."""

import pytest

from tests import postgres as servers


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL server for all that ask; skipped, with the reason, where there is none."""
    cluster = servers.started()
    yield cluster
    cluster.remove()
