"""GET /v1/audit: who did what."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from msgspec import Meta, Struct

from notifier.audit import Record, Which
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.queries import Moment, Word
from notifier.web.bodies import AnyRequest
from notifier.web.parameters import read_query
from notifier.web.routes import MANAGE, DocumentedAnswer, Operation, get

JSON_LINES = "application/jsonl"
TAG = "operation"


class AuditFilters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects records."""

    by: (
        Annotated[
            Word,
            Meta(
                description="Who: `key:NAME`, `monitor:NAME`, `login:NAME`, `cli:USER`, "
                "`anonymous`."
            ),
        ]
        | None
    ) = None
    what: Annotated[Word, Meta(description="What was done: `cancel`, `sign-in` ...")] | None = None
    since: Moment | None = None

    def which(self) -> Which:
        return Which(by=self.by, what=self.what, since=self.since)


class AuditQuery(AuditFilters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects records, and a page of them."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: (
        Annotated[str, Meta(min_length=1, description="The `next_cursor` of the page before.")]
        | None
    ) = None


class AuditList(Struct, frozen=True):
    """One page of the audit, the newest first."""

    items: tuple[Record, ...]
    next_cursor: Annotated[
        str | None, Meta(description="The `cursor` of the next page. Null: this is the last page.")
    ]


class AuditViews:
    """The audit, by pages or as a whole."""

    def __init__(self, service: Notifier) -> None:
        self._audit = service.audit

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/v1/audit", self.page, MANAGE, PAGE),
            get("/v1/audit/export", self.export, MANAGE, EXPORT),
        ]

    async def page(self, request: AnyRequest) -> AuditList:
        """
        Who cancelled, retried, settled, paused, signed in (or failed to), deleted, made or revoked
        keys, and started the service; and who sent how many messages within an hour (`send`). Each
        message itself shows who sent it: `key`, and `accepted` in its timeline.
        """
        query = read_query(request, AuditQuery)
        page = await self._audit.page(query.which(), limit=query.limit, cursor=query.cursor)
        return AuditList(page.items, page.next_cursor)

    async def export(self, request: AnyRequest) -> Stream:
        """All that match, one JSON object a line, the newest first."""
        lines = self._lines(read_query(request, AuditFilters).which())
        headers = {"content-disposition": 'attachment; filename="audit.jsonl"'}
        return Stream(lines, media_type=JSON_LINES, headers=headers)

    async def _lines(self, which: Which) -> AsyncIterator[bytes]:
        async for records in self._audit.all(which):
            yield msgspec.json.Encoder().encode_lines(records)


PAGE = Operation(
    id="listAudit",
    summary="List who did what",
    tag=TAG,
    query=AuditQuery,
    answers={200: DocumentedAnswer("One page.", AuditList, examples.AUDIT)},
    problems=(422, 503),
)
EXPORT = Operation(
    id="exportAudit",
    summary="Export who did what",
    tag=TAG,
    query=AuditFilters,
    answers={200: DocumentedAnswer("JSON lines.", str, examples.AUDIT_LINE, media_type=JSON_LINES)},
    problems=(422, 503),
)
