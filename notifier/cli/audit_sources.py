"""
Where `notifier audit` finds the records: at a running server, by HTTP; without one, in the journal
itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec

from notifier.audit import Audit
from notifier.cli.display import Resource
from notifier.cli.journal import in_journal
from notifier.cli.sources import AtServer, InJournal, builtins, converted
from notifier.web.api.audit import JSON_LINES, AuditFilters, AuditList, AuditQuery

T = TypeVar("T")
PATH = "/v1/audit"
ALL_SECONDS = 600.0  # for a server to send a piece of an export


class ByHttp(AtServer):
    """The audit of a running server. Raises RequestFailed."""

    def list(self, query: Mapping[str, Any]) -> Resource:
        return self._client.get(f"{PATH}?{urlencode(query)}")

    def export(self, query: Mapping[str, Any], file: BinaryIO) -> None:
        path = f"{PATH}/export?{urlencode(query)}"
        self._client.save(path, JSON_LINES, file, timeout=ALL_SECONDS)


class ByJournal(InJournal):
    """The audit in a journal that no server has open. Raises JournalInUse, Rejected."""

    def list(self, query: Mapping[str, Any]) -> Resource:
        asked = converted(query, AuditQuery)
        page = self._do(lambda it: it.page(asked.which(), limit=asked.limit, cursor=asked.cursor))
        return builtins(AuditList(page.items, page.next_cursor))

    def export(self, query: Mapping[str, Any], file: BinaryIO) -> None:
        which, encoder = converted(query, AuditFilters).which(), msgspec.json.Encoder()

        async def write(audit: Audit) -> None:
            async for records in audit.all(which):
                file.write(encoder.encode_lines(records))

        self._do(write)

    def _do(self, ask: Callable[[Audit], Awaitable[T]]) -> T:
        return in_journal(self._settings, lambda journal: ask(Audit(journal)))


Source: TypeAlias = ByHttp | ByJournal
