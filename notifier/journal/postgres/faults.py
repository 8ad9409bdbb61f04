"""Which of the driver's errors mean what."""

import contextlib
from collections.abc import Iterator

import asyncpg

from notifier.errors import JournalUnavailable, Rejected

# What the database, the network, or the driver between them raises.
TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# Two transactions were in each other's way: the same again may go well.
COLLIDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


def is_unkeepable(error: BaseException) -> bool:
    """Whether the database cannot hold it, whoever asks and whenever."""
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)  # the driver could not even send it
    return isinstance(
        error, (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, UnicodeError)
    )


def explained(error: BaseException) -> BaseException:
    """What a caller is told."""
    if is_unkeepable(error):
        return Rejected(f"the journal cannot keep it: {error}")
    if isinstance(error, asyncpg.QueryCanceledError):
        return JournalUnavailable("the search takes too long: narrow it by another filter")
    if isinstance(error, (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)):
        return JournalUnavailable(
            f"insufficient_storage: the database is full ({error})", retry_after=30
        )
    if isinstance(error, TROUBLE):
        why = str(error) or type(error).__name__
        return JournalUnavailable(f"the database cannot be reached or written: {why}")
    return error


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raises what a caller is to be told, in place of what the driver raises."""
    try:
        yield
    except TROUBLE as error:
        raise explained(error) from error
