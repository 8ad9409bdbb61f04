"""Wipes the journal's other tables: texts in them that name a person."""

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct

from notifier.erasure.person import Person
from notifier.erasure.wiping import Count
from notifier.journal import Journal
from notifier.journal.statements import Bound, Row, Statement
from notifier.threads import FairThreads

ROWS = 500  # that are looked through together
CALLER = "erasure"


class Table(Struct, frozen=True):
    """A table, and its columns whose texts may name a person."""

    name: str
    figure: str  # what answers call its rows
    key: tuple[str, ...]  # the columns of its primary key
    texts: tuple[str, ...]
    # Columns of the key that may name a person: such a row goes.
    naming: tuple[str, ...] = ()
    # Whether a row that names a person goes as a whole.
    whole: bool = False


TABLES = (
    Table("audit", "audit", ("seq",), ("actor", "subject", "detail")),
    Table("callbacks", "callbacks", ("message",), ("reply",)),
    Table("callback_urls", "callbacks", ("key",), ("paused_why", "trouble")),
    Table("suppressions", "suppressions", ("address", "key"), ("source",)),
    Table("idempotency", "idempotency_keys", ("scope", "key"), ("answer",), naming=("key",)),
    Table("words", "values", ("name",), ("value",), naming=("name",), whole=True),
)

# The pseudonym replaces the address. The suppression stays in force.
HIDE_SUPPRESSIONS = """
    INSERT INTO suppressions (address, key, domain, reason, since, until, times, source)
    SELECT CAST(? AS TEXT), key, '', reason, since, until, times, source FROM suppressions
    WHERE address = ?
    ON CONFLICT (address, key) DO UPDATE SET
        reason = excluded.reason, since = excluded.since, until = excluded.until,
        times = excluded.times, source = excluded.source
"""
DROP_SUPPRESSIONS = "DELETE FROM suppressions WHERE address = ? RETURNING key"
DROP_STRIKES = "DELETE FROM suppression_strikes WHERE address = ? RETURNING delivery"


class InTables:
    """Wipes the data of a person in the journal, except messages."""

    def __init__(self, journal: Journal, threads: FairThreads) -> None:
        self._journal = journal
        self._threads = threads

    async def wipe(self, person: Person, count: Count) -> None:
        """Wipe it, in portions. Raises JournalUnavailable."""
        _, dropped, strikes = await self._journal.execute(
            Statement(HIDE_SUPPRESSIONS, (person.erased, person.address)),
            Statement(DROP_SUPPRESSIONS, (person.address,)),
            Statement(DROP_STRIKES, (person.address,)),
        )
        count("suppressions", len(dropped))
        count("strikes", len(strikes))
        for table in TABLES:
            await self._wipe(table, person, count)

    async def _wipe(self, table: Table, person: Person, count: Count) -> None:
        columns = ", ".join((*table.key, *table.texts))
        key = ", ".join(table.key)
        marks = ", ".join("?" * len(table.key))
        first = f"SELECT {columns} FROM {table.name} ORDER BY {key} LIMIT {ROWS}"  # noqa: S608  constant
        others = first.replace(" ORDER", f" WHERE ({key}) > ({marks}) ORDER")
        rows = await self._journal.query(first)
        while rows:
            statements = await self._threads.run(CALLER, partial(_wiping, table, person, rows))
            if statements:
                await self._journal.execute(*statements)
                count(table.figure, len(statements))
            rows = await self._journal.query(others, *rows[-1][: len(table.key)])


def _wiping(table: Table, person: Person, rows: Sequence[Row]) -> list[Statement]:
    """The statements that wipe these rows."""
    width = len(table.key)
    found = []
    for row in rows:
        named = dict(zip((*table.key, *table.texts), row, strict=True))
        is_key = " AND ".join(f"{name} = ?" for name in table.key)
        if any(person.mentions.near(named[name]) for name in table.naming) or (
            table.whole and any(person.mentions.within(named[name]) for name in table.texts)
        ):
            found.append(Statement(f"DELETE FROM {table.name} WHERE {is_key}", row[:width]))  # noqa: S608  constant
        elif changed := _changed(table, person, named):
            sets = ", ".join(f"{name} = ?" for name in changed)
            sql = f"UPDATE {table.name} SET {sets} WHERE {is_key}"  # noqa: S608  constant
            found.append(Statement(sql, (*changed.values(), *row[:width])))
    return found


def _changed(table: Table, person: Person, row: Mapping[str, Bound]) -> dict[str, Bound]:
    """The texts of a row that name the person, without the address."""
    changed: dict[str, Bound] = {}
    for name in table.texts:
        text = row[name]
        if isinstance(text, bytes) and person.mentions.within(text):
            changed[name] = person.struck(text.decode("utf-8", "replace")).encode()
        elif isinstance(text, str) and person.mentions.within(text):
            changed[name] = person.struck(text)
    return changed
