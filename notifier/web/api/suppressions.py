"""The list of suppressions: /v1/suppressions."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from msgspec import Meta, Struct

from notifier.clock import utc_now
from notifier.errors import Fault, InvalidMessage, Rejected
from notifier.messages import NO_CONTROLS
from notifier.service import Notifier
from notifier.suppressions import Reason, Suppression, Suppressions, Which, read_address
from notifier.suppressions.csv_file import read, written
from notifier.suppressions.suppression import KEY, LONGEST_SOURCE, read_until
from notifier.web.api.bulk import Changed
from notifier.web.api.queries import Moment, Word
from notifier.web.auth import by_of, caller_of
from notifier.web.bodies import AnyRequest, BodyDecoder, kind_of, read_octets
from notifier.web.parameters import read_query
from notifier.web.problems import BadParameter
from notifier.web.routes import (
    MANAGE,
    READ,
    DocumentedAnswer,
    Operation,
    delete,
    get,
    options,
    path_parameter,
    post,
)

TAG = "suppressions"
PATH = "/v1/suppressions"
CSV = "text/csv"
ALL_KEYS = "-"  # in a query: the entries for all keys
EXPORTED_AT_ONCE = 1000  # rows of an export that are read at a time

KeyName = Annotated[str, Meta(pattern=rf"^{KEY.pattern}(?![\s\S])", max_length=64)]


class SuppressionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recipient to whom nothing is to be sent."""

    address: Annotated[
        str,
        Meta(
            pattern=NO_CONTROLS,
            min_length=3,
            max_length=320,
            description="An address, `@example.org` for a whole domain, or a number: "
            "`+12025550123`.",
        ),
    ]
    reason: Reason = Reason.MANUAL
    key: (
        Annotated[KeyName, Meta(description="Only for messages of this API key. Null: of all.")]
        | None
    ) = None
    until: Annotated[Moment, Meta(description="Null: without end.")] | None = None
    source: (
        Annotated[
            str,
            Meta(
                pattern=NO_CONTROLS,
                max_length=LONGEST_SOURCE,
                description="Who or what asked for it. Default: the caller.",
            ),
        ]
        | None
    ) = None


_body = BodyDecoder(SuppressionBody)


class SuppressionResource(Struct, frozen=True, kw_only=True):
    """A recipient to whom nothing is sent."""

    address: str
    reason: Reason
    key: Annotated[str | None, Meta(description="Null: it holds for all API keys.")]
    since: datetime
    until: Annotated[datetime | None, Meta(description="Null: without end.")]
    source: str


class SuppressionList(Struct, frozen=True):
    """One page, by address and key."""

    items: tuple[SuppressionResource, ...]
    next_cursor: str | None


class SuppressionFilters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects suppressions."""

    address: Annotated[Word, Meta(description="How the address begins.")] | None = None
    domain: Annotated[Word, Meta(description="The domain of the address.")] | None = None
    reason: Reason | None = None
    key: Annotated[Word, Meta(description="The name of the API key; `-`: all keys.")] | None = None

    def which(self) -> Which:
        return Which(
            address=(self.address or "").strip().lower() or None,
            domain=(self.domain or "").strip().lower().removeprefix("@") or None,
            reason=self.reason,
            key="" if self.key == ALL_KEYS else self.key or None,
        )


class SuppressionQuery(SuppressionFilters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects suppressions, and a page of them."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    cursor: (
        Annotated[str, Meta(min_length=1, description="The `next_cursor` of the page before.")]
        | None
    ) = None


class KeyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Selects the API key whose entry is deleted."""

    key: (
        Annotated[
            Word,
            Meta(description="Only the entry for this API key; `-`: for all keys. Default: each."),
        ]
        | None
    ) = None


class NoFilter(Rejected):
    """The call would empty the list, which nobody wants."""

    def __init__(self) -> None:
        names = ", ".join(field.name for field in msgspec.structs.fields(SuppressionFilters))
        super().__init__(
            f"give at least one filter, because without a filter the list would be empty: {names}"
        )


