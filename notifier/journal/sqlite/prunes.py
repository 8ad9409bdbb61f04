"""Dropping what nobody asks for any more, a little at a time."""

import sqlite3
from collections import Counter

from notifier.journal.sqlite import rows
from notifier.journal.sqlite.books import Books

ENDED = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_finished
    WHERE stripped IN (0, 1) AND finished_at < ? LIMIT ?
"""
STRIP = """
    UPDATE deliveries SET stripped = 1 WHERE seq IN (
        SELECT seq FROM deliveries INDEXED BY deliveries_finished
        WHERE stripped = 0 AND finished_at < ? ORDER BY finished_at LIMIT ?
    ) RETURNING seq
"""
KEYS = """
    DELETE FROM idempotency WHERE rowid IN (
        SELECT rowid FROM idempotency WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
    )
"""
SPANS = """
    DELETE FROM spans WHERE bucket < (SELECT ifnull(min(seq), 0) >> 10 FROM deliveries)
"""


def prune(
    db: sqlite3.Connection,
    books: Books,
    limit: int,
    finished_before: int,
    bodies_before: int,
    now: int,
) -> int:
    """How many rows went. Times in microseconds."""
    gone = _drop_deliveries(db, books, finished_before, limit)
    gone += _drop_contents(db, db.execute(STRIP, (bodies_before, limit)).fetchall())
    return gone + db.execute(KEYS, (now, limit)).rowcount


def _drop_deliveries(db: sqlite3.Connection, books: Books, before: int, limit: int) -> int:
    ended = db.execute(ENDED, (before, limit)).fetchall()
    if not ended:
        return 0
    deliveries = [(seq, rows.delivery(db, seq, status, record)) for seq, status, record in ended]
    db.executemany(
        "DELETE FROM terms WHERE bucket = ? AND term = ? AND seq = ?",
        [term for seq, each in deliveries for term in rows.terms(each, seq)],
    )
    _drop_contents(db, [(seq,) for seq, _ in deliveries])
    db.executemany(rows.FORGET, [rows.places(seq) for seq, _ in deliveries])
    db.executemany("DELETE FROM deliveries WHERE seq = ?", [(seq,) for seq, _ in deliveries])
    db.execute(SPANS)
    for status, count in Counter(status for _, status, _ in ended).items():
        books.move(books.known(status), None, count)
    return len(ended)


def _drop_contents(db: sqlite3.Connection, seqs: list[tuple[int]]) -> int:
    return db.executemany("DELETE FROM contents WHERE seq = ?", seqs).rowcount if seqs else 0
