"""Connect to the database: check it before it is used, and translate the driver's errors."""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import structlog

from notifier.errors import ConfigurationError, JournalFailure, JournalUnavailable
from notifier.journal import faults

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
T = TypeVar("T")

CONNECTIONS = 8  # of a replica at most, and one more for its lease
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 20.0  # for one statement, even if the server has gone
OPEN_SECONDS = 20.0  # also for a server that is just starting
LOCK = 0x6E6F7469666965  # the advisory lock under which the schema is made
SESSION = {
    "search_path": "notifier",
    "application_name": "notifier",
    "synchronous_commit": "on",  # a 202 means on disk, whatever the server's default is
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    # A replica that is suspended within a transaction must not hold up the others.
    "idle_in_transaction_session_timeout": "10s",
    "jit": "off",
}
# Each migrates the schema by one version. Released migrations are never changed.
MIGRATIONS = tuple(
    files(__package__).joinpath(name).read_text("utf-8")
    for name in ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql")
)

# What the driver raises for itself, the network or the database.
TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# Transactions that waited for each other, of which PostgreSQL has ended this one. All lock rows by
# `seq`, the newest first, so that it is rare.
COLLIDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
COLLISIONS = 5  # in a row, then the transaction is given up

_VERIFIED = {"verify-ca", "verify-full"}  # of the modes of libpq, section 34.19

log = structlog.get_logger()


async def connect(url: str) -> Connection:
    return await asyncpg.connect(
        url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, server_settings=SESSION
    )


async def open_pool(url: str) -> Pool:
    """Raises ConfigurationError, JournalFailure."""
    _warn_if_unverified(url)
    db = await _first(url)
    try:
        with translated():
            await _check(db)
            await _migrate(db)
        return await asyncpg.create_pool(
            url, min_size=2, max_size=CONNECTIONS, timeout=CONNECT_SECONDS, reset=_leave,
            command_timeout=COMMAND_SECONDS, server_settings=SESSION,
        )  # fmt: skip
    except (JournalUnavailable, *TROUBLE) as error:
        raise JournalFailure(f"NOTIFIER_JOURNAL: the database cannot be used: {error}") from error
    finally:
        await db.close()


def _warn_if_unverified(url: str) -> None:
    """
    Warn if the server's certificate is not verified: a machine in between could read and change
    every message.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    mode = given.get("sslmode", "prefer")
    hosts = given.get("host", parts.netloc.rpartition("@")[2]).split(",")
    if mode not in _VERIFIED and not all(map(_is_local, hosts)):
        log.warning(
            "journal_not_verified",
            sslmode=mode,
            why="the database is on another machine, and its certificate is not verified: add"
            " ?sslmode=verify-full&sslrootcert=FILE to NOTIFIER_JOURNAL",
        )


def _is_local(host: str) -> bool:
    """A socket's folder, or a loopback address, with or without a port."""
    name = host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
    if not name or name.startswith(("/", "%2F", "%2f")) or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _leave(_: Any) -> None:
    """Resets nothing when a connection returns to the pool: no state outlives a transaction."""


async def _first(url: str) -> Connection:
    """Open the first connection. Waits for a server that is still starting."""
    until = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            return await connect(url)
        except (
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InvalidCatalogNameError,
            asyncpg.ClientConfigurationError,
        ) as error:
            raise ConfigurationError(f"NOTIFIER_JOURNAL: {error}") from error
        except TROUBLE as error:
            if time.monotonic() > until:
                raise JournalFailure(
                    f"NOTIFIER_JOURNAL: the database cannot be reached: {error}"
                ) from error
            log.warning("journal_awaited", reason=str(error) or type(error).__name__)
            await asyncio.sleep(0.5)


async def _check(db: Connection) -> None:
    encoding = await db.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"NOTIFIER_JOURNAL: the database's encoding is {encoding}, not UTF8"
        )
    for name in ("fsync", "full_page_writes"):
        if await db.fetchval(f"SHOW {name}") == "off":
            log.warning("journal_not_durable", why=f"{name} is off: a power cut may lose messages")


async def _migrate(db: Connection) -> None:
    """Create the schema, or migrate it to this version. One replica does so, the others wait."""
    await db.execute("SET lock_timeout = 0; SET statement_timeout = 0")
    await db.execute(f"SELECT pg_advisory_lock({LOCK})", timeout=600)
    await db.execute(
        "CREATE SCHEMA IF NOT EXISTS notifier;"
        "CREATE TABLE IF NOT EXISTS versions (version INTEGER PRIMARY KEY, made_at TIMESTAMPTZ)"
    )
    found = await db.fetchval("SELECT coalesce(max(version), 0) FROM versions")
    if found > len(MIGRATIONS):
        raise JournalFailure(
            f"NOTIFIER_JOURNAL: the schema has version {found}, made by a newer "
            f"notifier; this notifier knows versions up to {len(MIGRATIONS)}"
        )
    for version, migration in enumerate(MIGRATIONS[found:], found + 1):
        async with db.transaction():
            await db.execute(migration, timeout=600)
            await db.execute("INSERT INTO versions VALUES ($1, now())", version)
        log.info("journal_migrated", version=version)


def is_unkeepable(error: BaseException) -> bool:
    """Whether the database can never store this value."""
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)  # the driver could not encode it
    return isinstance(
        error, (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, UnicodeError)
    )


def explained(error: BaseException) -> BaseException:
    """The error that the caller gets for the driver's error."""
    if is_unkeepable(error):
        return faults.unkeepable(error)
    if isinstance(error, asyncpg.QueryCanceledError):
        return faults.search_too_long()
    if isinstance(error, (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)):
        return faults.full(f"the database is full ({error})")
    if isinstance(error, TROUBLE):
        why = str(error) or type(error).__name__
        return JournalUnavailable(f"the database cannot be reached or written: {why}")
    return error


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raises the caller's error in place of the driver's."""
    try:
        yield
    except TROUBLE as error:
        raise explained(error) from error


async def again_if_collided(transaction: Callable[[], Awaitable[T]]) -> T:
    """Run a transaction, and run it again if it met a deadlock. Raises what it raises."""
    for _ in range(COLLISIONS):
        try:
            return await transaction()
        except JournalUnavailable as error:
            if not isinstance(error.__cause__, COLLIDED):
                raise
    return await transaction()
