"""
Where `notifier audit` finds the records: at a running server, by HTTP; without one, in the journal
itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from notifier.audit import Audit
from notifier.cli.client import Client
from notifier.cli.display import Resource
from notifier.cli.journal import in_journal
from notifier.cli.sources import why_journal
from notifier.errors import Rejected
from notifier.settings import Settings
from notifier.web.api.audit import JSON_LINES, AuditFilters, AuditList, AuditQuery

T = TypeVar("T")
PATH = "/v1/audit"
ALL_SECONDS = 600.0  # for a server to send a piece of an export


class Source(Protocol):
    """A place where the audit can be seen. `name` tells a person which one it is."""

    name: str

    def list(self, query: Mapping[str, Any]) -> Resource: ...

    def export(self, query: Mapping[str, Any], file: BinaryIO) -> None: ...


def source_of(settings: Settings, client: Client, *, named: bool, offline: bool) -> Source:
    """The server if it runs or its URL was given, else the journal. Raises RequestFailed."""
    why = why_journal(settings, client, named=named, offline=offline)
    return ByHttp(client) if why is None else ByJournal(settings, why)


class ByHttp:
    """The audit of a running server. Raises RequestFailed."""

    def __init__(self, client: Client) -> None:
        self.name = f"from the server at {client.url}"
        self._client = client

    def list(self, query: Mapping[str, Any]) -> Resource:
        return self._client.get(f"{PATH}?{urlencode(query)}")

    def export(self, query: Mapping[str, Any], file: BinaryIO) -> None:
        path = f"{PATH}/export?{urlencode(query)}"
        self._client.save(path, JSON_LINES, file, timeout=ALL_SECONDS)


class ByJournal:
    """The audit in a journal that no server has open. Raises JournalInUse, Rejected."""

    def __init__(self, settings: Settings, why: str) -> None:
        self.name = f"from the journal in {settings.data_dir}: {why}"
        self._settings = settings

    def list(self, query: Mapping[str, Any]) -> Resource:
        asked = _read(query, AuditQuery)
        page = self._do(lambda it: it.page(asked.which(), limit=asked.limit, cursor=asked.cursor))
        found: Resource = msgspec.to_builtins(AuditList(page.items, page.next_cursor))
        return found

    def export(self, query: Mapping[str, Any], file: BinaryIO) -> None:
        which, encoder = _read(query, AuditFilters).which(), msgspec.json.Encoder()

        async def write(audit: Audit) -> None:
            async for records in audit.all(which):
                file.write(encoder.encode_lines(records))

        self._do(write)

    def _do(self, ask: Callable[[Audit], Awaitable[T]]) -> T:
        return in_journal(self._settings, lambda journal: ask(Audit(journal)))


def _read(given: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Rejected(str(error)) from None
