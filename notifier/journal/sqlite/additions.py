"""New deliveries."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from notifier.deliveries import Delivery
from notifier.journal import Added, Entry, Idempotency
from notifier.journal.sqlite import repeats, rows
from notifier.journal.sqlite.books import Books
from notifier.journal.sqlite.inserts import insert
from notifier.journal.sqlite.steps import take

WAITING_ALIKE = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_collapse
    WHERE key = ? AND collapse_key = ?
"""


class Addition:
    """
    Entries made into rows by whoever asks, so that the writer has only to insert them: the
    plain ones of a batch all together.
    """

    def __init__(
        self, entries: Sequence[Entry], seq: int, books: Books, idempotency: Idempotency | None
    ) -> None:
        self.entries = entries
        self.deliveries: list[tuple[rows.Value, ...]] = []
        self.contents: list[tuple[int, bytes]] = []
        self.conversations: list[tuple[int, bytes]] = []
        self.terms: list[tuple[int, str, int]] = []
        self.spans = rows.spans(entries, seq)
        self.books = books
        self.idempotency = idempotency
        collapses = False
        for number, entry in enumerate(entries, seq):
            delivery = entry.delivery
            self.deliveries.append(rows.inserted(delivery, number))
            self.contents.append((number, entry.content))
            if delivery.attempts:
                self.conversations += rows.conversations(delivery, number)
            self.terms += rows.terms(delivery, number)
            collapses = collapses or bool(delivery.collapse_key)
        self.plain = not collapses

    def __call__(self, db: sqlite3.Connection) -> Added:
        if self.idempotency is not None:
            now = self.entries[0].delivery.created_at if self.entries else datetime.now(UTC)
            if (answer := repeats.replayed(db, self.idempotency, now)) is not None:
                return Added(answer)
        superseded: list[Delivery] = []
        for entry, row in zip(self.entries, self.deliveries, strict=True):
            superseded += _supersede(db, self.books, entry.delivery)
            insert(db, rows.INTO, [row])
        _insert_what_belongs(db, [self])
        return Added(superseded=tuple(superseded))

    def is_first(self, seen: set[repeats.Pair]) -> bool:
        """Whether nobody has used its idempotency key, if it has one; from here on it is seen."""
        if self.idempotency is None:
            return True
        pair = repeats.pair(self.idempotency)
        if pair in seen:
            return False
        seen.add(pair)
        return True

    @staticmethod
    def together(db: sqlite3.Connection, additions: "Sequence[Addition]") -> Added:
        """All of these at once, their keys new; the answer is the same for each."""
        insert(db, rows.INTO, [row for each in additions for row in each.deliveries])
        _insert_what_belongs(db, additions)
        repeats.keep(db, [each.idempotency for each in additions if each.idempotency is not None])
        return Added()


def _insert_what_belongs(db: sqlite3.Connection, additions: Sequence[Addition]) -> None:
    insert(db, "INSERT INTO contents", [row for each in additions for row in each.contents])
    insert(db, "INSERT INTO terms", [row for each in additions for row in each.terms])
    insert(db, rows.SAY, [row for each in additions for row in each.conversations])
    for span in rows.joined(span for each in additions for span in each.spans):
        db.execute(rows.SPAN, span)
    for addition in additions:
        for entry in addition.entries:
            addition.books.move(None, entry.delivery.status)


def _supersede(db: sqlite3.Connection, books: Books, new: Delivery) -> list[Delivery]:
    if not new.collapse_key:
        return []
    step = partial(Delivery.superseded, now=new.created_at, by=new.id)
    alike = db.execute(WAITING_ALIKE, (new.key, new.collapse_key)).fetchall()
    return [take(db, books, found, step, hold=True) for found in alike]
