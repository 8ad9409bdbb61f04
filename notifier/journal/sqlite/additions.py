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
from notifier.journal.sqlite.rows import SPAN_MICROS, StatusCounts

WAITING_ALIKE = """
    SELECT seq, status, record FROM deliveries INDEXED BY deliveries_collapse
    WHERE key = ? AND collapse_key = ? AND seq < ?
"""
USED_KEYS = "SELECT scope, key FROM idempotency WHERE (scope, key) IN (VALUES {rows})"
KEEP_KEYS = "INSERT OR REPLACE INTO idempotency VALUES {rows}"
ANSWER = """
    SELECT fingerprint, answer FROM idempotency WHERE scope = ? AND key = ? AND expires_at > ?
"""

SENDING = Status.SENDING.value
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
        self.contents: list[tuple[int, bytearray]] = []
        self.large: list[tuple[int, Entry]] = []  # whose contents are written by themselves
        self.conversations: list[tuple[int, bytes]] = []
        self.terms: list[tuple[int, str, int]] = []
        self.spans: list[tuple[int, int, int]] = []
        self.collapsing: list[tuple[int, Delivery]] = []
        for number, entry in enumerate(entries, seq):
            delivery = entry.delivery
            created_at = micros(delivery.created_at)
            self.deliveries.append((*changing(delivery), *lasting(delivery), created_at, number))
            if len(entry.content) <= contents.LARGE_BYTES:
                self.contents.append((number, bytearray(entry.content)))
            else:
                self.large.append((number, entry))
            if delivery.attempts:
                self.conversations += rows.conversations(delivery, number)
            bucket = number >> rows.BUCKET_BITS
            self.terms += [(bucket, term, number) for term in terms(delivery)]
            minute = created_at - created_at % SPAN_MICROS
            self.spans.append((bucket, minute, minute + SPAN_MICROS))
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
        insert_all(db, self.counts, [self])
        superseded = [
            each for seq, new in self.collapsing for each in _supersede(db, self.counts, seq, new)
        ]
        return Added(superseded=tuple(superseded))


def insert_all(
    db: sqlite3.Connection,
    counts: StatusCounts,
    additions: Sequence[Addition],
    claimed: Collection[int] = (),
) -> None:
    """Insert all entries; those with the numbers `claimed` as a claim would leave them."""
    deliveries = [row for each in additions for row in each.deliveries]
    if claimed:
        deliveries = [_claimed(row) if row[-1] in claimed else row for row in deliveries]
    rows.run_rows(db, rows.INSERT, deliveries)
    rows.run_rows(db, contents.INSERT, [row for each in additions for row in each.contents])
    for seq, entry in [row for each in additions for row in each.large]:
        contents.insert_large(db, seq, entry.content)
    terms = [row for each in additions for row in each.terms]
    rows.run_rows(db, "INSERT INTO terms VALUES {rows}", terms)
    if conversations := [row for each in additions for row in each.conversations]:
        rows.run_rows(db, rows.INSERT_CONVERSATIONS, conversations)
    # Whole minutes, so that most deliveries of a batch have the same, and few commits change it.
    rows.run_rows(db, rows.INSERT_SPANS, [*{row for each in additions for row in each.spans}])
    keys: list[tuple[Value, ...]] = [
        (
            asked.scope,
            asked.key,
            bytearray(asked.fingerprint),
            bytearray(asked.answer),
            micros(asked.expires_at),
        )
        for each in additions
        if (asked := each.idempotency) is not None
    ]
    rows.run_rows(db, KEEP_KEYS, keys)
    new = [
        (row[-1], entry.delivery)
        for each in additions
        for row, entry in zip(each.deliveries, each.entries, strict=True)
    ]
    counts.change(None, [delivery for seq, delivery in new if seq not in claimed])
    if claimed:
        counts.add_claimed([delivery for seq, delivery in new if seq in claimed])


def _claimed(row: tuple[Value, ...]) -> tuple[Value, ...]:
    _, route, relay, _, _, _, *others = row  # see CHANGING
    return (SENDING, route, relay, 0, 0, "", *others)


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
