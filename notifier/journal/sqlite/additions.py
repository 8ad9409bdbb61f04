"""New deliveries, and the idempotency keys under which they came."""

import sqlite3
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

from notifier.deliveries import WAITING, Delivery, Status
from notifier.errors import IdempotencyMismatch
from notifier.journal import Added, Entry, Idempotency
from notifier.journal.rows import Value, changing, lasting, micros, terms
from notifier.journal.sqlite import contents, rows
from notifier.journal.sqlite.changes import change_one
from notifier.journal.sqlite.counts import StatusCounts

WAITING_ALIKE = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_collapse
    WHERE key = ? AND collapse_key = ? AND seq < ?
"""
USED_KEYS = "SELECT scope, key FROM idempotency WHERE (scope, key) IN (VALUES {rows})"
KEEP_KEYS = "INSERT OR REPLACE INTO idempotency VALUES {rows}"
ANSWER = """
    SELECT fingerprint, answer FROM idempotency WHERE scope = ? AND key = ? AND expires_at > ?
"""

KeyName: TypeAlias = tuple[str, str]  # scope, key


class Addition:
    """
    New entries, made into rows in the caller's thread, so that the writer only inserts them. Simple
    additions of a batch are inserted together.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        seq: int,
        counts: StatusCounts,
        idempotency: Idempotency | None,
    ) -> None:
        self.entries = entries
        self.counts = counts
        self.idempotency = idempotency
        self.key_name = None if idempotency is None else (idempotency.scope, idempotency.key)
        self.deliveries: list[tuple[Value, ...]] = []
        self.contents: list[tuple[int, bytes]] = []
        self.conversations: list[tuple[int, bytes]] = []
        self.terms: list[tuple[int, str, int]] = []
        self.created: list[tuple[int, int]] = []
        self.collapsing: list[tuple[int, Delivery]] = []
        for number, entry in enumerate(entries, seq):
            delivery = entry.delivery
            unchanging = lasting(delivery)
            self.deliveries.append((*changing(delivery), *unchanging, number))
            self.contents.append((number, entry.content))
            if delivery.attempts:
                self.conversations += rows.conversations(delivery, number)
            bucket = number >> rows.BUCKET_BITS
            self.terms += [(bucket, term, number) for term in terms(delivery)]
            self.created.append((number, unchanging[-1]))
            if delivery.collapse_key and delivery.status in WAITING:
                self.collapsing.append((number, delivery))

    def __call__(self, db: sqlite3.Connection) -> Added:
        """
        Add these entries alone: the idempotency key may have been used, and entries may supersede
        others.
        """
        if self.idempotency is not None and self.key_name is not None:
            now = self.entries[0].delivery.created_at if self.entries else datetime.now(UTC)
            answer = answer_kept(db, self.key_name, self.idempotency.fingerprint, now)
            if answer is not None:
                return Added(answer)
        insert_all(db, [self])
        superseded = [
            each for seq, new in self.collapsing for each in _supersede(db, self.counts, seq, new)
        ]
        return Added(superseded=tuple(superseded))


def insert_all(
    db: sqlite3.Connection, additions: Sequence[Addition], claimed: Collection[int] = ()
) -> None:
    """Insert all entries; those with the numbers `claimed` as a claim would leave them."""
    deliveries = [row for each in additions for row in each.deliveries]
    if claimed:
        deliveries = [_claimed(row) if row[-1] in claimed else row for row in deliveries]
    rows.run_rows(db, rows.INSERT, deliveries)
    contents.insert(db, [row for each in additions for row in each.contents])
    terms = [row for each in additions for row in each.terms]
    rows.run_rows(db, "INSERT INTO terms VALUES {rows}", terms)
    if conversations := [row for each in additions for row in each.conversations]:
        rows.run_rows(db, rows.INSERT_CONVERSATIONS, conversations)
    for span in rows.spans(each for addition in additions for each in addition.created):
        db.execute(rows.INSERT_SPAN, span)
    keys: list[tuple[Value, ...]] = [
        (asked.scope, asked.key, asked.fingerprint, asked.answer, micros(asked.expires_at))
        for each in additions
        if (asked := each.idempotency) is not None
    ]
    rows.run_rows(db, KEEP_KEYS, keys)
    for addition in additions:
        for (seq, _), entry in zip(addition.contents, addition.entries, strict=True):
            if seq in claimed:
                addition.counts.add_claimed(entry.delivery)
            else:
                addition.counts.change(None, entry.delivery)


def _claimed(row: tuple[Value, ...]) -> tuple[Value, ...]:
    _, route, relay, _, _, _, *others = row  # see CHANGING
    return (Status.SENDING.value, route, relay, None, None, None, *others)


def answer_kept(
    db: sqlite3.Connection, name: KeyName, fingerprint: bytes, now: datetime
) -> bytes | None:
    """The answer kept under the key. None: the key is free. Raises IdempotencyMismatch."""
    row: tuple[bytes, bytes] | None = db.execute(ANSWER, (*name, micros(now))).fetchone()
    if row is None:
        return None
    kept_for, answer = row
    if kept_for != fingerprint:
        raise IdempotencyMismatch(name[1])
    return answer


def _supersede(
    db: sqlite3.Connection, counts: StatusCounts, seq: int, new: Delivery
) -> list[Delivery]:
    """Supersede earlier deliveries only: also among several in one call, the last one remains."""
    alike = db.execute(WAITING_ALIKE, (new.key, new.collapse_key, seq)).fetchall()
    change = partial(Delivery.superseded, now=new.created_at, by=new.id)
    return [change_one(db, counts, found, change, hold=True) for found in alike]
