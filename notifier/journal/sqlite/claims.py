"""Claim deliveries for sending, and record what became of them."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from notifier.clock import Clock
from notifier.deliveries import Delivery, Priority, Status
from notifier.errors import NotifierError
from notifier.journal import Claim, Entry
from notifier.journal.fairness import AHEAD_BYTES, Fairness, Line, by_priority, portions
from notifier.journal.rows import (
    CHANGING,
    Unreadable,
    Value,
    conversations,
    decode,
    dropped,
    micros,
    stored,
)
from notifier.journal.sqlite.changes import hold_unreadable
from notifier.journal.sqlite.rows import NUMBER_BITS, StatusCounts, run_rows

# The earliest due time of every (priority, key) of a queue: one index seek for each, however
# many rows wait behind it.
HEADS = """
    WITH RECURSIVE head (priority, key, due_at) AS (
        SELECT * FROM (
            SELECT priority, key, due_at FROM deliveries INDEXED BY deliveries_due
            WHERE route = ?1 AND due_at IS NOT NULL ORDER BY priority, key, due_at LIMIT 1
        )
        UNION ALL
        SELECT next.priority, next.key, next.due_at
        FROM head CROSS JOIN deliveries AS next ON next.seq = ifnull(
            (
                SELECT seq FROM deliveries INDEXED BY deliveries_due
                WHERE route = ?1 AND priority = head.priority AND key > head.key
                    AND due_at IS NOT NULL
                ORDER BY key, due_at LIMIT 1
            ),
            (
                SELECT seq FROM deliveries INDEXED BY deliveries_due
                WHERE route = ?1 AND priority > head.priority AND due_at IS NOT NULL
                ORDER BY priority, key, due_at LIMIT 1
            )
        )
    )
    SELECT priority, key, due_at FROM head
"""
# The queues in which deliveries wait: one index seek for each, however many wait in it.
QUEUES = """
    WITH RECURSIVE found (queue) AS (
        SELECT (
            SELECT min(route) FROM deliveries INDEXED BY deliveries_due WHERE due_at IS NOT NULL
        )
        UNION ALL
        SELECT (
            SELECT min(route) FROM deliveries INDEXED BY deliveries_due
            WHERE due_at IS NOT NULL AND route > found.queue
        )
        FROM found WHERE found.queue IS NOT NULL
    )
    SELECT queue FROM found WHERE queue IS NOT NULL
"""
DUE = """
    SELECT due.seq, due.status, due.record, CASE WHEN length(content) <= ? THEN content END
    FROM deliveries AS due INDEXED BY deliveries_due LEFT JOIN contents USING (seq)
    WHERE route = ? AND priority = ? AND key = ? AND due_at <= ?
    ORDER BY due_at, due.seq LIMIT ? OFFSET ?
"""
# OR ROLLBACK, and no function that may fail: else SQLite copies each page that a statement changes,
# so that it could take back the statement alone. The writer takes back the transaction.
CLAIM = """
    UPDATE OR ROLLBACK deliveries
    SET status = 'sending', due_at = NULL, expires_at = NULL, collapse_key = NULL
    WHERE seq IN (VALUES {rows})
"""
RECORD = f"""
    UPDATE OR ROLLBACK deliveries SET {
    ", ".join(f"{name} = {stored(name, f'column{n}')}" for n, name in enumerate(CHANGING, 1))
}
    FROM (VALUES {{rows}}) AS ended
    WHERE deliveries.id = column{len(CHANGING) + 1} AND deliveries.status = 'sending'
"""  # noqa: S608  constant
RECORD_CONVERSATIONS = f"""
    INSERT OR REPLACE INTO conversations SELECT (seq << {NUMBER_BITS}) + column2, column3
    FROM (VALUES {{rows}}) AS ended CROSS JOIN deliveries ON deliveries.id = column1
"""  # noqa: S608  constant
DROP_CONVERSATIONS = f"""
    DELETE FROM conversations WHERE place >= ((SELECT seq FROM deliveries WHERE id = ?1)
        << {NUMBER_BITS}) + ?2
    AND place < ((SELECT seq FROM deliveries WHERE id = ?1) << {NUMBER_BITS}) + ?3
