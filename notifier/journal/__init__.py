"""
Keeps deliveries on disk, so that no accepted message is ever lost. This module is the contract;
what both journals share:

* `rows`: a delivery as columns and as a record; times, terms
* `fairness`: which deliveries are claimed next, by priority and API key
* `searches`: cursors, and whose turn it is to search
* `expiry`: when the first of the waiting deliveries expires
* `gathering`: how long a writer waits, so that more messages share a commit
* `statements`: how a capability reads and writes tables of its own
* `shared_secret`: a secret on which replicas agree
* `faults`: the error that a caller gets when the journal cannot do what was asked

The journals:

* `sqlite`: in a file, for one process
* `postgres`: in a database, for several replicas
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct

from notifier.clock import Clock
from notifier.deliveries import WAITING, Delivery, Priority, Route, Status
from notifier.errors import ConfigurationError
from notifier.journal.statements import Also, Bound, Row, Statement
from notifier.supervisor import Supervisor

# Returns a changed delivery, or raises Rejected to leave it as it is. It may run in another
# thread, and twice for one change, so it must do nothing else.
Change: TypeAlias = Callable[[Delivery], Delivery]


Arrived: TypeAlias = Callable[[Iterable[str]], None]
# Called with the seconds that a commit took, and how many calls shared it.
Committed: TypeAlias = Callable[[float, int], None]


def nobody(*_: object) -> None:
    """Stands for the listener until there is one."""


class Entry(Struct, frozen=True):
    """A new delivery, and the content (RFC 5322) that goes out on every try."""

    delivery: Delivery
    content: bytes


class Idempotency(Struct, frozen=True, kw_only=True):
    """A caller's key for one request, and the answer that a repeated request gets."""

    scope: str  # the API key's name: two callers may use the same key
    key: str
    fingerprint: bytes  # digest of the request; another request under the same key is an error
    answer: bytes
    expires_at: datetime


class Added(Struct, frozen=True):
    """What became of new entries."""

    replayed: bytes | None = None  # the answer kept earlier under the key; nothing was added
    superseded: tuple[Delivery, ...] = ()


class Claim(Struct, frozen=True):
    """A delivery claimed for sending. `content` is None if it is too large to be read ahead."""

    delivery: Delivery
    content: bytes | None


class Filter(Struct, frozen=True, kw_only=True):
    """Which deliveries; None or empty: all of them. Times are half-open: after <= t < before."""

    status: tuple[Status, ...] = ()
    channel: str | None = None
    user_id: str | None = None
    reference: str | None = None
    tag: str | None = None
    to: str | None = None  # an address, whole
    relay: str | None = None  # of the last attempt
    key: str | None = None  # the API key's name
    reason: str | None = None  # of its status, whole: `storm`
    bounced: bool | None = None  # it came back from a recipient after a relay took it
    q: str | None = None  # words; each must occur in what a person would look at
    created_after: datetime | None = None
    created_before: datetime | None = None


