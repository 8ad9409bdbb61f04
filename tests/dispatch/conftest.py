"""Fixtures of the dispatcher's tests."""

import pytest

from notifier.journal.sqlite import SqliteJournal


@pytest.fixture
async def journal(tmp_path):
    journal = SqliteJournal(str(tmp_path / "journal.db"))
    await journal.open()
    yield journal
    await journal.close()