class SuppressionCalls:
    """List, add and delete suppressions, as JSON and as CSV."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._list = service.suppressions
        self._limit = service.settings.max_body

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            options(PATH, "DELETE, GET, HEAD, OPTIONS, POST", READ),
            get(PATH, self.list, READ, LIST),
            post(PATH, self.add, MANAGE, ADD, own_record=True),
            delete(PATH, self.remove_all, MANAGE, REMOVE_ALL, own_record=True),
            post(f"{PATH}/import", self.take_csv, MANAGE, IMPORT, own_record=True),
            delete(f"{PATH}/{{address:path}}", self.remove, MANAGE, REMOVE, own_record=True),
        ]

    async def list(self, request: AnyRequest) -> Response[Any]:
        """
        The entries by address. With `Accept: text/csv` the answer has all that match, as a file
        that can be imported again; `limit` and `cursor` are then ignored.
        """
        query = read_query(request, SuppressionQuery)
        if CSV in request.headers.get("accept", ""):
            headers = {
                "Cache-Control": "no-store",
                "Content-Disposition": 'attachment; filename="suppressions.csv"',
            }
            pieces = csv_pieces(self._list, query.which())
            return Stream(pieces, media_type=CSV, headers=headers)
        return Response(await page_of(self._list, query))

    async def add(self, request: AnyRequest) -> SuppressionResource | Changed:
        """
        From then on nothing is sent to the address, not even messages that wait already. Another
        replica may still send a message within a minute of its acceptance. An entry replaces the
        one with the same address and key. A `text/csv` body is imported.
        """
        if kind_of(dict(request.scope["headers"]).get(b"content-type", b"")) == CSV:
            return await self.take_csv(request)
        body = await _body.read(request, limit=self._limit)
        by = by_of(request)
        made = suppression_of(body, now=utc_now(), by=by)
        await self._list.put([made], by=by)
        return resource(made)

    async def take_csv(self, request: AnyRequest) -> Changed:
        """
        A file with the columns `address`, `reason`, `key`, `since`, `until` and `source`, of which
        only `address` is needed, or one address a line. All lines are imported, or none if one is
        wrong. Entries that have ended are left out.
        """
        headers = dict(request.scope["headers"])
        if kind_of(headers.get(b"content-type", b"")) != CSV:
            raise HTTPException(status_code=415, detail=f"the Content-Type must be {CSV}")
        content = await read_octets(request, headers, limit=self._limit)
        by = by_of(request)
        reading = partial(read, content, now=utc_now(), source=by)
        del content
        found = await self._service.threads.run(caller_of(request), reading)
        await self._list.put(found, by=by, imported=True)
        return Changed(len(found))

    async def remove_all(self, request: AnyRequest) -> Changed:
        """Messages are sent again to all addresses that match."""
        query = read_query(request, SuppressionFilters)
        if not any(msgspec.structs.astuple(query)):
            raise NoFilter
        count = await self._list.remove_all(query.which(), by=by_of(request))
        return Changed(count)

    async def remove(self, request: AnyRequest) -> Changed:
        """Messages are sent to the address again. Its bounces from before no longer count."""
        key = read_query(request, KeyQuery).key
        asked = request.scope["path"].removeprefix(f"{PATH}/").rstrip("/")
        count = await remove_one(self._list, asked, key, by=by_of(request)) if asked else 0
        if not count:
            raise NotFoundException(f"no suppression has the address {asked[:320]!r}")
        return Changed(count)


async def page_of(suppressions: Suppressions, query: SuppressionQuery) -> SuppressionList:
    """The page that a query asks for. Raises BadParameter."""
    after = None if query.cursor is None else after_of(query.cursor)
    found = await suppressions.page(query.which(), limit=query.limit + 1, after=after)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return SuppressionList(tuple(map(resource, shown)), cursor_of(shown[-1]) if more else None)


async def csv_pieces(suppressions: Suppressions, which: Which) -> AsyncIterator[bytes]:
    """All that match, as a CSV file."""
    yield written(()).encode()
    after = None
    while page := await suppressions.page(which, limit=EXPORTED_AT_ONCE, after=after):
        yield written(page, head=False).encode()
        after = page[-1].address, page[-1].key


async def remove_one(suppressions: Suppressions, asked: str, key: str | None, *, by: str) -> int:
    """Take an address off the list, as it is compared or as it is written."""
    try:
        address = read_address(asked)
    except ValueError:
        address = asked
    return await suppressions.remove(address, "" if key == ALL_KEYS else key, by=by)


def suppression_of(body: SuppressionBody, *, now: datetime, by: str) -> Suppression:
    """The suppression that a body asks for. Raises InvalidMessage."""
    try:
        address = read_address(body.address)
    except ValueError as error:
        raise InvalidMessage(Fault("/address", str(error))) from None
    try:
        until = None if body.until is None else read_until(body.until, now).astimezone(UTC)
    except ValueError as error:
        raise InvalidMessage(Fault("/until", str(error).removeprefix("until: "))) from None
    return Suppression(
        address=address,
        reason=body.reason,
        key=body.key or "",
        since=now,
        until=until,
        source=by if body.source is None else body.source,
    )


def resource(suppression: Suppression) -> SuppressionResource:
    return SuppressionResource(
        address=suppression.address,
        reason=suppression.reason,
        key=suppression.key or None,
        since=suppression.since,
        until=suppression.until,
        source=suppression.source,
    )


def cursor_of(last: Suppression) -> str:
    """The cursor of the page that begins after this entry."""
    return base64.urlsafe_b64encode(f"{last.address} {last.key}".encode()).decode()


def after_of(cursor: str) -> tuple[str, str]:
    """The address and key that a cursor stands for. Raises BadParameter."""
    try:
        address, _, key = base64.urlsafe_b64decode(cursor.encode()).decode().rpartition(" ")
    except ValueError:
        address = ""
    if not address or "\0" in address:
        raise BadParameter("cursor", "is not one that a list returned")
    return address, key


ADDRESS = path_parameter("address", "The address, percent-encoded.", example="ann@example.org")
EXAMPLE = SuppressionResource(
    address="ann@example.org",
    reason=Reason.BOUNCE,
    key=None,
    since=datetime(2027, 1, 31, 12, tzinfo=UTC),
    until=datetime(2027, 3, 2, 12, tzinfo=UTC),
    source="5.1.1 for several messages, last for 019a8e1c2b3d4f5a6b7c8d9e0f1a2b3c",
)
EXAMPLE_CSV = "address,reason,key,since,until,source\r\n@example.org,manual,,,,asked by phone\r\n"
COUNT = DocumentedAnswer("How many entries.", Changed, Changed(17))
LIST = Operation(
    id="listSuppressions",
    summary="List the suppressions",
    tag=TAG,
    query=SuppressionQuery,
    answers={
        200: DocumentedAnswer(
            "One page; or with `Accept: text/csv` all.",
            SuppressionList,
            SuppressionList((EXAMPLE,), None),
            also=(DocumentedAnswer("", str, EXAMPLE_CSV, media_type=CSV),),
        )
    },
    problems=(422, 503),
)
ADD = Operation(
    id="addSuppression",
    summary="Suppress an address",
    tag=TAG,
    body=_body.schema,
    examples={
        "address": {"address": "ann@example.org", "source": "asked by phone"},
        "domain": {"address": "@example.org", "key": "shop", "until": "2100-01-31T12:00:00Z"},
        "number": {"address": "+12025550123", "reason": "complaint"},
    },
    answers={200: DocumentedAnswer("The entry.", SuppressionResource, EXAMPLE)},
    problems=(400, 403, 413, 415, 422, 503),
)
REMOVE_ALL = Operation(
    id="removeSuppressions",
    summary="Delete all suppressions that match",
    tag=TAG,
    query=SuppressionFilters,
    answers={200: COUNT},
    problems=(403, 422, 503),
)
IMPORT = Operation(
    id="importSuppressions",
    summary="Import suppressions from a CSV file",
    tag=TAG,
    body=str,
    body_type=CSV,
    examples={"file": EXAMPLE_CSV},
    answers={200: COUNT},
    problems=(400, 403, 413, 415, 422, 503),
)
REMOVE = Operation(
    id="removeSuppression",
    summary="Delete a suppression",
    tag=TAG,
    path=ADDRESS,
    query=KeyQuery,
    answers={200: COUNT},
    problems=(403, 404, 422, 503),
)
