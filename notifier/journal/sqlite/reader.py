"""The threads that read: each has a connection that cannot write, and never checkpoints."""

import sqlite3
import time
from collections.abc import Callable

import structlog

from notifier.errors import NotifierError
from notifier.journal.sqlite.faults import UNBINDABLE, explained, is_fatal
from notifier.journal.sqlite.threads import Answer, Piece

# A search that no index helps is given up, lest others wait for it.
PATIENCE_SECONDS = 3.0
PATIENCE_STEPS = 1_000_000  # of SQLite's machine, between two looks at the clock

log = structlog.get_logger()


class Reader:
    """Reads are whole: nothing holds a snapshot between two of them."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self.connect = connect

    def serve(self, db: sqlite3.Connection, batch: list[Piece]) -> list[Answer]:
        give_up = time.monotonic() + PATIENCE_SECONDS
        db.set_progress_handler(lambda: time.monotonic() > give_up, PATIENCE_STEPS)
        return [(piece.future, _read(db, piece)) for piece in batch]

    def rest(self, db: sqlite3.Connection) -> None:
        pass

    def disconnect(self, db: sqlite3.Connection) -> None:
        db.close()


def _read(db: sqlite3.Connection, piece: Piece) -> object:
    try:
        return piece.work(db)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and is_fatal(error):
            raise
        if not isinstance(error, (sqlite3.Error, NotifierError, *UNBINDABLE)):
            log.exception("journal_read_failed")  # a fault of ours, and this caller's alone
        return explained(error)
