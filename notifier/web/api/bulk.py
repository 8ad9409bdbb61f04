"""All messages that match a filter: how many, and to change their course."""

from collections.abc import Awaitable, Callable

import msgspec
from litestar import post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.errors import Rejected
from notifier.service import Notifier
from notifier.web.api.messages import TAGS
from notifier.web.api.queries import Filters
from notifier.web.auth import by_of, caller_of, narrowed
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET, Operation, Outcome
from notifier.web.parameters import read_query
from notifier.web.responses import NO_STORE, Answer, encode

MOST_COUNTED = 10_000


class NoFilter(Rejected):
    """It would concern every message there is, which nobody asks for on purpose."""

    def __init__(self) -> None:
        names = ", ".join(field.name for field in msgspec.structs.fields(Filters))
        super().__init__(f"at least one filter is needed, so that not all are changed: {names}")


class Changed(Struct, frozen=True):
    """How many messages were changed. Those whose state forbids it are not among them."""

    count: int


class Counted(Struct, frozen=True):
    """How many messages match. `more`: and there are others, which nobody has counted."""

    count: int
    more: bool


class Bulk:
    """Count, cancel, retry or hurry all messages that match."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            _count(self.count),
            _all("cancel", "cancelMessages", "Call off all that match and wait")(self.cancel),
            _all("retry", "retryMessages", "Send again all that match and failed or were held")(
                self.retry
            ),
            _all("send-now", "sendMessagesNow", "Send now all that match and wait")(self.send_now),
        ]

    async def count(self, request: AnyRequest) -> Answer:
        """Up to ten thousand. To know what a call that changes them would be about."""
        which = narrowed(read_query(request, Filters).filter(), request)
        count = await self._service.journal.count(
            which, most=MOST_COUNTED + 1, by=caller_of(request)
        )
        body = Counted(min(count, MOST_COUNTED), count > MOST_COUNTED)
        return Answer(encode(body), headers=[NO_STORE])

    async def cancel(self, request: AnyRequest) -> Answer:
        """Those that are on their way or at their end already are passed over."""
        return await self._change("cancel", request)

    async def retry(self, request: AnyRequest) -> Answer:
        """Recipients that have theirs already are left out."""
        return await self._change("retry", request)

    async def send_now(self, request: AnyRequest) -> Answer:
        """They are due at once, in the order in which they would have been."""
        return await self._change("send-now", request)

    async def _change(self, verb: str, request: AnyRequest) -> Answer:
        query = read_query(request, Filters)
        if not any(msgspec.structs.astuple(query)):
            raise NoFilter
        count = await self._service.change_all(verb, query.filter(), by=by_of(request))
        return Answer(encode(Changed(count)), headers=[NO_STORE])


CHANGE = Operation(
    query=Filters,
    answers={200: Outcome("So many were changed.", Changed, Changed(17))},
    problems=(403, 422, 503),
)

COUNT = Operation(
    query=Filters,
    answers={200: Outcome("So many match.", Counted, Counted(17, more=False))},
    problems=(422, 503),
)

Handler = Callable[[AnyRequest], Awaitable[Answer]]


def _all(verb: str, id: str, summary: str) -> Callable[[Handler], HTTPRouteHandler]:
    return post(
        f"/v1/messages/{verb}",
        status_code=200,
        operation_id=id,
        summary=summary,
        tags=TAGS,
        opt={"operation": CHANGE},
    )


def _count(handler: Handler) -> HTTPRouteHandler:
    return route(
        "/v1/messages/count",
        http_method=GET,
        operation_id="countMessages",
        summary="Count all that match",
        tags=TAGS,
        opt={"operation": COUNT},
    )(handler)
