"""A journal of each kind."""

import pytest

from notifier.journal import journal_at
from notifier.journal.sqlite import SqliteJournal


@pytest.fixture(params=["sqlite", "postgres"])
async def journal_here(request, tmp_path):
    """Makes another journal object, on the same journal each time."""
    if request.param == "sqlite":
        return lambda: SqliteJournal(str(tmp_path / "journal" / "notifier.db"))
    url = await request.getfixturevalue("postgres").database()
    return lambda: journal_at(url, data_dir="")


@pytest.fixture
async def journal(journal_here):
    journal = journal_here()
    await journal.open()
    yield journal
    await journal.close()