class Page(Struct, frozen=True):
    """Deliveries, newest first, and where the next page begins; None: there is none."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None


class Backlog(Struct, frozen=True):
    """How many deliveries there are by status, and since when the oldest due one waits."""

    counts: dict[Status, int]
    oldest_due_at: datetime | None
    held_since: datetime | None = None  # the oldest that is held for a person; None: none is

    @property
    def waiting(self) -> int:
        return sum(count for status, count in self.counts.items() if status in WAITING)


# Older replicas know `values` by the name `words`.
class News(Struct, frozen=True, omit_defaults=True, rename={"values": "words"}):
    """What other replicas have done."""

    routes: tuple[Route, ...] = ()  # they have deliveries that may be due
    changed: tuple[str, ...] = ()  # ids of deliveries, new or in another state now
    values: bool = False  # some value was put or forgotten
    missed: bool = False  # we were not connected for a while: any delivery may have changed


class Journal(Protocol):
    """
    What the rest of notifier needs from a journal.

    When a call that writes returns, its write survives a crash and a power cut. Any call may raise
    JournalUnavailable.
    """

    # Called with the queues in which deliveries begin to wait, as soon as a claim made now would
    # find them, and with each Route all of whose queues may have some. That can be before the
    # commit: the claim then joins the same transaction. It must be quick.
    arrived: Arrived
    # Called after each commit, perhaps in another thread. To be set before `open`.
    committed: Committed
    shared: bool  # with other replicas

    async def open(self) -> None:
        """Raises JournalInUse, JournalFailure."""
        ...

    async def close(self) -> None:
        """Finish the calls that were made, then release the journal."""
        ...

    async def failed(self) -> BaseException:
        """Wait until the journal can never be written again, and return why."""
        ...

    async def add(self, entries: Sequence[Entry], idempotency: Idempotency | None = None) -> Added:
        """
        Keep new deliveries, all or none, and the idempotency key in the same transaction. A
        delivery that waits supersedes those that wait under its collapse key, for the same API key.
        Raises IdempotencyMismatch.
        """
        ...

    async def answer(
        self, scope: str, key: str, fingerprint: bytes, *, now: datetime
    ) -> bytes | None:
        """
        The answer that is kept under an idempotency key; None: the key is free. Adds nothing.
        Raises IdempotencyMismatch.
        """
        ...

    def claim(
        self, queue: str, limit: int, *, now: Clock, slowest: Priority = Priority.BULK
    ) -> Awaitable[list[Claim]]:
        """
        Mark due deliveries of this queue as `sending`, for this process alone: by priority, fairly
        among API keys, then by due time, then by arrival.

        `now` is called when the claim is carried out, perhaps in another thread, so that deliveries
        added meanwhile are due. Priorities slower than `slowest` are left out. The mark is durable:
        a delivery that was claimed and not recorded before a crash is `uncertain` after it.
        """
        ...

    async def still_ours(self, delivery: Delivery) -> bool:
        """Whether a claimed delivery is still claimed by this process, so that it may be sent."""
        ...

    async def record(self, delivery: Delivery) -> bool:
        """
        Keep what became of a claimed delivery. False: the claim was lost to another process. Raises
        Rejected if the journal cannot store the delivery; the claim then stands.
        """
        ...

    async def amend(self, id: str, change: Change, *, also: Also | None = None) -> Delivery:
        """
        Change one delivery, while no one else changes it, and write what goes with it. Raises
        MessageNotFound, and what `change` raises; then nothing has changed.
        """
        ...

    async def erase(self, id: str, change: Change, *, also: Also | None = None) -> Delivery:
        """
        Change one delivery as `amend` does, and delete what was said in its attempts, what it was
        found by before, and, if it has ended then, its content. A record that cannot be read is
        changed as far as it can be. Where the status stays, nothing accompanies the change.
        """
        ...

    async def overwrite(self) -> str:
        """
        Overwrite what was deleted. Returns in words what of it cannot be reached; empty: nothing.
        Raises JournalUnavailable where that is not possible now.
        """
        ...

    async def replicas(self) -> int:
        """How many processes use the journal now."""
        ...

    async def amend_all(self, which: Filter, change: Change, *, also: Also | None = None) -> int:
        """
        Change all deliveries that match, in portions, and write what goes with each portion.
        Returns how many have changed. Deliveries for which `change` raises Rejected stay as they
        are.
        """
        ...

    def accompany(self, also: Also) -> None:
        """
        Write this with every delivery that is added or changed from now on, in the same
        transaction. A claim changes nothing; giving one back does.
        """
        ...

    async def query(self, sql: str, *values: Bound) -> list[Row]:
        """The rows that a query finds in a capability's table. See `statements`."""
        ...

    async def execute(self, *statements: Statement) -> list[list[Row]]:
        """
        Carry out statements in one transaction, which is durable on return. Returns the rows that
        each has returned (RETURNING).
        """
        ...

    async def recover(self, change: Change) -> list[Delivery]:
        """
        Change the deliveries that a dead process left as `sending`. It may be called at any time:
        what this object or another living replica has claimed is left alone.
        """
        ...

    async def news(self) -> News:
        """
        Wait until other replicas have done something, and return it. Where the journal is not
        shared: wait for ever.
        """
        ...

    async def expire(self, now: datetime, change: Change, *, limit: int = 500) -> list[Delivery]:
        """Change up to `limit` waiting deliveries that are past their time."""
        ...

    async def expire_held(
        self, before: datetime, change: Change, *, limit: int = 500
    ) -> list[Delivery]:
        """Change up to `limit` deliveries that have been held since before this time."""
        ...

    async def next_due(self, queue: str, *, slowest: Priority = Priority.BULK) -> datetime | None:
        """When the next delivery is due that such a claim would find. The time may be past."""
        ...

    async def get(self, id: str, *, conversations: bool = False) -> Delivery:
        """
        The delivery. Its attempts have their conversations only if `conversations` is set. A
        delivery whose record cannot be read is shown as far as possible, with that as its reason.
        Raises MessageNotFound.
        """
        ...

    async def content(self, id: str) -> bytes:
        """The content that is or was sent. Raises MessageNotFound, also if it has been pruned."""
        ...

    async def find(
        self, which: Filter, *, limit: int = 50, cursor: str | None = None, by: str = ""
    ) -> Page:
        """
        One page of the deliveries that match. A cursor stays valid while new deliveries arrive. A
        search for words may return a short page although more follow. Raises Rejected if the cursor
        did not come from this journal. Searches of one caller (`by`) do not delay those of another.
        """
        ...

    async def count(self, which: Filter, *, most: int, by: str = "") -> int:
        """How many deliveries match, up to `most`."""
        ...

    async def queues(self) -> list[str]:
        """The queues in which deliveries wait: a route, or `ROUTE:CHAIN`."""
        ...

    async def backlog(self) -> Backlog: ...

    async def put(self, name: str, value: str, *also: Statement) -> None:
        """Keep a named value across restarts, such as a pause, and write what goes with it."""
        ...

    async def values(self) -> dict[str, str]:
        """Every value that was put, by name."""
        ...

    async def value(self, name: str) -> str | None:
        """One value. None: it was never put, or is forgotten."""
        ...

    async def forget(self, names: Sequence[str], *also: Statement) -> None:
        """Delete these values, and write what goes with that."""
        ...

    def try_lock(self, name: str) -> AbstractAsyncContextManager[bool]:
        """
        A lock among replicas, by name. The context's value is whether this replica has it. A
        replica whose connection to the database breaks loses the lock.
        """
        ...

    async def prune(
        self,
        *,
        finished_before: datetime,
        contents_before: datetime,
        now: datetime,
        limit: int = 500,
    ) -> int:
        """
        Drop up to `limit` deliveries that ended before `finished_before`, as many contents of
        those that ended before `contents_before`, and expired idempotency keys. Returns how many
        rows went.
        """
        ...


