"""No table, column or file that may hold an address is forgotten."""

import contextlib
import sqlite3

import pytest
from msgspec.structs import replace

from notifier.erasure.in_tables import TABLES
from notifier.errors import JournalUnavailable
from notifier.journal import journal_at
from notifier.journal.sqlite import SqliteJournal
from tests.deliveries import NOW, entry

# Whole rows of messages are wiped, see `in_messages`: the record and what is derived of it.
MESSAGES = {
    "deliveries.record": "emptied",
    "deliveries.said": "follows the record",
    "deliveries.collapse_key": "NULL once it has ended",
    "contents.content": "deleted",
    "conversations.lines": "deleted",
    "terms.term": "follows the record",
    "suppressions.address": "the pseudonym takes its place",
    "suppressions.domain": "emptied with the address",
    "suppression_strikes.address": "the row is deleted",
    "suppression_strikes.domain": "the row is deleted",
}
# What holds no address, and why.
OTHERS = {
    "deliveries.id": "made by notifier",
    "deliveries.key": "the name of a key: letters, digits, - and _",
    "deliveries.status": "one of ours",
    "deliveries.route": "one of ours, and the names of relays",
    "deliveries.channel": "email or sms",
    "deliveries.relay": "the name of a relay",
    "idempotency.scope": "the name of a key",
    "idempotency.fingerprint": "a digest of the whole request",
    "callbacks.message": "the id of a message",
    "callbacks.key": "the name of a key",
    "callbacks.event": "one of ours",
    "callbacks.outcome": "one of ours",
    "callback_urls.key": "the name of a key",
    "callback_urls.sender": "the id of a process",
    "suppressions.key": "the name of a key",
    "suppressions.reason": "one of ours",
    "suppression_strikes.delivery": "the id of a message",
    "suppression_strikes.relay": "the name of a relay",
    "suppression_strikes.code": "an enhanced status code",
    "minutes.process": "the id of a process",
    "audit.what": "one of ours",
    "audit.once": "random, or the id of a key",
    "erasures.id": "random",
    "erasures.hash": "the pseudonym",
    "erasures.address": "sealed, and NULL in the end",
    "erasures.actor": "without the address",
    "erasures.state": "one of ours",
    "erasures.progress": "numbers",
    "erasure_rests.erasure": "the id of an erasure",
    "erasure_rests.message": "the id of a message",
    "erasure_shares.erasure": "the id of an erasure",
    "erasure_shares.process": "a host and a port",
    "erasure_shares.counts": "numbers",
    "tallies.status": "one of ours",
}
IN_TABLES = {
    f"{table.name}.{column}" for table in TABLES for column in (*table.texts, *table.naming)
}
COLUMNS = """
    SELECT table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = 'notifier' AND data_type IN ('text', 'bytea')
"""
TEXT_OF_SQLITE = """
    SELECT t.name || '.' || c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
    WHERE t.type = 'table' AND c.type IN ('TEXT', 'BLOB', 'ANY', '')
"""


@pytest.mark.parametrize("sql", [TEXT_OF_SQLITE, COLUMNS], ids=["sqlite", "postgres"])
async def test_each_column_is_wiped_or_holds_no_address(sql, request, tmp_path):
    """A new column of text fails this test until somebody says what becomes of it."""
    url = f"sqlite:{tmp_path}/notifier.db"
    if sql is COLUMNS:
        url = await request.getfixturevalue("postgres").database()
    journal = journal_at(url, data_dir="")
    await journal.open()
    found = {name for (name,) in await journal.query(sql)}
    await journal.close()
    known = set(MESSAGES) | set(OTHERS) | IN_TABLES
    assert found - known == set()
    assert not IN_TABLES & set(OTHERS)


async def test_pages_freed_by_an_older_version_are_overwritten(tmp_path):
    """The file is made anew, and its WAL is emptied: no octet of them is left."""
    path = tmp_path / "notifier.db"
    journal = SqliteJournal(str(path))
    await journal.open()
    await journal.add([entry(str(n), content=b"gone@example.org " * 500) for n in range(50)])
    await journal.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA secure_delete = 0")
        db.execute("DELETE FROM contents")
        db.commit()
    assert b"gone@example.org" in path.read_bytes()
    journal = SqliteJournal(str(path))
    await journal.open()
    assert await journal.overwrite() == ""
    for file in tmp_path.iterdir():
        assert b"gone@example.org" not in file.read_bytes(), file
    assert (tmp_path / "notifier.db-wal").stat().st_size == 0
    await journal.add([entry("next")])
    assert await journal.get("next") is not None
    await journal.close()


async def test_copies_of_moved_rows_are_overwritten(tmp_path):
    """SQLite leaves copies behind in a page when a row grows and its neighbours move."""
    journal = SqliteJournal(str(tmp_path / "notifier.db"))
    await journal.open()
    ids = [f"d{n}" for n in range(200)]
    subject = "for gone@example.org"
    await journal.add(
        [entry(each, subject=f"{subject} {each}", content=b"x" * 300) for each in ids]
    )

    def grown(delivery):
        return delivery.with_event(NOW, "grown", "x" * 300)

    def forgotten(delivery):
        return replace(delivery, subject="")

    for each in ids:
        await journal.amend(each, grown)
    for each in ids:
        await journal.erase(each, forgotten)
    assert await journal.overwrite() == ""
    for file in tmp_path.iterdir():
        assert b"gone@example.org" not in file.read_bytes(), file
    await journal.close()


async def test_a_search_that_still_reads_what_is_to_go_delays_the_end(tmp_path):
    """The WAL cannot be cut while somebody reads from it; asked again, it is."""
    path = tmp_path / "notifier.db"
    journal = SqliteJournal(str(path))
    await journal.open()
    await journal.add([entry("one")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM deliveries").fetchone()
        await journal.add([entry("two")])
        with pytest.raises(JournalUnavailable, match="still reads the old data"):
            await journal.overwrite()
        reader.execute("COMMIT")
    assert await journal.overwrite() == ""
    await journal.close()
