"""
The limit: SQLite that takes each message, hands it out, and notes that it was sent, durably.

    python -m tests.benchmarks.apps.bare_journal --folder FOLDER --count 20000

The two tables and the one index that this needs at least, and as many messages a transaction as
clients of the benchmark wait at a time, at most 4 MB of them. It prints seconds and seconds of CPU
as JSON.
"""

import argparse
import json
import sqlite3
import time
from pathlib import Path

TOGETHER = 32  # messages a transaction
TOGETHER_BYTES = 4_000_000  # of contents, at most
SCHEMA = """
CREATE TABLE messages (id INTEGER PRIMARY KEY, status TEXT, due INTEGER, record BLOB);
CREATE TABLE contents (id INTEGER PRIMARY KEY, content BLOB);
CREATE INDEX waiting ON messages (due) WHERE status = 'queued';
"""
RECORD = b"r" * 400


def main(arguments):
    db = sqlite3.connect(arguments.folder / "journal.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = wal")
    db.execute("PRAGMA synchronous = full")
    db.executescript(SCHEMA)
    content = b"c" * arguments.bytes
    together = min(TOGETHER, TOGETHER_BYTES // arguments.bytes)
    begun, spent = time.monotonic(), time.process_time()
    for start in range(0, arguments.count, together):
        numbers = range(start, min(start + together, arguments.count))
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO messages VALUES (?, 'queued', ?, ?)", [(n, n, RECORD) for n in numbers]
        )
        db.executemany("INSERT INTO contents VALUES (?, ?)", [(n, content) for n in numbers])
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        claimed = db.execute(
            "UPDATE messages SET status = 'sending' WHERE id IN (SELECT id FROM messages"
            " WHERE status = 'queued' ORDER BY due LIMIT ?) RETURNING id, record,"
            " (SELECT content FROM contents WHERE contents.id = messages.id)",
            (together,),
        ).fetchall()
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "UPDATE messages SET status = 'sent', record = ? WHERE id = ?",
            [(record, number) for number, record, _ in claimed],
        )
        db.execute("COMMIT")
    print(json.dumps({"seconds": time.monotonic() - begun, "cpu": time.process_time() - spent}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.benchmarks.apps.bare_journal")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=500, help="of a content")
    main(parser.parse_args())
