"""Pages of what matches a filter, newest first: a search in an index, never a scan of the table."""

import contextlib
import sqlite3
from typing import TypeAlias

import msgspec
from msgspec import Struct

from notifier.deliveries import Status
from notifier.journal import Filter, Page
from notifier.journal.rows import Value, micros
from notifier.journal.searches import MOST_WORDS, cursor_of, reads_through, seq_of
from notifier.journal.sqlite.rows import BUCKET_BITS, Found, delivery

# A term that leaves fewer rows than this is searched first.
FEW_ROWS = 2_000

# No index knows the words of a subject, or a reason: one page reads through at most so many rows.
READ_THROUGH_ROWS = 10_000

Term: TypeAlias = tuple[str, tuple[str | int, ...]]  # the name of a filter, and what it allows

LATEST = 2**63 - 1  # no time is later
SPANS = """
    SELECT bucket FROM spans WHERE bucket BETWEEN ? AND ? AND last >= ? AND first < ?
    ORDER BY bucket DESC
"""

# The buckets that have a term, the newest first.
_HITS = """
    WITH RECURSIVE here (bucket) AS (
        VALUES (?1) UNION ALL SELECT bucket - 1 FROM here WHERE bucket > ?2
    )
    SELECT bucket FROM here
    WHERE EXISTS (SELECT 1 FROM terms WHERE terms.bucket = here.bucket AND term = ?3)
"""
_AMONG_TERMS = "EXISTS (SELECT 1 FROM terms WHERE bucket = d.seq >> ? AND term = ? AND seq = d.seq)"
_RARE = frozenset({"reference", "to", "user_id"})  # each value is that of few deliveries
_BUCKETED = _RARE | {"tag"}

# Words are searched in the fields that a person reads, not in the whole record.
_encode = msgspec.json.Encoder().encode

_TEXT = "CAST(d.record AS TEXT)"
# This excludes nearly every row that does not match before its JSON is parsed.
_SOMEWHERE = f"instr(lower({_TEXT}), ?) > 0"
_FIELDS = ("subject", "sender", "reference", "user_id", "reason", "id")
_FIELD = " || char(10) || ".join(f"ifnull({_TEXT} ->> '$.{name}', '')" for name in _FIELDS)
_ADDRESS = f"SELECT value ->> '$.address' AS said FROM json_each({_TEXT}, '$.recipients')"  # noqa: S608  constant
_TAG = f"SELECT value AS said FROM json_each({_TEXT}, '$.tags')"  # noqa: S608  constant
_THERE = (
    f"(instr(lower({_FIELD}), ?) > 0"  # noqa: S608  no piece is a caller's
    f" OR EXISTS (SELECT 1 FROM ({_ADDRESS} UNION ALL {_TAG}) WHERE instr(lower(said), ?) > 0))"
)


class _Conditions(Struct, frozen=True):
    """Conditions on the rows that a search runs through."""

    where: tuple[str, ...]
    values: tuple[Value, ...]

    def also(self, where: str, *values: Value) -> "_Conditions":
        return _Conditions((where, *self.where), (*values, *self.values))


def find(db: sqlite3.Connection, which: Filter, *, limit: int, cursor: str | None) -> Page:
    first, past = _all(db, seq_of(cursor))
    span = (max(first, past - READ_THROUGH_ROWS), past) if reads_through(which) else (first, past)
    rows = _rows_within(db, which, span, limit + 1)
    page = tuple(delivery(db, *row) for row in rows[:limit])
    if len(rows) > limit:
        return Page(page, cursor_of(rows[limit - 1][0]))
    return Page(page, cursor_of(span[0]) if span[0] > first else None)


def matching(
    db: sqlite3.Connection, which: Filter, *, limit: int, before: int | None = None
) -> list[Found]:
    """Rows with seq below `before`, the newest first."""
    return _rows_within(db, which, _all(db, before), limit)


def count(db: sqlite3.Connection, which: Filter, *, most: int) -> int:
    return len(matching(db, which, limit=most))


def _rows_within(
    db: sqlite3.Connection, which: Filter, span: tuple[int, int], limit: int
) -> list[Found]:
    rows: list[Found] = []
    for part in _parts(db, which, span):
        rows += _within(db, which, part, limit - len(rows))
        if len(rows) == limit:
            break
    return rows


def _within(
    db: sqlite3.Connection, which: Filter, span: tuple[int, int], limit: int
) -> list[Found]:
    terms = _by_selectivity(db, _terms(which))
    conditions = _conditions_of(which, terms[1:])
    if not terms:
        return _rows(db, "deliveries AS d NOT INDEXED", conditions, span, limit)
    name, allowed = terms[0]
    if name in _BUCKETED:
        return _by_bucket(db, f"{name}:{allowed[0]}", conditions, span, limit)
    # An index gives the rows of one value in order, not those of several.
    source = f"deliveries AS d INDEXED BY deliveries_{name}"
    searches = (conditions.also(f"{_column(name)} = ?", value) for value in allowed)
    found = [row for each in searches for row in _rows(db, source, each, span, limit)]
    return sorted(found, reverse=True)[:limit]


def _terms(which: Filter) -> list[Term]:
    """The filter's terms, most selective first: its index is used, the others only filter."""
    status = tuple(status.value for status in dict.fromkeys(which.status))
    usual = Status.SENT in which.status
    terms: tuple[tuple[str, tuple[str | int | None, ...]], ...] = (
        ("reference", (which.reference,)),
        ("to", (which.to and which.to.lower(),)),
        ("user_id", (which.user_id,)),
        ("bounced", (which.bounced and 1,)),
        ("status", () if usual else status),
        ("tag", (which.tag,)),
        ("relay", (which.relay,)),
        ("key", (which.key,)),
        ("status", status if usual else ()),
        ("channel", (which.channel,)),
    )
    given = ((name, tuple(value for value in allowed if value)) for name, allowed in terms)
    return [term for term in given if term[1]]


