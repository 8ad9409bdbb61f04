"""The threads that read: each has a connection that cannot write, and never checkpoints."""

import sqlite3
from collections.abc import Callable

from notifier.journal.sqlite.faults import explained, is_fatal
from notifier.journal.sqlite.threads import Answer, Piece


class Reader:
    """Reads are whole: nothing holds a snapshot between two of them."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self.connect = connect

    def serve(self, db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]:
        return [(piece.future, _read(db, piece)) for piece in batch]

    def rest(self, db: sqlite3.Connection) -> None:
        pass

    def disconnect(self, db: sqlite3.Connection) -> None:
        db.close()


def _read(db: sqlite3.Connection, piece: Piece) -> object:
    try:
        return piece.work(db)
    except Exception as error:
        if is_fatal(error):
            raise
        return explained(error)
