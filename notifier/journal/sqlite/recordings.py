"""What has become of claimed deliveries."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import TypeAlias, TypeVar

from notifier.deliveries import Delivery, Status
from notifier.errors import NotifierError
from notifier.journal import records
from notifier.journal.sqlite import rows
from notifier.journal.sqlite.books import Books

T = TypeVar("T")
Row: TypeAlias = tuple[rows.Value, ...]

# Rows of one statement. It is filled up with rows that are nobody's, so that there are but
# these few statements to prepare.
SIZES = (1, 4, 16, 64)
NOBODY: tuple[rows.Value, ...] = (None,) * (rows.WIDTH + 1)
SAY = f"""
    {rows.SAY} SELECT (seq << {rows.NUMBER_BITS}) + column2, column3
    FROM (VALUES {{}}) AS said CROSS JOIN deliveries ON deliveries.id = column1
"""  # noqa: S608  constant
SILENCE: tuple[rows.Value, ...] = (None,) * 3
FORGET = f"""
    DELETE FROM conversations WHERE place >= ((SELECT seq FROM deliveries WHERE id = ?1)
        << {rows.NUMBER_BITS}) + ?2
    AND place < ((SELECT seq FROM deliveries WHERE id = ?1) << {rows.NUMBER_BITS}) + ?3
"""  # noqa: S608  constant


class NotAllOurs(NotifierError):
    """One of them is not claimed any more: each has to be recorded alone."""


class Recording:
    """
    A delivery made into a row by whoever asks, kept only if the delivery is still claimed.
    Those of a batch are recorded together.
    """

    def __init__(self, delivery: Delivery, books: Books) -> None:
        self.row = (*rows.changed(delivery), delivery.id)
        self.said = [(delivery.id, *said) for said in records.conversations(delivery)]
        self.dropped = records.dropped(delivery)
        self.status = delivery.status
        self.books = books

    def __call__(self, db: sqlite3.Connection) -> bool:
        """False: it is not ours any more."""
        if not db.execute(rows.RECORD, self.row).rowcount:
            return False
        _keep_conversations(db, [self])
        self.books.move(Status.SENDING, self.status)
        return True

    @staticmethod
    def together(db: sqlite3.Connection, recordings: "Sequence[Recording]") -> None:
        """Raises NotAllOurs; then it has to be undone."""
        for chunk in _chunks(recordings):
            if _execute(db, rows.RECORD_ALL, [each.row for each in chunk], NOBODY) != len(chunk):
                raise NotAllOurs
            for each in chunk:
                each.books.move(Status.SENDING, each.status)
        _keep_conversations(db, recordings)


def _keep_conversations(db: sqlite3.Connection, recordings: Sequence[Recording]) -> None:
    for chunk in _chunks([said for each in recordings for said in each.said]):
        _execute(db, SAY, chunk, SILENCE)
    for each in recordings:
        if each.dropped is not None:
            db.execute(FORGET, (each.row[-1], *each.dropped))


def _chunks(them: Sequence[T]) -> Iterator[Sequence[T]]:
    for begin in range(0, len(them), SIZES[-1]):
        yield them[begin : begin + SIZES[-1]]


def _execute(db: sqlite3.Connection, sql: str, chunk: Sequence[Row], filler: Row) -> int:
    """How many rows it was."""
    size = next(size for size in SIZES if size >= len(chunk))
    values = [*chain.from_iterable(chunk), *filler * (size - len(chunk))]
    return db.execute(_statement(sql, size, len(filler)), values).rowcount


@cache
def _statement(sql: str, size: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return sql.format(", ".join([row] * size))
