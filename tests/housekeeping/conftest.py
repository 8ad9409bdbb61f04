"""A journal of each kind for what keeps house in it."""

import pytest

from notifier.journal import journal_at


@pytest.fixture(params=["sqlite", "postgres"])
async def journal(request, tmp_path):
    url = f"sqlite:{tmp_path}/notifier.db"
    if request.param == "postgres":
        url = await request.getfixturevalue("postgres").database()
    journal = journal_at(url, data_dir="")
    await journal.open()
    yield journal
    await journal.close()
