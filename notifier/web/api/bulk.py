"""All messages that match a filter: count them, or act on them."""

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.errors import Rejected
from notifier.journal import Filter
from notifier.service import Notifier
from notifier.web.api.messages import TAG
from notifier.web.api.queries import Filters
from notifier.web.auth import by_of, caller_of, narrowed
from notifier.web.bodies import AnyRequest
from notifier.web.parameters import read_query
from notifier.web.routes import MANAGE, READ_OWN, DocumentedAnswer, Operation, get, post

MOST_COUNTED = 10_000


class NoFilter(Rejected):
    """The call would change every message, which nobody wants."""

    def __init__(self) -> None:
        names = ", ".join(field.name for field in msgspec.structs.fields(Filters))
        super().__init__(
            f"give at least one filter, because without a filter all messages would change: {names}"
        )


class Changed(Struct, frozen=True):
    """How many messages were changed. Messages in a state that forbids it are not counted."""

    count: int


class Counted(Struct, frozen=True):
    """How many messages match. `more`: there are more than were counted."""

    count: int
    more: bool


class Bulk:
    """Count, cancel, retry or send now all messages that match."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            get("/v1/messages/count", self.count, READ_OWN, COUNT),
            post("/v1/messages/cancel", self.cancel, MANAGE, CANCEL, own_record=True),
            post("/v1/messages/retry", self.retry, MANAGE, RETRY, own_record=True),
            post("/v1/messages/send-now", self.send_now, MANAGE, SEND_NOW, own_record=True),
        ]

    async def count(self, request: AnyRequest) -> Counted:
        """Counts messages that a change with the same filters would concern, up to ten thousand."""
        which = narrowed(read_query(request, Filters).filter(), request)
        count = await self._service.count(which, most=MOST_COUNTED + 1, by=caller_of(request))
        return Counted(min(count, MOST_COUNTED), count > MOST_COUNTED)

    async def cancel(self, request: AnyRequest) -> Changed:
        """Messages that are being sent or are final are left alone."""
        return await self._change("cancel", request)

    async def retry(self, request: AnyRequest) -> Changed:
        """Recipients that already got theirs are left out."""
        return await self._change("retry", request)

    async def send_now(self, request: AnyRequest) -> Changed:
        """The messages become due at once, in the order in which they were due."""
        return await self._change("send-now", request)

    async def _change(self, verb: str, request: AnyRequest) -> Changed:
        which = read_filter(request)
        return Changed(await self._service.change_all(verb, which, by=by_of(request)))


def read_filter(request: AnyRequest) -> Filter:
    """Which messages a call is to change. Raises NoFilter."""
    query = read_query(request, Filters)
    if not any(msgspec.structs.astuple(query)):
        raise NoFilter
    return query.filter()


COUNT = Operation(
    id="countMessages",
    summary="Count all messages that match",
    tag=TAG,
    query=Filters,
    answers={200: DocumentedAnswer("How many messages match.", Counted, Counted(17, more=False))},
    problems=(422, 503),
)


def _change(id: str, summary: str) -> Operation:
    return Operation(
        id=id,
        summary=summary,
        tag=TAG,
        query=Filters,
        answers={200: DocumentedAnswer("How many messages were changed.", Changed, Changed(17))},
        problems=(403, 422, 503),
    )


CANCEL = _change("cancelMessages", "Cancel all waiting messages that match")
RETRY = _change("retryMessages", "Send again all failed or held messages that match")
SEND_NOW = _change("sendMessagesNow", "Send now all waiting messages that match")
