"""Where deliveries are kept, so that no accepted message is ever lost."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct

from notifier.clock import Clock
from notifier.deliveries import Delivery, Priority, Route, Status
from notifier.errors import ConfigurationError
from notifier.journal.commits import Commits
from notifier.supervisor import Supervisor

# One step in a delivery's life, told what it is now. Raises Rejected to leave it as it is. It
# may run in another thread, and twice for one change, so it must do nothing else.
Step: TypeAlias = Callable[[Delivery], Delivery]


class Entry(Struct, frozen=True):
    """A new delivery, and the RFC 5322 source that goes out on every try."""

    delivery: Delivery
    content: bytes


class Idempotency(Struct, frozen=True, kw_only=True):
    """A caller's key for one request, and the answer that a repeated request gets."""

    scope: str  # the API key's name: two callers may use the same key
    key: str
    fingerprint: bytes  # of the request; another one under this key is a mistake
    answer: bytes
    expires_at: datetime


class Added(Struct, frozen=True):
    """What became of new entries."""

    replayed: bytes | None = None  # the answer kept earlier under the key; nothing was added
    superseded: tuple[Delivery, ...] = ()


class Claim(Struct, frozen=True):
    """A delivery claimed for sending. `content` is None where it is too large to be read ahead."""

    delivery: Delivery
    content: bytes | None


class Filter(Struct, frozen=True, kw_only=True):
    """Which deliveries; None or empty: whichever. Times are half-open: after <= t < before."""

    status: tuple[Status, ...] = ()
    channel: str | None = None
    user_id: str | None = None
    reference: str | None = None
    tag: str | None = None
    to: str | None = None  # an address, whole
    relay: str | None = None  # of the last attempt
    key: str | None = None  # the API key's name
    q: str | None = None  # words, each of which must occur in what a person would look at
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
    held_since: datetime | None = None  # the oldest that waits for a person; None: none does

    @property
    def waiting(self) -> int:
        return sum(count for status, count in self.counts.items() if status.waiting)


class Minute(Struct):
    """One minute's figures. `waiting` is how many did at its end, or do now."""

    at: datetime
    accepted: int = 0
    sent: int = 0
    failed: int = 0
    waiting: int = 0


class News(Struct, frozen=True, omit_defaults=True):
    """What other replicas have done."""

    routes: tuple[Route, ...] = ()  # something was put there that may be due
    changed: tuple[str, ...] = ()  # ids of deliveries, new or in another state now
    words: bool = False  # some word was put
    missed: bool = False  # nobody told us for a while: any delivery may have changed


