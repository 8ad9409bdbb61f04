"""Change deliveries one by one, and delete old ones."""

import contextlib
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from notifier.deliveries import Delivery, Status
from notifier.errors import NotifierError, Rejected, WrongState
from notifier.journal import Change
from notifier.journal.rows import Unreadable, decode, known_status, micros
from notifier.journal.sqlite import rows
from notifier.journal.sqlite.rows import Found, StatusCounts

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
DROP_KEYS = """
    DELETE FROM idempotency WHERE rowid IN (
        SELECT rowid FROM idempotency WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
    )
"""
DROP_TERM = "DELETE FROM terms WHERE bucket = ? AND term = ? AND seq = ?"
DROP_CONVERSATIONS = "DELETE FROM conversations WHERE place >= ? AND place < ?"
DROP_SPANS = """
    DELETE FROM spans WHERE bucket < (SELECT ifnull(min(seq), 0) >> 10 FROM deliveries)
"""

log = structlog.get_logger()


class ChangeRaised(NotifierError):
    """The caller's change raised something other than NotifierError. Nothing has changed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def change_all(
    db: sqlite3.Connection,
    counts: StatusCounts,
    found: Sequence[Found],
    change: Change,
    *,
    hold: bool,
) -> list[tuple[int, Delivery]]:
    """
    Change deliveries. Returns those that were changed, by number. If the change raises Rejected,
    the row stays.
    """
    after = []
    for row in found:
        with contextlib.suppress(Rejected):
            after.append((row[0], change_one(db, counts, row, change, hold=hold)))
    return after


def change_one(
    db: sqlite3.Connection, counts: StatusCounts, found: Found, change: Change, *, hold: bool
) -> Delivery:
    """
    Change one delivery and return it.

    A delivery whose record cannot be read can only be finished. A change that does not finish it
    holds it instead (`hold`), so that it does not come back for ever, or raises WrongState.
    """
    seq, status, record = found
    try:
        before = decode(status, record)
    except Unreadable as why:
        return _change_unreadable(db, counts, found, change, why, hold=hold)
    after = changed(before, change)
    if after is not before:
        rows.update(db, seq, after)
        counts.change(before.status, [after])
    return after


def hold_unreadable(
    db: sqlite3.Connection, counts: StatusCounts, found: Found, why: Unreadable
) -> Delivery:
    """Hold a delivery that cannot be read, for a person or a newer notifier."""
    seq, status, record = found
    delivery = rows.salvaged(db, seq, Status.HELD, record, why)
    values = (Status.HELD.value, None, micros(datetime.now(UTC)), seq)
    db.execute(rows.UPDATE_UNREADABLE, values)
    counts.change(known_status(status), [delivery])
    log.error("record_unreadable", id=delivery.id, reason=delivery.reason)
    return delivery


def changed(before: Delivery, change: Change) -> Delivery:
    """What the change makes of it. Raises NotifierError; ChangeRaised for what else it raises."""
    try:
        return change(before)
    except NotifierError:
        raise
    except Exception as error:
        raise ChangeRaised(error) from error


def _change_unreadable(
    db: sqlite3.Connection,
    counts: StatusCounts,
    found: Found,
    change: Change,
    why: Unreadable,
    *,
    hold: bool,
) -> Delivery:
    seq, status, record = found
    before = rows.salvaged(db, seq, status, record, why)
    after = changed(before, change)
    if after.finished_at is not None:
        values = (after.status.value, micros(after.finished_at), None, seq)
        db.execute(rows.UPDATE_UNREADABLE, values)
        counts.change(known_status(status), [after])
        return after
    if not hold:
        raise WrongState(before.reason)
    return hold_unreadable(db, counts, found, why)


def prune(
    db: sqlite3.Connection,
    counts: StatusCounts,
    limit: int,
    finished_before: int,
    contents_before: int,
    now: int,
) -> int:
    """Delete old rows, up to `limit` of each kind. Returns how many. Times are in microseconds."""
    gone = _drop_deliveries(db, counts, finished_before, limit)
    gone += _drop_contents(db, db.execute(STRIP, (contents_before, limit)).fetchall())
    return gone + db.execute(DROP_KEYS, (now, limit)).rowcount


def _drop_deliveries(db: sqlite3.Connection, counts: StatusCounts, before: int, limit: int) -> int:
    ended = db.execute(ENDED, (before, limit)).fetchall()
    if not ended:
        return 0
    deliveries = [(seq, rows.delivery(db, seq, status, record)) for seq, status, record in ended]
    db.executemany(
        DROP_TERM,
        [term for seq, each in deliveries for term in rows.terms(each, seq)],
    )
    _drop_contents(db, [(seq,) for seq, _ in deliveries])
    db.executemany(
        DROP_CONVERSATIONS,
        [rows.places(seq) for seq, _ in deliveries],
    )
    db.executemany("DELETE FROM deliveries WHERE seq = ?", [(seq,) for seq, _ in deliveries])
    db.execute(DROP_SPANS)
    counts.moves.subtract(known for _, status, _ in ended if (known := known_status(status)))
    return len(ended)


def _drop_contents(db: sqlite3.Connection, seqs: list[tuple[int]]) -> int:
    return db.executemany("DELETE FROM contents WHERE seq = ?", seqs).rowcount if seqs else 0