def _by_selectivity(db: sqlite3.Connection, terms: list[Term]) -> list[Term]:
    """Puts a term that leaves few rows in front, if there is one."""
    if len(terms) < 2 or terms[0][0] in _RARE:
        return terms
    for term in terms:
        if term[0] not in _BUCKETED and _count(db, term) < FEW_ROWS:
            return [term, *(other for other in terms if other is not term)]
    return terms


def _count(db: sqlite3.Connection, term: Term) -> int:
    """How many rows a term leaves, up to FEW_ROWS of each of its values."""
    name, allowed = term
    sql = (
        f"SELECT count(*) FROM (SELECT 1 FROM deliveries AS d INDEXED BY deliveries_{name}"  # noqa: S608  no piece is a caller's
        f" WHERE {_column(name)} = ? LIMIT {FEW_ROWS})"
    )
    counts = [db.execute(sql, (value,)).fetchone()[0] for value in allowed]
    return sum(counts)


def _conditions_of(which: Filter, terms: list[Term]) -> _Conditions:
    conditions = _Conditions((), ())
    for name, allowed in terms:
        if name in _BUCKETED:
            conditions = conditions.also(_AMONG_TERMS, BUCKET_BITS, f"{name}:{allowed[0]}")
        else:
            marks = ", ".join("?" * len(allowed))
            conditions = conditions.also(f"{_column(name)} IN ({marks})", *allowed)
    if which.bounced is False:
        conditions = conditions.also("d.bounced IS NULL")
    if which.created_after is not None:
        conditions = conditions.also("d.created_at >= ?", micros(which.created_after))
    if which.created_before is not None:
        conditions = conditions.also("d.created_at < ?", micros(which.created_before))
    if which.reason:
        conditions = conditions.also(f"{_TEXT} ->> '$.reason' = ?", which.reason)
    if which.q:
        where, values = _mentions(which.q)
        return _Conditions((*conditions.where, *where), (*conditions.values, *values))
    return conditions


def _column(name: str) -> str:
    # The index of keys has no rows without a key; SQLite uses it only if the query says so, too.
    return "d.key <> '' AND d.key" if name == "key" else f"d.{name}"


def _by_bucket(
    db: sqlite3.Connection, term: str, conditions: _Conditions, span: tuple[int, int], limit: int
) -> list[Found]:
    source = "terms AS t CROSS JOIN deliveries AS d ON d.seq = t.seq"
    first, past = span
    ends = ((past - 1) >> BUCKET_BITS, first >> BUCKET_BITS)
    rows: list[Found] = []
    with contextlib.closing(db.execute(_HITS, (*ends, term))) as hits:
        for (bucket,) in hits:
            here = conditions.also("t.bucket = ? AND t.term = ?", bucket, term)
            rows += _rows(db, source, here, span, limit - len(rows), seq="t.seq")
            if len(rows) == limit:
                break
    return rows


def _rows(
    db: sqlite3.Connection,
    source: str,
    conditions: _Conditions,
    span: tuple[int, int],
    limit: int,
    *,
    seq: str = "d.seq",
) -> list[Found]:
    # Made of constant pieces, so that SQLite keeps the few statements prepared.
    where = " AND ".join((*conditions.where, f"{seq} >= ? AND {seq} < ?"))
    sql = (
        f"SELECT d.seq, d.status, d.record FROM {source}"  # noqa: S608  no piece is a caller's
        f" WHERE {where} ORDER BY {seq} DESC LIMIT ?"
    )
    return db.execute(sql, (*conditions.values, *span, limit)).fetchall()


def _all(db: sqlite3.Connection, before: int | None) -> tuple[int, int]:
    """All rows below `before`, as the first number and the number after the last."""
    first, last = db.execute(
        "SELECT (SELECT min(seq) FROM deliveries), (SELECT max(seq) FROM deliveries)"
    ).fetchone()
    if last is None:
        return 0, 0
    return first, last + 1 if before is None else min(before, last + 1)


def _parts(db: sqlite3.Connection, which: Filter, span: tuple[int, int]) -> list[tuple[int, int]]:
    """The parts of a span in which rows of the filter's time may be, the newest first."""
    if which.created_after is None and which.created_before is None:
        return [span]
    after = -LATEST if which.created_after is None else micros(which.created_after)
    before = LATEST if which.created_before is None else micros(which.created_before)
    first, past = span
    parts: list[tuple[int, int]] = []
    for (bucket,) in db.execute(SPANS, (first >> BUCKET_BITS, past >> BUCKET_BITS, after, before)):
        low = max(first, bucket << BUCKET_BITS)
        high = min(past, (bucket + 1) << BUCKET_BITS)
        if parts and parts[-1][0] == high:
            parts[-1] = low, parts[-1][1]
        elif low < high:
            parts.append((low, high))
    return parts


def _mentions(q: str) -> tuple[tuple[str, ...], tuple[Value, ...]]:
    """
    Conditions and values by which each word must occur in subject, sender, recipients, reference,
    user id, tags, id, or the reason of the status. A to Z match in either case, other letters only
    as they are, because SQLite's lower() knows no others.
    """
    words = [_lowered(word) for word in q.split()[:MOST_WORDS]]
    where = [condition for _ in words for condition in (_SOMEWHERE, _THERE)]
    values = [value for word in words for value in (_as_json(word), word, word)]
    return tuple(where), tuple(values)


def _lowered(word: str) -> str:
    return "".join(each.lower() if each.isascii() else each for each in word)


def _as_json(word: str) -> str:
    """The word as it is written inside a JSON string."""
    return _encode(word).decode()[1:-1]
