"""
Where `notifier suppressions` finds the list: at a running server, by HTTP; without one, in the
journal itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from notifier.audit import Audit
from notifier.audit.records import actor
from notifier.cli.display import Resource
from notifier.cli.journal import in_journal
from notifier.cli.sources import AtServer, InJournal, builtins, converted
from notifier.clock import utc_now
from notifier.errors import Rejected
from notifier.journal import Journal
from notifier.supervisor import Supervisor
from notifier.suppressions import Suppressions
from notifier.suppressions.csv_file import read
from notifier.web.api.suppressions import (
    CSV,
    PATH,
    SuppressionBody,
    SuppressionFilters,
    SuppressionQuery,
    csv_pieces,
    page_of,
    remove_one,
    resource,
    suppression_of,
)

T = TypeVar("T")
ALL_SECONDS = 600.0  # for a server to carry out what concerns the whole list


class NotListed(Rejected):
    """The address is not on the list."""


class ByHttp(AtServer):
    """The list of a running server. Raises RequestFailed."""

    def list(self, query: Mapping[str, Any]) -> Resource:
        return self._client.get(f"{PATH}?{urlencode(query)}")

    def add(self, body: Mapping[str, Any]) -> Resource:
        return self._client.post(PATH, body)

    def remove(self, address: str, key: str | None) -> int:
        query = "" if key is None else f"?{urlencode({'key': key})}"
        return int(self._client.delete(f"{PATH}/{quote(address, safe='@')}{query}")["count"])

    def remove_all(self, query: Mapping[str, Any]) -> int:
        path = f"{PATH}?{urlencode(query)}"
        return int(self._client.delete(path, timeout=ALL_SECONDS)["count"])

    def take_csv(self, content: bytes) -> int:
        answer = self._client.send(f"{PATH}/import", content, CSV, timeout=ALL_SECONDS)
        return int(answer["count"])

    def write_csv(self, query: Mapping[str, Any], file: BinaryIO) -> None:
        file.write(self._client.read(f"{PATH}?{urlencode(query)}", CSV, timeout=ALL_SECONDS))


class ByJournal(InJournal):
    """The list in a journal that no server has open. Raises JournalInUse, Rejected."""

    def list(self, query: Mapping[str, Any]) -> Resource:
        asked = converted(query, SuppressionQuery)
        return builtins(self._do(lambda it: page_of(it, asked)))

    def add(self, body: Mapping[str, Any]) -> Resource:
        by = actor()
        made = suppression_of(converted(body, SuppressionBody), now=utc_now(), by=by)
        self._do(lambda it: it.put([made], by=by))
        return builtins(resource(made))

    def remove(self, address: str, key: str | None) -> int:
        if not (count := self._do(lambda it: remove_one(it, address, key, by=actor()))):
            raise NotListed(f"no suppression has the address {address!r}")
        return count

    def remove_all(self, query: Mapping[str, Any]) -> int:
        which = converted(query, SuppressionFilters).which()
        return self._do(lambda it: it.remove_all(which, by=actor()))

    def take_csv(self, content: bytes) -> int:
        by = actor()
        found = read(content, now=utc_now(), source=by)
        self._do(lambda it: it.put(found, by=by, imported=True))
        return len(found)

    def write_csv(self, query: Mapping[str, Any], file: BinaryIO) -> None:
        which = converted(query, SuppressionFilters).which()

        async def write(suppressions: Suppressions) -> None:
            async for piece in csv_pieces(suppressions, which):
                file.write(piece)

        self._do(write)

    def _do(self, ask: Callable[[Suppressions], Awaitable[T]]) -> T:
        async def asked(journal: Journal) -> T:
            unopened = Suppressions(
                journal, Audit(journal), automatic=False, supervisor=Supervisor(), clock=utc_now
            )
            return await ask(unopened)

        return in_journal(self._settings, asked)


Source: TypeAlias = ByHttp | ByJournal
