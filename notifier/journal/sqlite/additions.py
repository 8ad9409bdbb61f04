"""New deliveries, and the answers that repeated requests get."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from notifier.deliveries import Delivery
from notifier.errors import IdempotencyMismatch
from notifier.journal import Added, Entry, Idempotency
from notifier.journal.sqlite import rows
from notifier.journal.sqlite.books import Books
from notifier.journal.sqlite.rows import micros

WAITING_ALIKE = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_collapse
    WHERE key = ? AND collapse_key = ?
"""


class Addition:
    """Entries made into rows by whoever asks, so that the writer has only to insert them."""

    def __init__(self, entries: Sequence[Entry], seq: int) -> None:
        self._new = [(seq + number, entry.delivery) for number, entry in enumerate(entries)]
        self._deliveries = [rows.inserted(delivery, seq) for seq, delivery in self._new]
        self._contents = [(seq + number, entry.content) for number, entry in enumerate(entries)]
        self._terms = [term for seq, delivery in self._new for term in rows.terms(delivery, seq)]
        self._collapses = any(delivery.collapse_key for _, delivery in self._new)

    def insert(self, db: sqlite3.Connection, books: Books) -> Added:
        superseded: list[Delivery] = []
        if self._collapses:
            for (_, delivery), row in zip(self._new, self._deliveries, strict=True):
                superseded += _supersede(db, books, delivery)
                db.execute(rows.INSERT, row)
        else:
            db.executemany(rows.INSERT, self._deliveries)
        db.executemany("INSERT INTO contents VALUES (?, ?)", self._contents)
        db.executemany("INSERT INTO terms VALUES (?, ?, ?)", self._terms)
        for _, delivery in self._new:
            books.move(None, delivery.status)
        return Added(superseded=tuple(superseded))


def _supersede(db: sqlite3.Connection, books: Books, new: Delivery) -> list[Delivery]:
    if not new.collapse_key:
        return []
    superseded = []
    for seq, status, record in db.execute(WAITING_ALIKE, (new.key, new.collapse_key)).fetchall():
        before = rows.delivery(status, record)
        after = before.superseded(new.created_at, new.id)
        db.execute(rows.UPDATE, (*rows.changed(after), seq))
        books.move(before.status, after.status)
        superseded.append(after)
    return superseded


def replayed(db: sqlite3.Connection, asked: Idempotency, now: datetime) -> bytes | None:
    """The answer kept under the key; None: the key is new, and is ours from here on."""
    row = db.execute(
        "SELECT fingerprint, answer FROM idempotency"
        " WHERE scope = ? AND key = ? AND expires_at > ?",
        (asked.scope, asked.key, micros(now)),
    ).fetchone()
    if row is None:
        db.execute(
            "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?)",
            (asked.scope, asked.key, asked.fingerprint, asked.answer, micros(asked.expires_at)),
        )
        return None
    fingerprint, answer = row
    if fingerprint != asked.fingerprint:
        raise IdempotencyMismatch(
            f"the idempotency key {asked.key!r} was used for a different request"
        )
    kept: bytes = answer
    return kept
