"""
Many rows by few statements. sqlite3 gives up the interpreter's lock at each step of a
statement, and gets it back only when the loop lets it: with a statement for each row the
writer would wait hundreds of times for one commit.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

# So that only a few different statements are made, and sqlite3's cache holds them prepared.
CHUNKS = (64, 32, 16, 8, 4, 2, 1)


def insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows; `into` is the statement up to its values."""
    for chunk in _chunks(rows):
        db.execute(_with_values(into, len(chunk), len(chunk[0])), [*chain.from_iterable(chunk)])


def for_each(db: sqlite3.Connection, statement: str, values: Sequence[Any]) -> None:
    """Carry out a statement that ends in `IN` for all these values."""
    for chunk in _chunks(values):
        db.execute(_with_list(statement, len(chunk)), chunk)


def found_among(
    db: sqlite3.Connection, select: str, rows: Sequence[tuple[Any, ...]]
) -> Iterator[Any]:
    """What a statement that ends in `IN` selects, of all these rows."""
    for chunk in _chunks(rows):
        within = _with_rows(select, len(chunk), len(chunk[0]))
        yield from db.execute(within, [*chain.from_iterable(chunk)]).fetchall()


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    begin = 0
    for size in CHUNKS:
        while len(rows) - begin >= size:
            yield rows[begin : begin + size]
            begin += size


@cache
def _with_values(into: str, rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{into} VALUES {', '.join([row] * rows)}"


@cache
def _with_rows(select: str, rows: int, width: int) -> str:
    return _with_values(f"{select} (", rows, width) + ")"


@cache
def _with_list(statement: str, count: int) -> str:
    return f"{statement} ({', '.join('?' * count)})"