"""  # noqa: S608  constant

Row: TypeAlias = tuple[int, str, bytes, bytes | None]  # seq, status, record, content
New: TypeAlias = tuple[tuple[Any, ...], Entry]  # the row that is to be inserted, and its entry

NEVER = 2**63 - 1


class Claiming(Struct, frozen=True, gc=False):
    """
    A call that claims what is due in a queue, in fair shares. In a batch with additions it may take
    what is new as it is inserted.
    """

    counts: StatusCounts
    fairness: Fairness
    queue: str
    limit: int
    now: Clock
    slowest: Priority

    def __call__(self, db: sqlite3.Connection) -> list[Claim]:
        queue, now = self.queue, micros(self.now())
        if self.counts.first_due.get(queue, 0) > now:
            return []
        heads = db.execute(HEADS, (queue,)).fetchall()
        claims: list[Claim] = []
        for line, keys, share in self.fairness.shares(queue, self.limit, heads, now, self.slowest):
            if places := min(share, self.limit - len(claims)):
                if len(keys) == 1:
                    [self.fairness.last[line]] = keys
                    values = (AHEAD_BYTES, *line, keys[0], now, places, 0)
                    rows = db.execute(DUE, values).fetchall()
                else:
                    rows = self._due(db, line, keys, places, now)
                claims += self._claimed(db, rows)
        claims.sort(key=by_priority)  # stable: within a priority the turns stay
        if len(claims) < self.limit:
            heads = db.execute(HEADS, (queue,)).fetchall()
            self.counts.first_due[queue] = min((due_at for *_, due_at in heads), default=NEVER)
        else:
            self.counts.first_due.pop(queue, None)
        return claims

    def take_new(self, new: Iterable[New]) -> tuple[list[Claim], set[int]] | None:
        """
        Claim all that is new and due, before it is inserted, so that it is written once. Returns
        the numbers, too. None: something else is due, or not all of it may be claimed.
        """
        queue, now = self.queue, micros(self.now())
        if self.counts.first_due.get(queue, 0) <= now:
            return None
        due = [each for each in new if _is_due(each[0], queue, now)]
        if len(due) > self.limit or any(entry.delivery.priority > self.slowest for _, entry in due):
            return None
        lines: dict[int, dict[str, list[Claim]]] = {}
        for _, entry in due:
            delivery = replace(entry.delivery, status=Status.SENDING)
            content = entry.content if len(entry.content) <= AHEAD_BYTES else None
            line = lines.setdefault(delivery.priority, {})
            line.setdefault(delivery.key, []).append(Claim(delivery, content))
        claims: list[Claim] = []
        for priority, found in sorted(lines.items()):
            keys = self.fairness.order((queue, priority), sorted(found))
            turns = {key: found[key] for key in keys}
            claims += self.fairness.in_turns((queue, priority), turns)
        return claims, {row[-1] for row, _ in due}

    def _due(
        self, db: sqlite3.Connection, line: Line, keys: list[str], places: int, now: int
    ) -> list[Row]:
        """The deliveries of several keys in turns, as many as there are places."""
        queue, priority = line
        waiting = keys.copy()
        found: dict[str, list[Row]] = {key: [] for key in waiting}
        while places and waiting:
            for key, share in portions(waiting, places).items():
                values = (AHEAD_BYTES, queue, priority, key, now, share, len(found[key]))
                rows = db.execute(DUE, values).fetchall()
                found[key] += rows
                places -= len(rows)
                if len(rows) < share:
                    waiting.remove(key)
        return self.fairness.in_turns(line, found)

    def _claimed(self, db: sqlite3.Connection, rows: list[Row]) -> list[Claim]:
        """Mark deliveries as `sending`. Those that cannot be read are held."""
        seqs, claims = [], []
        for seq, status, record, content in rows:
            try:
                delivery = decode(status, record)
            except Unreadable as why:
                hold_unreadable(db, self.counts, (seq, status, record), why)
                continue
            self.counts.moves[delivery.status] -= 1
            seqs.append((seq,))
            claims.append(Claim(replace(delivery, status=Status.SENDING), content))
        self.counts.moves[Status.SENDING] += len(claims)
        run_rows(db, CLAIM, seqs)
        return claims


def _is_due(row: tuple[Any, ...], queue: str, now: int) -> bool:
    _, route, _, due_at, *_ = row  # see CHANGING
    return bool(route == queue and 0 < due_at <= now)


class NotAllOurs(NotifierError):
    """One of several deliveries is no longer claimed: each must be recorded alone."""


class Recording(Struct, frozen=True, gc=False):
    """A claimed delivery to record, and its row, which is made in the caller's thread."""

    delivery: Delivery
    row: tuple[Value, ...]


def record_all(
    db: sqlite3.Connection, counts: StatusCounts, recordings: Sequence[Recording]
) -> bool:
    """
    Store all deliveries, which must be claimed still. False: the only one is not, and nothing was
    written. Raises NotAllOurs for one of several; the caller then undoes the transaction.
    """
    updated = run_rows(db, RECORD, [each.row for each in recordings])
    if sum(each.rowcount for each in updated) != len(recordings):
        if len(recordings) > 1:
            raise NotAllOurs
        return False
    deliveries = [each.delivery for each in recordings]
    for delivery in deliveries:
        if len(delivery.attempts) > 1:
            _record_conversations(db, delivery)
    counts.change(Status.SENDING, deliveries)
    return True


def _record_conversations(db: sqlite3.Connection, delivery: Delivery) -> None:
    said = [(delivery.id, *each) for each in conversations(delivery)]
    run_rows(db, RECORD_CONVERSATIONS, said)
    if (gone := dropped(delivery)) is not None:
        db.execute(DROP_CONVERSATIONS, (delivery.id, *gone))
