"""The list of suppressions in the journal. Times are microseconds since 1970."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias

from notifier.journal import Journal
from notifier.journal.rows import micros, moment
from notifier.journal.statements import Bound, Counted, Counting, Statement
from notifier.recipients import ERASED
from notifier.suppressions.suppression import Reason, Suppression, Which

COLUMNS = "address, key, reason, since, until, source"
# An entry by hand replaces an automatic one.
PUT = """
    INSERT INTO suppressions (address, key, domain, reason, since, until, times, source)
    VALUES {rows}
    ON CONFLICT (address, key) DO UPDATE SET
        reason = excluded.reason, since = excluded.since, until = excluded.until, times = 0,
        source = excluded.source
"""
ROW = "(?, ?, ?, ?, ?, ?, 0, ?)"
# When an address is taken off the list, its bounces are forgiven, too.
FORGIVE = "DELETE FROM suppression_strikes WHERE address = ?"
PART_OF = "SELECT address FROM suppressions WHERE address >= ? AND address < ?"
PART = "SELECT address FROM suppressions WHERE address > ? ORDER BY address LIMIT 1 OFFSET ?"
FORGET_ENDED = "DELETE FROM suppressions WHERE until < ?"
HOLDS = "(until IS NULL OR until > ?)"
COUNT = f"""
    SELECT reason, count(*) FROM suppressions
    WHERE address > ? AND address <= ? AND {HOLDS} GROUP BY reason
"""  # noqa: S608  constant
COUNTED = 10_000  # addresses at a time
LAST = "\U0010ffff"  # no address is behind it

# How many values a query may have is bounded, and each number is a statement of its own.
SIZES = (1, 4, 16, 64, 256, 1024, 4096, 16_384)
ROWS = (250, 50, 10, 1)  # of one statement
PORTION = 1000  # rows that one transaction changes

Name: TypeAlias = tuple[str, str]  # address and key


class Table:
    """Reads and changes the list. Each call may raise JournalUnavailable."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def put(self, suppressions: Sequence[Suppression], record: Counted) -> None:
        """
        Put these on the list, in place of those with the same address and key. Each portion is
        written together with its `record` for the audit.
        """
        # Of two with the same name in one statement PostgreSQL would refuse the second.
        unique = list({(each.address, each.key): each for each in suppressions}.values())
        for portion in _portions(unique, PORTION):
            statements = [record(len(portion))]
            begin = 0
            for size in ROWS:
                while len(portion) - begin >= size:
                    rows = portion[begin : begin + size]
                    values = itertools.chain.from_iterable(map(_values, rows))
                    statements.append(Statement(_put(size), tuple(values)))
                    begin += size
            await self._journal.execute(*statements)

    async def remove(self, address: str, key: str | None, record: Counting) -> int:
        """Take an address off the list, for one key or for all (None). Returns how many."""
        where, values = "FROM suppressions WHERE address = ?", (address,)  # type: str, tuple[str, ...]
        if key is not None:
            where, values = f"{where} AND key = ?", (address, key)
        _, rows, _ = await self._journal.execute(
            record(f"SELECT 1 {where}", values),
            Statement(f"DELETE {where} RETURNING address", values),
            Statement(FORGIVE, (address,)),
        )
        return len(rows)

    async def remove_all(self, which: Which, now: datetime, record: Counted) -> int:
        """
        Delete all that match, in portions. Returns how many. Each portion is deleted together with
        its `record` for the audit.
        """
        removed = 0
        while True:
            page = await self.page(which, now=now, limit=PORTION)
            statement = "DELETE FROM suppressions WHERE address = ? AND key = ?"
            gone = [Statement(statement, (each.address, each.key)) for each in page]
            forgiven = [Statement(FORGIVE, (each.address,)) for each in page]
            if page:
                await self._journal.execute(record(len(page)), *gone, *forgiven)
            removed += len(page)
            if len(page) < PORTION:
                return removed

    async def page(
        self, which: Which, *, now: datetime, limit: int, after: Name | None = None
    ) -> list[Suppression]:
        """The suppressions that are in force now, by address and key, after this one."""
        where, values = _conditions(which, now)
        if after is not None:
            where.append("(address, key) > (?, ?)")
            values += after
        rows = await self._journal.query(
            f"SELECT {COLUMNS} FROM suppressions WHERE {' AND '.join(where)}"  # noqa: S608  constant pieces
            f" ORDER BY address, key LIMIT {int(limit)}",
            *values,
        )
        return [_suppression(*row) for row in rows]

    async def among(self, names: Sequence[str], now: datetime) -> list[Suppression]:
        """The suppressions with these addresses that hold now: one query for up to 16,384."""
        found = []
        for portion in _portions(names, SIZES[-1]):
            size = next(size for size in SIZES if size >= len(portion))
            padded = [*portion, *[portion[0]] * (size - len(portion))]
            rows = await self._journal.query(_among(size), *padded, micros(now))
            found += [_suppression(*row) for row in rows]
        return found

    async def any(self, now: datetime) -> bool:
        """Whether any suppression is in force now."""
        return bool(
            await self._journal.query("SELECT 1 FROM suppressions WHERE until IS NULL LIMIT 1")
            or await self._journal.query(
                "SELECT 1 FROM suppressions WHERE until > ? LIMIT 1", micros(now)
            )
        )

    async def any_erased(self) -> bool:
        """Whether the list has a pseudonym of an erased person."""
        return bool(await self._journal.query(f"{PART_OF} LIMIT 1", ERASED, ERASED + LAST))

    async def counts(self, now: datetime) -> dict[Reason, int]:
        """How many there are of each reason. Counted in parts, so that other readers wait less."""
        counts = dict.fromkeys(Reason, 0)
        after, end = "", ""  # type: tuple[str, str | None]
        while end is not None:
            last = await self._journal.query(PART, after, COUNTED)
            end = last[0][0] if last else None
            for reason, count in await self._journal.query(
                COUNT, after, LAST if end is None else end, micros(now)
            ):
                counts[Reason(reason)] += count
            after = end or ""
        return counts

    async def forget_ended(self, before: datetime) -> None:
        """Delete suppressions that ended before this time."""
        await self._journal.execute(Statement(FORGET_ENDED, (micros(before),)))


@cache
def _among(size: int) -> str:
    marks = ", ".join("?" * size)
    return f"SELECT {COLUMNS} FROM suppressions WHERE address IN ({marks}) AND {HOLDS}"  # noqa: S608  constant pieces


def _conditions(which: Which, now: datetime) -> tuple[list[str], list[Bound]]:
    where, values = [HOLDS], [micros(now)]  # type: tuple[list[str], list[Bound]]
    if which.address:
        where.append("address >= ? AND address < ?")
        values += which.address, which.address + LAST
    for name in ("domain", "reason", "key"):
        value = getattr(which, name)
        if value is not None:
            where.append(f"{name} = ?")
            values.append(str(value))
    return where, values


@cache
def _put(rows: int) -> str:
    return PUT.format(rows=", ".join([ROW] * rows))


def _values(it: Suppression) -> tuple[Bound, ...]:
    until = None if it.until is None else micros(it.until)
    return it.address, it.key, it.domain, it.reason.value, micros(it.since), until, it.source


def _suppression(
    address: str, key: str, reason: str, since: int, until: int | None, source: str
) -> Suppression:
    return Suppression(
        address=address,
        key=key,
        reason=Reason(reason),
        since=moment(since),
        until=None if until is None else moment(until),
        source=source,
    )


def _portions(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in itertools.count(0, size):
        if start >= len(items):
            return
        yield items[start : start + size]
