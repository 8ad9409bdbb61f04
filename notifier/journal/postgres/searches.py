"""Pages of what matches a filter, newest first."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from notifier.deliveries import Status
from notifier.journal import Filter, Page
from notifier.journal.postgres.connection import Connection
from notifier.journal.postgres.rows import delivery, small
from notifier.journal.rows import micros
from notifier.journal.searches import MOST_WORDS, cursor_of, reads_through, seq_of

# No index covers the words of a subject, or a reason. One page reads at most so many rows for them.
READ_THROUGH_ROWS = 50_000

_BY_TERM = "EXISTS (SELECT FROM terms WHERE term = {} AND terms.seq = d.seq)"


class _Conditions:
    """SQL conditions, with their values as numbered parameters."""

    def __init__(self) -> None:
        self.where: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        numbers = range(len(self.values) + 1, len(self.values) + len(values) + 1)
        self.where.append(condition.format(*(f"${number}" for number in numbers)))
        self.values += values


class _Span(Struct, frozen=True):
    """Rows from `first` and before `past`. `more`: there are older rows."""

    first: int
    past: int | None
    more: bool = False


async def find(db: Connection, which: Filter, *, limit: int, cursor: str | None) -> Page:
    span = _Span(0, seq_of(cursor))
    if reads_through(which):
        span = await _readable(db, span.past)
    rows = await _within(db, which, span, limit + 1)
    page = tuple(
        [await delivery(db, row["seq"], row["status"], row["record"]) for row in rows[:limit]]
    )
    if len(rows) > limit:
        return Page(page, cursor_of(rows[limit - 1]["seq"]))
    return Page(page, cursor_of(span.first) if span.more else None)


async def matching(
    db: Connection, which: Filter, *, limit: int, before: int | None = None, lock: bool = False
) -> Sequence[Any]:
    """Rows with seq below `before`, the newest first, locked in this order if asked."""
    return await _within(db, which, _Span(0, before), limit, lock=lock)


async def count(db: Connection, which: Filter, *, most: int) -> int:
    return len(await matching(db, which, limit=most))


async def _readable(db: Connection, past: int | None) -> _Span:
    newest = await db.fetchval("SELECT coalesce(max(seq), 0) FROM deliveries")
    oldest = await db.fetchval("SELECT coalesce(min(seq), 0) FROM deliveries")
    first = (newest + 1 if past is None else past) - READ_THROUGH_ROWS
    return _Span(max(first, oldest), past, more=first > oldest)


async def _within(
    db: Connection, which: Filter, span: _Span, limit: int, *, lock: bool = False
) -> Sequence[Any]:
    conditions = _conditions_of(which)
    if any("\0" in value for value in conditions.values if isinstance(value, str)):
        return []  # PostgreSQL's text cannot hold NUL
    conditions.add("d.seq >= {}", span.first)
    if span.past is not None:
        conditions.add("d.seq < {}", span.past)
    # The SQL is made of constant pieces; every value is a parameter.
    sql = (
        "SELECT d.seq, d.status, d.record FROM deliveries AS d"  # noqa: S608  no piece is a caller's
        f" WHERE {' AND '.join(conditions.where)} ORDER BY d.seq DESC LIMIT {int(limit)}"
        f"{' FOR UPDATE' if lock else ''}"
    )
    found: Sequence[Any] = await db.fetch(sql, *conditions.values)
    return found


def _conditions_of(which: Filter) -> _Conditions:
    conditions = _Conditions()
    if which.status:
        # A literal, so that PostgreSQL plans differently for a rare status and for a frequent one.
        names = ", ".join(f"'{Status(status).value}'" for status in dict.fromkeys(which.status))
        conditions.add(f"d.status IN ({names})")
    for name in ("reference", "user_id", "tag", "to"):
        if value := getattr(which, name):
            conditions.add(_BY_TERM, f"{name}:{value.lower() if name == 'to' else value}")
    for name in ("relay", "channel"):
        if value := getattr(which, name):
            conditions.add(f"d.{name} = {{}}", value)
    if which.key:
        conditions.add("d.key <> '' AND d.key = {}", which.key)
    if which.bounced is not None:
        conditions.add(f"d.bounced IS {'NOT ' if which.bounced else ''}NULL")
    _limit_time(conditions, which)
    _read_through(conditions, which)
    return conditions


def _limit_time(conditions: _Conditions, which: Filter) -> None:
    """
    Literals, too: for parameters PostgreSQL keeps one plan for all times, and that plan reads all
    rows if none matches.
    """
    if which.created_after is not None:
        conditions.add(f"d.created_at >= {micros(which.created_after):d}")
    if which.created_before is not None:
        conditions.add(f"d.created_at < {micros(which.created_before):d}")


def _read_through(conditions: _Conditions, which: Filter) -> None:
    """Add the conditions that no index covers."""
    if which.reason:
        conditions.add("convert_from(d.record, 'UTF8')::json ->> 'reason' = {}", which.reason)
    for word in (which.q or "").split()[:MOST_WORDS]:
        conditions.add("strpos(d.said, {}) > 0", small(word))
