"""Writes and reads the audit, and deletes what is past its time."""

import asyncio
import contextlib
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Self

from msgspec.structs import replace

from notifier.audit import key_changes, records
from notifier.audit.records import Page, Record, Which, actor, added, added_counted
from notifier.audit.sums import RefusedSignIns, Sums, statements
from notifier.clock import Clock, utc_now
from notifier.errors import NotifierError
from notifier.journal import Journal
from notifier.journal.rows import micros
from notifier.journal.statements import Also, Bound, Counted, Counting, Statement
from notifier.keys import Keys
from notifier.settings import FIELDS, Settings, variable
from notifier.supervisor import Background, Supervisor

LOOK_SECONDS = 5.0  # between two looks at the keys and at what is past its time
PORTION = 500  # rows that are deleted at a time
PAGE = 200  # rows that are exported at a time: more would keep other readers waiting
SERVICE = "service"  # who acts if no caller asked for it
KNOWN_KEYS = "audit:keys"  # the value with the keys as they were at the last look


class Audit(Background):
    """
    Keeps who did what. A change of the journal is recorded in its own transaction, everything else
    before its answer. Between entering and leaving it notices changes of keys, and prunes.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        keys: Keys | None = None,
        senders: Counter[str] | None = None,
        retention: float = 0.0,
        supervisor: Supervisor | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """`senders`: how many messages were accepted of whom; the audit takes the counts out."""
        self._journal = journal
        self._keys = keys
        self._senders = Counter() if senders is None else senders
        self._retention = timedelta(seconds=retention)
        super().__init__(supervisor or Supervisor(), {"audit": self._keep})
        self._clock = clock
        self._refused_sign_ins = RefusedSignIns()
        self._sums = Sums()
        self.count = self._sums.count
        self._writing_sums = asyncio.Lock()
        self._seen: key_changes.Seen = {}

    async def __aenter__(self) -> Self:
        await self.look_at_keys()
        return await super().__aenter__()

    async def __aexit__(self, *exc_info: object) -> None:
        async with self._writing_sums:  # cut off amid a write, nobody knows whether it was written
            await super().__aexit__(*exc_info)
        with contextlib.suppress(NotifierError):
            await self.write_sums()

    async def note(
        self, by: str, what: str, *, on: str = "", count: int = 1, detail: str = ""
    ) -> None:
        """Record an act. Raises JournalUnavailable."""
        await self._journal.execute(self.statement(by, what, on=on, count=count, detail=detail))

    def statement(
        self, by: str, what: str, *, on: str = "", count: int = 1, detail: str = ""
    ) -> Statement:
        """The statement that records an act, for the transaction of the act."""
        return added(self._record(by, what, on, count, detail))

    def counted(self, by: str, what: str, *, on: str = "", detail: str = "") -> Counted:
        """
        The statement for each portion of an act, by the portion's size. All portions are one
        record.
        """
        record, once = self._record(by, what, on, 0, detail), secrets.token_hex(12)
        return lambda number: added(replace(record, count=number), once=once)

    def counting(self, by: str, what: str, *, on: str = "", detail: str = "") -> Counting:
        """The same, with a query that counts the portion."""
        record, once = self._record(by, what, on, 0, detail), secrets.token_hex(12)

        def counted(found: str, values: tuple[Bound, ...]) -> Statement:
            return added_counted(record, once, found, values)

        return counted

    async def note_start(self, settings: Settings) -> None:
        """Record that the server has started, and its settings without secrets."""
        usual = {variable(field.name): field.default for field in FIELDS}
        given = [(name, text) for name, text in settings.describe() if usual[name] != text]
        detail = " ".join(f"{name}={text}" for name, text in given)
        on = f"{socket.gethostname()}:{settings.port}"
        await self.note(actor(), "start", on=on, detail=detail)

    async def note_refused_sign_in(self, *, on: str, detail: str) -> None:
        """Record a failed sign-in from this address. Never raises."""
        records = self._refused_sign_ins.records(self._clock(), on=on, detail=detail)
        with contextlib.suppress(NotifierError):
            if records:
                await self._journal.execute(*map(added, records))

    async def write_sums(self) -> None:
        """Write the sums since the last call. Raises JournalUnavailable."""
        async with self._writing_sums:
            for by, number in self._senders.items():
                self._sums.count(by, "send", number)
            self._senders.clear()
            counts = self._sums.taken()
            try:
                if counts:
                    await self._journal.execute(*statements(counts, self._clock()))
            except NotifierError:
                self._sums.give_back(counts)
                raise

    def one(self, by: str, what: str, *, on: str, detail: str = "") -> Also:
        """The statements that record an act with the change of one message."""
        statement = self.statement(by, what, on=on, detail=detail)
        return lambda _: (statement,)

    def many(self, by: str, what: str, *, detail: str) -> Also:
        """The statements that record a bulk act with each portion; all portions are one record."""
        counted = self.counted(by, what, detail=detail)
        return lambda deliveries: (counted(len(deliveries)),) if deliveries else ()

    def _record(self, by: str, what: str, on: str, count: int, detail: str) -> Record:
        return Record(self._clock(), by or SERVICE, what, on, count, detail)

    async def page(self, which: Which, *, limit: int = 50, cursor: str | None = None) -> Page:
        """One page, the newest first. Raises Rejected for a cursor of another list."""
        sql, values = records.query(which, limit=limit + 1, cursor=cursor)
        return records.page(await self._journal.query(sql, *values), limit)

    async def all(self, which: Which) -> AsyncIterator[Sequence[Record]]:
        """All that match, in portions, the newest first."""
        cursor = None
        while True:
            page = await self.page(which, limit=PAGE, cursor=cursor)
            yield page.items
            if (cursor := page.next_cursor) is None:
                return

    async def look_at_keys(self) -> None:
        """Record which keys have changed since the last look."""
        if self._keys is None:
            return
        self._keys.reload_if_changed()
        keys = self._keys.all()
        seen = key_changes.seen(keys)
        if seen == self._seen:
            return
        # As all replicas know them: another replica may have recorded the change already.
        known = key_changes.read(await self._journal.value(KNOWN_KEYS))
        after, statements = key_changes.changes(known, keys, self._clock())
        if after != known:
            await self._journal.put(KNOWN_KEYS, key_changes.written(after), *statements)
        self._seen = seen

    async def prune(self) -> int:
        """Delete what is past its time, in portions. Returns the number of rows."""
        before = micros(self._clock() - self._retention)
        dropped = 0
        while True:
            (rows,) = await self._journal.execute(Statement(records.DROP, (before, PORTION)))
            dropped += len(rows)
            if len(rows) < PORTION:
                return dropped

    async def _keep(self) -> None:
        looked_for_old = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(NotifierError):
                await self.look_at_keys()
                await self.write_sums()
                if rest := self._refused_sign_ins.rest(self._clock()):
                    await self._journal.execute(*map(added, rest))
                if asyncio.get_running_loop().time() - looked_for_old > 3600.0:
                    looked_for_old = asyncio.get_running_loop().time()
                    await self.prune()
