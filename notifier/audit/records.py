"""Records as rows of the table `audit`, and pages of them, by an index."""

import os
import pwd
from datetime import datetime

from msgspec import Struct

from notifier.journal.rows import micros, moment
from notifier.journal.searches import cursor_of, place_of
from notifier.journal.statements import Bound, Row, Statement

LONGEST = 4000  # characters of a detail, or of what it was done to
_COLUMNS = "at, actor, what, subject, number, detail, once"
# Portions of one bulk act have the same `once`, and are one row.
_ADD = f"""
    INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (once) DO UPDATE SET number = audit.number + excluded.number
"""  # noqa: S608  constant
# A change that several replicas see is recorded by the first of them.
_ADD_ONCE = f"""
    INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (once) DO NOTHING
"""  # noqa: S608  constant
# The count is how many rows a query finds. Portions of one act have the same `once`.
_ADD_COUNTED = f"""
    INSERT INTO audit ({_COLUMNS})
    SELECT CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), number,
        CAST(? AS TEXT), CAST(? AS TEXT)
    FROM (SELECT count(*) AS number FROM ({{found}}) AS found) AS counted WHERE number > 0
    ON CONFLICT (once) DO UPDATE SET number = audit.number + excluded.number
"""  # noqa: S608  constant
DROP = """
    DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ? ORDER BY at LIMIT ?)
    RETURNING 1
"""


class Record(Struct, frozen=True):
    """An act: who did what to what."""

    at: datetime
    by: str  # who: `key:shop`, `monitor:ann`, `cli:root`, `anonymous`
    what: str
    on: str = ""  # a message's id, a relay's or a key's name, an address
    count: int = 1
    detail: str = ""  # of a bulk act the filter


class Page(Struct, frozen=True):
    """Records, the newest first, and where the next page begins; None: there is none."""

    items: tuple[Record, ...]
    next_cursor: str | None


class Which(Struct, frozen=True, kw_only=True):
    """Which records; None: all of them."""

    by: str | None = None
    what: str | None = None
    since: datetime | None = None


def added(record: Record, *, once: str | None = None) -> Statement:
    """The statement that writes a record. Another one with the same `once` adds to its count."""
    return Statement(_ADD, _values(record, once))


def added_once(record: Record, once: str) -> Statement:
    """The statement that writes a record unless there is one with this `once`."""
    return Statement(_ADD_ONCE, _values(record, once))


def added_counted(record: Record, once: str, found: str, values: tuple[Bound, ...]) -> Statement:
    """The statement that writes a record with the number of rows that a query finds, if any."""
    at, by, what, on, _, detail, _ = _values(record, once)
    return Statement(_ADD_COUNTED.format(found=found), (at, by, what, on, detail, once, *values))


def _values(record: Record, once: str | None) -> tuple[Bound, ...]:
    on, detail = _storable(record.on), _storable(record.detail)
    return (micros(record.at), record.by, record.what, on, record.count, detail, once)


def _storable(text: str) -> str:
    """The text without NUL and lone surrogates, and of a bounded length."""
    return text.replace("\0", "")[:LONGEST].encode("utf-8", "replace").decode()


def query(which: Which, *, limit: int, cursor: str | None) -> tuple[str, tuple[Bound, ...]]:
    """The query for a page, and its values. Raises Rejected for a cursor of another list."""
    where = ["at >= ?"]
    bound: list[Bound] = [0 if which.since is None else micros(which.since)]
    for condition, value in (("actor = ?", which.by), ("what = ?", which.what)):
        if value is not None:
            where.append(condition)
            bound.append(value)
    if cursor is not None:
        where.append("(at, seq) < (?, ?)")
        bound += place_of(cursor, 2)
    sql = (
        f"SELECT seq, at, actor, what, subject, number, detail FROM audit"  # noqa: S608  constant pieces
        f" WHERE {' AND '.join(where)} ORDER BY at DESC, seq DESC LIMIT ?"
    )
    return sql, (*bound, limit)


def page(rows: list[Row], limit: int) -> Page:
    """The page from the rows of a query that read one more than the limit."""
    items = tuple(Record(moment(at), *rest) for _, at, *rest in rows[:limit])
    if len(rows) <= limit:
        return Page(items, None)
    seq, at, *_ = rows[limit - 1]
    return Page(items, cursor_of(at, seq))


def actor() -> str:
    """As in timelines: `cli:` and the user's name, or the number if the system has no name."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"cli:{name}"
