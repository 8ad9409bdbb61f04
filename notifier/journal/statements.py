"""
The statements with which a capability reads and writes tables of its own in the journal.

The SQL is written once, in what SQLite and PostgreSQL both understand, with `?` for each value and
nowhere else. The tables are in each journal's `schema_3.sql` and `schema_4.sql`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import count, groupby
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Struct

from notifier.deliveries import Delivery

Bound: TypeAlias = str | int | bytes | None
Row: TypeAlias = tuple[Any, ...]


class Statement(Struct, frozen=True, gc=False):
    """One statement, and the values of its parameters."""

    sql: str
    values: tuple[Bound, ...] = ()


# What is written together with changed deliveries, in the transaction that changes them. It gets
# the deliveries as they are now. It may run in another thread, and twice for one change, so it must
# do nothing else.
Also: TypeAlias = Callable[[Sequence[Delivery]], Sequence[Statement]]

# A statement that keeps this number.
Counted: TypeAlias = Callable[[int], Statement]
# A statement that keeps how many rows a query finds, before the statements that change them.
Counting: TypeAlias = Callable[[str, tuple[Bound, ...]], Statement]


def by_sql(statements: Sequence[Statement]) -> Iterator[tuple[str, list[tuple[Bound, ...]]]]:
    """Neighbours with the same SQL together, so that they can be run as one."""
    for sql, alike in groupby(statements, attrgetter("sql")):
        yield sql, [each.values for each in alike]


@cache
def numbered(sql: str) -> str:
    """The SQL with `$1`, `$2` and so on in place of each `?`, as PostgreSQL has it."""
    numbers = count(1)
    first, *others = sql.split("?")
    return first + "".join(f"${next(numbers)}{other}" for other in others)
