"""A delivery taken a step further."""

import contextlib
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import structlog

from notifier.deliveries import Delivery, Status
from notifier.errors import NotifierError, Rejected, WrongState
from notifier.journal import Step, records
from notifier.journal.records import Unreadable
from notifier.journal.sqlite import rows
from notifier.journal.sqlite.books import Books

Found: TypeAlias = tuple[int, str, bytes]  # seq, status, record

log = structlog.get_logger()


class StepRaised(NotifierError):
    """What a caller's step raised is the caller's: it leaves everything as it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def take_all(
    db: sqlite3.Connection, books: Books, found: Sequence[Found], step: Step, *, hold: bool
) -> list[tuple[int, Delivery]]:
    """Those that have taken the step; whose step raises Rejected is left as it is."""
    changed = []
    for row in found:
        with contextlib.suppress(Rejected):
            changed.append((row[0], take(db, books, row, step, hold=hold)))
    return changed


def take(db: sqlite3.Connection, books: Books, found: Found, step: Step, *, hold: bool) -> Delivery:
    """
    What it is now. Whose record cannot be read can only end; where it cannot end, it is held
    (`hold`), lest it come back for ever, or raises WrongState.
    """
    seq, status, record = found
    try:
        before = records.decode(status, record)
    except Unreadable as why:
        return _take_unreadable(db, books, found, step, why, hold=hold)
    after = _taken(before, step)
    if after is not before:
        rows.update(db, seq, after)
        books.move(before.status, after.status)
    return after


def set_aside(db: sqlite3.Connection, books: Books, found: Found, why: Unreadable) -> Delivery:
    """Set aside what cannot be read, for a person or a newer notifier."""
    seq, status, record = found
    delivery = rows.salvaged(db, seq, Status.HELD, record, why)
    db.execute(rows.MARK, (Status.HELD.value, None, rows.micros(datetime.now(UTC)), seq))
    books.move(books.known(status), Status.HELD)
    log.error("record_unreadable", id=delivery.id, reason=delivery.reason)
    return delivery


def _taken(before: Delivery, step: Step) -> Delivery:
    try:
        return step(before)
    except NotifierError:
        raise
    except Exception as error:
        raise StepRaised(error) from error


def _take_unreadable(
    db: sqlite3.Connection,
    books: Books,
    found: Found,
    step: Step,
    why: Unreadable,
    *,
    hold: bool,
) -> Delivery:
    seq, status, record = found
    before = rows.salvaged(db, seq, status, record, why)
    after = _taken(before, step)
    if after.finished_at is not None:
        values = (after.status.value, rows.micros(after.finished_at), None, seq)
        db.execute(rows.MARK, values)
        books.move(books.known(status), after.status)
        return after
    if not hold:
        raise WrongState(before.reason)
    return set_aside(db, books, found, why)
