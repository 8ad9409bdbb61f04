"""What has become of claimed deliveries."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

from notifier.deliveries import Delivery, Status
from notifier.errors import NotifierError
from notifier.journal.sqlite import rows
from notifier.journal.sqlite.books import Books

# Rows of one statement. It is filled up with rows that are nobody's, so that there are but
# these few statements to prepare.
SIZES = (1, 4, 16, 64)
NOBODY: tuple[rows.Value, ...] = (None,) * 8


class NotAllOurs(NotifierError):
    """One of them is not claimed any more: each has to be recorded alone."""


class Recording:
    """
    A delivery made into a row by whoever asks, kept only if the delivery is still claimed.
    Those of a batch are recorded together.
    """

    def __init__(self, delivery: Delivery, books: Books) -> None:
        self.row = (*rows.changed(delivery), delivery.id)
        self.status = delivery.status
        self.books = books

    def __call__(self, db: sqlite3.Connection) -> bool:
        """False: it is not ours any more."""
        if not db.execute(rows.RECORD, self.row).rowcount:
            return False
        self.books.move(Status.SENDING, self.status)
        return True

    @staticmethod
    def together(db: sqlite3.Connection, recordings: "Sequence[Recording]") -> None:
        """Raises NotAllOurs; then it has to be undone."""
        for chunk in _chunks(recordings):
            values = [*chain.from_iterable(each.row for each in chunk)]
            size = next(size for size in SIZES if size >= len(chunk))
            values += NOBODY * (size - len(chunk))
            if db.execute(_statement(size), values).rowcount != len(chunk):
                raise NotAllOurs
            for each in chunk:
                each.books.move(Status.SENDING, each.status)


def _chunks(recordings: Sequence[Recording]) -> Iterator[Sequence[Recording]]:
    for begin in range(0, len(recordings), SIZES[-1]):
        yield recordings[begin : begin + SIZES[-1]]


@cache
def _statement(size: int) -> str:
    row = f"({', '.join('?' * len(NOBODY))})"
    return rows.RECORD_ALL.format(", ".join([row] * size))
