"""Pages of what matches a filter, newest first: a search in an index, never a scan of the table."""

import base64
import binascii
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

from notifier.deliveries import Status
from notifier.errors import Rejected
from notifier.journal import Filter, Page
from notifier.journal.sqlite.rows import Value, delivery, micros

# Deliveries arrive very nearly in the order of their creation: what was being composed at the
# same time may be this many rows away from its place.
UNORDERED_ROWS = 2_000

Row: TypeAlias = tuple[int, str, bytes]
Term: TypeAlias = tuple[str, tuple[Value, ...]]  # the name of a filter, and what it allows

_SIDES = {"to": ("recipients", "address"), "tag": ("tags", "tag")}


def find(db: sqlite3.Connection, which: Filter, *, limit: int, cursor: str | None) -> Page:
    rows = matching(db, which, limit=limit + 1, before=None if cursor is None else _seq(cursor))
    more = len(rows) > limit
    del rows[limit:]
    return Page(
        tuple(delivery(status, record) for _, status, record in rows),
        _cursor(rows[-1][0]) if more else None,
    )


def matching(
    db: sqlite3.Connection, which: Filter, *, limit: int, before: int | None = None
) -> list[Row]:
    """Rows with seq below `before`, the newest first."""
    terms = list(_terms(which))
    seqs = _seqs(db, which, before)
    if not terms or terms[0][0] != "status":
        return _search(db, which, terms, seqs, limit)
    # An index gives the rows of one status in order, not those of several.
    rows = [
        row
        for status in terms[0][1]
        for row in _search(db, which, [("status", (status,)), *terms[1:]], seqs, limit)
    ]
    return sorted(rows, reverse=True)[:limit]


def _terms(which: Filter) -> Iterator[Term]:
    """The most telling first: it is the one to search by, the others only sift."""
    status = tuple(status.value for status in dict.fromkeys(which.status))
    usual = Status.SENT in which.status
    terms: tuple[Term, ...] = (
        ("reference", (which.reference,)),
        ("to", (which.to and which.to.lower(),)),
        ("user_id", (which.user_id,)),
        ("status", () if usual else status),
        ("tag", (which.tag,)),
        ("relay", (which.relay,)),
        ("key", (which.key,)),
        ("status", status if usual else ()),
        ("channel", (which.channel,)),
    )
    return (term for term in terms if any(term[1]))


def _search(
    db: sqlite3.Connection, which: Filter, terms: list[Term], seqs: tuple[int, int], limit: int
) -> list[Row]:
    if not terms:
        source, seq, where = "deliveries AS d NOT INDEXED", "d.seq", []
    elif side := _SIDES.get(terms[0][0]):
        source = f"{side[0]} AS side CROSS JOIN deliveries AS d ON d.seq = side.seq"
        seq, where = "side.seq", [f"side.{side[1]} = ?"]
    else:
        source, seq = f"deliveries AS d INDEXED BY deliveries_{terms[0][0]}", "d.seq"
        where = [_sifted(terms[0])]
    where += map(_sifted, terms[1:])
    values = [value for _, allowed in terms for value in allowed]
    for condition, at in (("d.created_at >= ?", which.created_after),
                          ("d.created_at < ?", which.created_before)):  # fmt: skip
        if at is not None:
            where.append(condition)
            values.append(micros(at))
    where.append(f"{seq} >= ? AND {seq} < ?")
    # Made of constant pieces, so that there are few of them and SQLite keeps them prepared.
    sql = (
        f"SELECT d.seq, d.status, d.record FROM {source}"  # noqa: S608  no piece comes from a caller
        f" WHERE {' AND '.join(where)} ORDER BY {seq} DESC LIMIT ?"
    )
    return db.execute(sql, (*values, *seqs, limit)).fetchall()


def _sifted(term: Term) -> str:
    name, allowed = term
    if side := _SIDES.get(name):
        table, column = side
        return f"EXISTS (SELECT 1 FROM {table} WHERE {column} = ? AND seq = d.seq)"  # noqa: S608  as above
    if name == "key":
        return "d.key = ? AND d.key <> ''"  # which its index knows nothing of
    return f"d.{name} IN ({', '.join('?' * len(allowed))})"


def _seqs(db: sqlite3.Connection, which: Filter, before: int | None) -> tuple[int, int]:
    """Between which rows those lie that were created in a span of time."""
    first, last = db.execute("SELECT min(seq), max(seq) FROM deliveries").fetchone()
    if last is None:
        return 0, 0
    start, past = first, last + 1
    if which.created_after is not None:
        start = max(start, _bisected(db, which.created_after, first, past) - UNORDERED_ROWS)
    if which.created_before is not None:
        past = min(past, _bisected(db, which.created_before, first, past) + UNORDERED_ROWS)
    return start, past if before is None else min(past, before)


def _bisected(db: sqlite3.Connection, at: datetime, low: int, high: int) -> int:
    """The first row that was created at a time or later."""
    wanted = micros(at)
    while low < high:
        middle = (low + high) // 2
        row = db.execute(
            "SELECT seq, created_at FROM deliveries WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)
        ).fetchone()
        if row is not None and row[1] < wanted:
            low = row[0] + 1
        else:
            high = middle
    return low


def _cursor(seq: int) -> str:
    return base64.urlsafe_b64encode(seq.to_bytes(8, "big")).decode().rstrip("=")


def _seq(cursor: str) -> int:
    try:
        seq = base64.b64decode(cursor + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        seq = b""
    if len(seq) != 8 or seq[0] > 0x7F:
        raise Rejected("cursor: is none that a list has returned")
    return int.from_bytes(seq, "big")
