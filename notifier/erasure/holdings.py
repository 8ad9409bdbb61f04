"""What the journal has of a person, for an export: read in portions, one message at a time."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict

from notifier.audit import Record
from notifier.deliveries import Delivery
from notifier.domains import domain_to_unicode
from notifier.erasure.in_messages import LAST, records_naming
from notifier.erasure.person import Person
from notifier.errors import MessageNotFound
from notifier.journal import Filter, Journal
from notifier.journal.rows import moment
from notifier.journal.searches import pages
from notifier.journal.statements import Row
from notifier.threads import FairThreads

CALLER = "export"  # as whom it takes turns with those who search
PAGE = 50  # messages that are looked up together
SPAN = 20_000  # records of the audit that are searched together

_LIST = """
    SELECT address, key, reason, since, until, source FROM suppressions WHERE address IN (?, ?)
"""
_STRIKES = """
    SELECT address, delivery, at, relay, code FROM suppression_strikes WHERE address IN (?, ?)
"""
_CALLBACK_COLUMNS = ("event", "at", "tries", "outcome", "answered_at", "code", "reply")
_CALLBACK = f"SELECT {', '.join(_CALLBACK_COLUMNS)} FROM callbacks WHERE message = ?"  # noqa: S608  constant
_ENDS = "SELECT min(seq), max(seq) FROM audit"
# A to Z in either case; what is found is looked at again.
_AUDIT = r"""
    SELECT at, actor, what, subject, number, detail FROM audit
    WHERE seq >= ? AND seq < ? AND (
        lower(actor || ' ' || subject || ' ' || detail) LIKE ? ESCAPE '\'
        OR lower(actor || ' ' || subject || ' ' || detail) LIKE ? ESCAPE '\'
    ) ORDER BY seq
"""

TIMES = {"at", "since", "until", "answered_at"}

_encode = msgspec.json.Encoder().encode


def _item(columns: Sequence[str], row: Row) -> dict[str, Any]:
    """A row by the names of its columns, with its times as such."""
    item = dict(zip(columns, row, strict=True))
    return item | {
        each: moment(item[each]) for each in TIMES & item.keys() if item[each] is not None
    }


class Messages:
    """Messages to the person, from the person, or that name the person outside their content."""

    name = "messages"

    def __init__(self, journal: Journal, threads: FairThreads) -> None:
        self._journal = journal
        self._threads = threads

    async def held(self, person: Person) -> AsyncIterator[dict[str, Any]]:
        """
        Each with its states, conversations, callback and content (None: it is pruned); first those
        that a search finds.
        """
        seen: set[str] = set()  # ids of those found by one spelling
        for spelling in _spellings(person):
            which = Filter(q=spelling)
            async for page in pages(self._journal, which, limit=PAGE, by=CALLER):
                for delivery in page:
                    if delivery.id not in seen and _is_of(person, delivery):
                        seen.add(delivery.id)
                        if (each := await self._whole(delivery.id)) is not None:
                            yield each
        ((last,),) = await self._journal.query(LAST)
        if last is None:
            return
        records = records_naming(self._journal, self._threads, person, last, caller=CALLER)
        async for ids in records:
            for id in ids:
                if id not in seen and (each := await self._whole(id)) is not None:
                    yield each

    async def _whole(self, id: str) -> dict[str, Any] | None:
        try:
            delivery = await self._journal.get(id, conversations=True)
        except MessageNotFound:  # it was pruned just now
            return None
        try:
            content: bytes | None = await self._journal.content(id)
        except MessageNotFound:
            content = None
        rows = await self._journal.query(_CALLBACK, id)
        callbacks = [_item(_CALLBACK_COLUMNS, row) for row in rows]
        return {"message": delivery, "callbacks": callbacks, "content": content}


class Rows:
    """The rows of a table whose address is the person's."""

    def __init__(self, journal: Journal, name: str, sql: str, columns: str) -> None:
        self.name = name
        self._journal = journal
        self._sql = sql
        self._columns = columns.split()

    async def held(self, person: Person) -> AsyncIterator[dict[str, Any]]:
        """Each row, by the names of its columns."""
        for row in await self._journal.query(self._sql, person.address, person.erased):
            yield _item(self._columns, row)


def suppressions(journal: Journal) -> Rows:
    """What is on the list of suppressions, for one key or for all."""
    return Rows(journal, "suppressions", _LIST, "address key reason since until source")


def strikes(journal: Journal) -> Rows:
    """The bounces that may put an address on the list."""
    return Rows(journal, "strikes", _STRIKES, "address message at relay code")


class AuditRecords:
    """What the person did, or somebody else that concerned the person."""

    name = "audit"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def held(self, person: Person) -> AsyncIterator[dict[str, Any]]:
        """Each record, the oldest first."""
        patterns = [_pattern(each) for each in _patterns(person)]
        ((first, last),) = await self._journal.query(_ENDS)
        for start in range(first or 0, 0 if last is None else last + 1, SPAN):
            for row in await self._journal.query(_AUDIT, start, start + SPAN, *patterns):
                record = Record(moment(row[0]), *row[1:])
                if _names(person, (record.by, record.on, record.detail)):
                    yield asdict(record)


def _spellings(person: Person) -> Sequence[str]:
    """The words by which a search finds the person."""
    local, at, domain = person.address.rpartition("@")
    if not at:
        return person.address.removeprefix("+"), person.erased
    in_letters = f"{local}@{domain_to_unicode(domain)}"
    return tuple(dict.fromkeys((person.address, in_letters, person.erased)))


def _patterns(person: Person) -> tuple[str, str]:
    """
    What a record must contain: the longest word of the local part, because the address may stand
    there percent-encoded; or the pseudonym.
    """
    local = person.address.rpartition("@")[0] or person.address.removeprefix("+")
    words = "".join(each if each.isascii() and each.isalnum() else " " for each in local).split()
    return max(words, key=len, default=""), person.erased


def _pattern(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def _is_of(person: Person, delivery: Delivery) -> bool:
    return _names(person, (_encode(delivery).decode(),))


def _names(person: Person, texts: Sequence[str]) -> bool:
    return any(person.erased in each or person.mentions.within(each) for each in texts)
