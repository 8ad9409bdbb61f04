"""
Deliveries as rows in SQL, many rows by few statements, and what the writer knows of the rows
without asking. sqlite3 gives up the interpreter's lock at each step of a statement, and gets it
back only when the loop lets it: with a statement for each row the writer would wait hundreds of
times for one commit.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import TypeAlias

from notifier.deliveries import WAITING, Delivery, Status
from notifier.errors import MessageNotFound
from notifier.journal import rows
from notifier.journal.rows import CHANGING, LASTING, Unreadable, Value, known_status, micros, stored
from notifier.journal.statements import Row, Statement, by_sql

Found: TypeAlias = tuple[int, str, bytes]  # seq, status, record

BUCKET_BITS = 10  # see schema.sql
NUMBER_BITS = 20  # see schema_2.sql
SPAN_MICROS = 60_000_000

# In each statement for many rows, {rows} stands for their values.
_COLUMNS = (*CHANGING, *LASTING, "seq")
INSERT = f"""
    INSERT OR ROLLBACK INTO deliveries ({", ".join(_COLUMNS)})
    SELECT {", ".join(stored(name, f"column{n}") for n, name in enumerate(_COLUMNS, 1))}
    FROM (VALUES {{rows}})
"""  # noqa: S608  constant
UPDATE = f"""
    UPDATE deliveries
    SET {", ".join(f"{name} = {stored(name, f'?{n}')}" for n, name in enumerate(CHANGING, 1))}
    WHERE seq = ?{len(CHANGING) + 1}
"""  # noqa: S608  constant
# The columns without the record, which cannot be read and is left as it is.
UPDATE_UNREADABLE = """
    UPDATE deliveries SET
        status = ?, due_at = NULL, expires_at = NULL, collapse_key = NULL, finished_at = ?,
        held_at = ?
    WHERE seq = ?
"""
ONE = "SELECT seq, status, record FROM deliveries WHERE id = ?"
COLUMNS = "SELECT id, key, route, priority, channel, created_at FROM deliveries WHERE seq = ?"
CONVERSATIONS = "SELECT place, lines FROM conversations WHERE place >= ? AND place < ?"
INSERT_CONVERSATIONS = "INSERT OR REPLACE INTO conversations VALUES {rows}"
INSERT_SPANS = """
    INSERT INTO spans VALUES {rows} ON CONFLICT (bucket) DO UPDATE
    SET first = min(first, excluded.first), last = max(last, excluded.last)
    WHERE excluded.first < first OR excluded.last > last
"""

# Rows of one statement: so there are few different statements, and sqlite3 keeps them prepared.
CHUNKS = (64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1)


def run_rows(
    db: sqlite3.Connection, sql: str, rows: Sequence[tuple[Value, ...]]
) -> list[sqlite3.Cursor]:
    """Carry out a statement for these rows, in a few portions. Returns a cursor of each."""
    cursors, begin = [], 0
    for size in CHUNKS:
        while len(rows) - begin >= size:
            chunk = rows[begin : begin + size]
            values = [*chain.from_iterable(chunk)]
            cursors.append(db.execute(_statement(sql, size, len(chunk[0])), values))
            begin += size
    return cursors


@cache
def _statement(sql: str, rows: int, width: int) -> str:
    return sql.format(rows=", ".join([f"({', '.join('?' * width)})"] * rows))


def run(db: sqlite3.Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    """Carry out the statements. Returns the rows that each has returned."""
    return [db.execute(each.sql, each.values).fetchall() for each in statements]


def run_all(db: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    """Carry out statements that return nothing, those with the same SQL together."""
    for sql, values in by_sql(statements):
        db.executemany(sql, values)


def one(db: sqlite3.Connection, id: str) -> Found:
    """The row of one delivery. Raises MessageNotFound."""
    found: Found | None = db.execute(ONE, (id,)).fetchone()
    if found is None:
        raise MessageNotFound(id)
    return found


def delivery(db: sqlite3.Connection, seq: int, status: str, record: bytes) -> Delivery:
    """The delivery, as far as its record can be read, for people."""
    try:
        return rows.decode(status, record)
    except Unreadable as why:
        return salvaged(db, seq, status, record, why)


def salvaged(
    db: sqlite3.Connection, seq: int, status: str, record: bytes, why: Unreadable
) -> Delivery:
    id, key, route, priority, channel, created_at = db.execute(COLUMNS, (seq,)).fetchone()
    return rows.salvaged(
        why, status, record, id=id, key=key, route=route, priority=priority, channel=channel,
        created_at=created_at,
    )  # fmt: skip


def update(db: sqlite3.Connection, seq: int, delivery: Delivery) -> None:
    """Write what has become of a delivery."""
    db.execute(UPDATE, (*rows.changing(delivery), seq))
    # Only a record that version 1 has written has conversations without rows of their own.
    run_rows(db, INSERT_CONVERSATIONS, conversations(delivery, seq))


def places(seq: int) -> tuple[int, int]:
    """Of a delivery's conversations: the first place, and the first of the next delivery."""
    return seq << NUMBER_BITS, (seq + 1) << NUMBER_BITS


def conversations(delivery: Delivery, seq: int) -> list[tuple[int, bytes]]:
    """The conversations as rows."""
    first, _ = places(seq)
    return [(first + number, lines) for number, lines in rows.conversations(delivery)]


def with_conversations(db: sqlite3.Connection, seq: int, delivery: Delivery) -> Delivery:
    first, past = places(seq)
    found = db.execute(CONVERSATIONS, (first, past)).fetchall()
    return rows.with_conversations(delivery, {place - first: lines for place, lines in found})


def terms(delivery: Delivery, seq: int) -> list[tuple[int, str, int]]:
    """The terms as rows."""
    bucket = seq >> BUCKET_BITS
    return [(bucket, term, seq) for term in rows.terms(delivery)]


class StatusCounts:
    """
    How many deliveries there are by status, as of the last commit; and, if `keep_changed` is set,
    which deliveries the transaction has added or changed.

    `first_due` has, for queues of which it is known, a time before which nothing in it is due: of
    the first delivery that waits there, or earlier.
    """

    def __init__(self) -> None:
        self.counts: Counter[Status] = Counter()
        self.moves: Counter[Status] = Counter()  # what the transaction adds to the counts
        self.keep_changed = False
        self.changed: list[Delivery] = []
        self.first_due: dict[str, int] = {}

    def load(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT status, count(*) FROM deliveries GROUP BY status")
        known = ((known_status(status), count) for status, count in rows)
        self.counts = Counter({status: count for status, count in known if status is not None})

    def change(self, before: Status | None, deliveries: Sequence[Delivery]) -> None:
        """Count deliveries that were added (`before` is None) or changed."""
        if before is not None:
            self.moves[before] -= len(deliveries)
        for each in deliveries:
            self.moves[each.status] += 1
            if each.status in WAITING and (known := self.first_due.get(each.queue)) is not None:
                self.first_due[each.queue] = min(known, micros(each.due_at))
        if self.keep_changed:
            self.changed += deliveries

    def add_claimed(self, new: Sequence[Delivery]) -> None:
        """Count deliveries that were claimed as they were added: they never wait."""
        self.moves[Status.SENDING] += len(new)
        if self.keep_changed:
            self.changed += new

    def commit(self) -> None:
        self.changed.clear()
        if self.moves:
            counts = self.counts.copy()  # replaced as a whole, because other threads read it
            counts.update(self.moves)
            self.counts = counts
            self.moves.clear()

    def roll_back(self) -> None:
        self.changed.clear()
        self.first_due.clear()  # what was claimed is due again
        self.moves.clear()