# Called with what is being done, how much of it is done, and of how much; 0: not known.
Progress: TypeAlias = Callable[[str, int, int], None]


def backup_of(url: str, target: Path, *, data_dir: str, progress: Progress) -> int:
    """
    Copy a journal into a new file, also while a server writes it. Returns how many messages the
    copy has. Raises FileExistsError, JournalFailure; ConfigurationError for a database, which has
    tools for that.
    """
    if not url.startswith("sqlite:"):
        raise ConfigurationError("NOTIFIER_JOURNAL: a PostgreSQL journal is backed up by pg_dump")
    from notifier.journal.sqlite.backup import backup

    return backup(_sqlite_path(url, data_dir), target, progress=progress)


def journal_exists(url: str, *, data_dir: str) -> bool:
    """Whether there is a journal to read, as far as can be known without connecting."""
    return not url.startswith("sqlite:") or _sqlite_path(url, data_dir).exists()


def _sqlite_path(url: str, data_dir: str) -> Path:
    return Path(url.removeprefix("sqlite:") or f"{data_dir}/notifier.db")


def journal_at(
    url: str, *, data_dir: str, lease: float = 15.0, supervisor: Supervisor | None = None
) -> Journal:
    """The journal that a URL names. Drivers are imported only when they are used."""
    scheme, _, _ = url.partition(":")
    if scheme == "sqlite":
        from notifier.journal.sqlite import SqliteJournal

        return SqliteJournal(str(_sqlite_path(url, data_dir)))
    if scheme in ("postgresql", "postgres"):
        if find_spec("asyncpg") is None:
            raise ConfigurationError(
                "NOTIFIER_JOURNAL: postgresql:// needs asyncpg, which is not installed;"
                " pip install 'notifier[postgres]'"
            )
        from notifier.journal.postgres import PostgresJournal

        return PostgresJournal(url, lease=lease, supervisor=supervisor)
    raise ConfigurationError(
        f"NOTIFIER_JOURNAL: {scheme!r} is not a kind of journal; write sqlite:PATH or postgresql://..."
    )
