"""Which SQLite errors mean what."""

import contextlib
import sqlite3
from collections.abc import Iterator

from notifier.errors import JournalFailure, JournalUnavailable, NotifierError, Rejected

RETRY_FULL_SECONDS = 30

# The disk or the file itself is at fault: what was written so far may not be what is read
# next, and to fsync again would report a success that is none.
_FATAL = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_INTERNAL,
    }
)
# Python raises these itself while it binds a value that SQLite cannot hold.
UNBINDABLE = (UnicodeError, OverflowError)


def is_full(error: BaseException) -> bool:
    """Whether there is no space left, also for the WAL's index."""
    code = getattr(error, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def is_fatal(error: BaseException) -> bool:
    """Whether the journal must never be written again by this process."""
    if isinstance(error, (NotifierError, *UNBINDABLE)):
        return False
    if not isinstance(error, sqlite3.Error):
        return True
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL)
    return not is_full(error) and code & 0xFF in _FATAL


def explained(error: Exception) -> NotifierError:
    """What a caller is told."""
    if isinstance(error, NotifierError):
        return error
    if is_full(error):
        return JournalUnavailable(
            f"insufficient_storage: the journal's disk is full ({error})",
            retry_after=RETRY_FULL_SECONDS,
        )
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, *UNBINDABLE)):
        return Rejected(f"the journal cannot keep it: {error}")
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return JournalUnavailable("the search takes too long: narrow it by another filter")
    return JournalUnavailable(f"the journal cannot do it now: {error}")


@contextlib.contextmanager
def keepable() -> Iterator[None]:
    """Raises Rejected where a row cannot even be made of what is to be kept."""
    try:
        yield
    except UNBINDABLE as error:
        raise explained(error) from error


def failure(path: object, error: BaseException) -> JournalFailure:
    """What an operator is told when it is over."""
    if isinstance(error, JournalFailure):
        return error
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return JournalFailure(f"journal_io_error: {path}: {name}: {error}. {RECOVERY.format(path)}")


RECOVERY = (
    "Check the disk. To save what can be read, stop notifier and run: "
    "sqlite3 '{0}' .recover | sqlite3 '{0}.recovered', then put that file in its place"
)