class Journal(Protocol):
    """
    What the rest of notifier asks of a journal. When a call that writes returns, what it
    wrote survives a crash and a power cut. Any call may raise JournalUnavailable.
    """

    commits: Commits
    # Told the route of something new, at once when a claim that is asked for next finds it: which
    # may be before it is on disk, where the claim becomes a part of the same transaction.
    arriving: Callable[[Route], None]

    async def open(self) -> None:
        """Raises JournalInUse, JournalFailure."""
        ...

    async def close(self) -> None:
        """Finish what was asked, then let go of the journal."""
        ...

    async def failed(self) -> BaseException:
        """Wait until the journal can never be written again, and say why."""
        ...

    async def add(self, entries: Sequence[Entry], idempotency: Idempotency | None = None) -> Added:
        """
        Keep new deliveries, all or none, and the key with them in one transaction. A delivery
        supersedes what still waits under its collapse key, for the same API key.
        Raises IdempotencyMismatch.
        """
        ...

    async def answer(
        self, scope: str, key: str, fingerprint: bytes, *, now: datetime
    ) -> bytes | None:
        """
        What an idempotency key's request was answered; None: the key is free. Nothing is
        added. Raises IdempotencyMismatch.
        """
        ...

    async def claim(
        self, route: Route, limit: int, *, now: Clock, slowest: Priority = Priority.BULK
    ) -> list[Claim]:
        """
        Mark as `sending`, for us and nobody else, deliveries of this route that are due:
        by priority, fairly among API keys, then by due time, then first in, first out.
        `now` is asked, in whatever thread, when it is carried out: what came meanwhile is due.
        `slowest` leaves out the lanes behind it. The mark is durable: what was claimed and
        not recorded before a crash is `uncertain` after it.
        """
        ...

    async def holds(self, delivery: Delivery) -> bool:
        """Whether a claimed delivery is still ours, so that it may be sent."""
        ...

    async def record(self, delivery: Delivery) -> bool:
        """
        Keep what has become of a claimed delivery. False: it is not ours any more. Raises
        Rejected where it cannot be kept as it is; the claim then stands.
        """
        ...

    async def amend(self, id: str, step: Step) -> Delivery:
        """
        Take one delivery a step further, alone: nobody else changes it meanwhile.
        Raises MessageNotFound, and what `step` raises; then nothing has changed.
        """
        ...

    async def amend_all(self, which: Filter, step: Step) -> int:
        """The same for all that match, in portions; whose step raises Rejected is left out."""
        ...

    async def recover(self, step: Step) -> list[Delivery]:
        """
        Take whatever a dead process left `sending` a step further. To be asked now and then:
        what this object or another living replica has claimed is left alone.
        """
        ...

    async def news(self) -> News:
        """Wait until other replicas have done something, and say what; alone: for ever."""
        ...

    async def expire(self, now: datetime, step: Step, *, limit: int = 500) -> list[Delivery]:
        """Take up to `limit` waiting deliveries that are past their time a step further."""
        ...

    async def give_up_held(
        self, before: datetime, step: Step, *, limit: int = 500
    ) -> list[Delivery]:
        """Take up to `limit` deliveries that have been held since before then a step further."""
        ...

    async def next_due(self, route: Route, *, slowest: Priority = Priority.BULK) -> datetime | None:
        """When the next waiting delivery that could be claimed so is due; it may be past."""
        ...

    async def get(self, id: str, *, conversations: bool = False) -> Delivery:
        """
        What was said in its attempts is in them only if asked for. Whose record cannot be read
        is shown as far as it can be, with that as its reason. Raises MessageNotFound.
        """
        ...

    async def content(self, id: str) -> bytes:
        """The RFC 5322 source. Raises MessageNotFound, also once it has been pruned."""
        ...

    async def find(
        self, which: Filter, *, limit: int = 50, cursor: str | None = None, by: str = ""
    ) -> Page:
        """
        One page of what matches. Cursors stay right while rows arrive. With words to look for,
        a page may hold less than there is further on. Raises Rejected on a cursor that is none.
        Searches of one caller (`by`) do not hold up those of another.
        """
        ...

    async def count(self, which: Filter, *, most: int, by: str = "") -> int:
        """How many match, up to `most`."""
        ...

    async def backlog(self) -> Backlog: ...

    async def put(self, name: str, value: str) -> None:
        """Keep a word of ours across restarts: that a relay is paused, say."""
        ...

    async def count_minutes(
        self, by: str, minutes: Sequence[Minute], *, forget_before: datetime
    ) -> None:
        """
        Keep what the process `by` has counted in each of these minutes, in place of what it said
        of them before. Nobody is told of it. Minutes before `forget_before` are dropped.
        """
        ...

    async def minutes(self, since: datetime, *, but: str) -> list[Minute]:
        """The sums over all processes but one, minute by minute, where there are any."""
        ...

    async def kept(self) -> dict[str, str]:
        """Every word that was put."""
        ...

    async def word(self, name: str) -> str | None:
        """The value of one word; None: it was not put, or is forgotten."""
        ...

    async def forget(self, names: Sequence[str]) -> None:
        """Keep these words no longer."""
        ...

    def alone(self, name: str) -> AbstractAsyncContextManager[bool]:
        """
        Whether no other replica is in here by this name until we leave; one whose connection
        to the database breaks has left.
        """
        ...

    async def prune(
        self, *, finished_before: datetime, bodies_before: datetime, now: datetime, limit: int = 500
    ) -> int:
        """
        Drop up to `limit` deliveries that ended before a time, contents of those that ended
        before another, and idempotency keys past theirs. Returns how many rows went.
        """
        ...


def backup_of(
    url: str, target: Path, *, data_dir: str, told: Callable[[str, int, int], None]
) -> int:
    """
    Copy a journal into a new file, also while a server writes it; how many messages are in it.
    `told` hears what is being done, how much of it is, and of how much; 0: nobody knows.
    Raises FileExistsError, JournalFailure; ConfigurationError where its database has a way of
    its own.
    """
    if not url.startswith("sqlite:"):
        raise ConfigurationError("NOTIFIER_JOURNAL: this one is backed up by pg_dump")
    from notifier.journal.sqlite.backup import backup

    return backup(_sqlite_path(url, data_dir), target, told=told)


def journal_exists(url: str, *, data_dir: str) -> bool:
    """Whether there is a journal to look into, as far as that is known without connecting."""
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
        f"NOTIFIER_JOURNAL: {scheme!r} is no journal; write sqlite:PATH or postgresql://..."
    )
