"""The mails in the built-in mailbox: as a page, and as JSON for tests of programs."""

import asyncio
import re
from typing import Annotated, Any, TypeVar

import structlog
from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.capture import Caught, Summary
from notifier.service import Notifier
from notifier.web.api.queries import Word
from notifier.web.audited import add_note
from notifier.web.auth import by_of, caller_of
from notifier.web.bodies import AnyRequest, encode
from notifier.web.parameters import read_query
from notifier.web.routes import MANAGE, OPEN, READ, delete, get, stream
from notifier.web.sse import KEEP_ALIVE, Stream, event
from notifier.web.ui.layout import SECURE, Layout
from notifier.web.ui.untrusted import download, framed, number_of

T = TypeVar("T")

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

MOST_NEWS = 100  # ids that may wait for one client
DRAINING_SECONDS = 1.0  # seconds after which a client learns that the service stops

log = structlog.get_logger()


class InboxQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Selects mails of the mailbox, and a page of them."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    q: Word = ""


class InboxList(Struct, frozen=True):
    """One page of mails, newest first, and how many there are in all."""

    items: tuple[Summary, ...]
    next_before: str | None
    total: int


class Deleted(Struct, frozen=True):
    """How many mails were deleted."""

    count: int


class Inbox:
    """/inbox."""

    def __init__(self, service: Notifier, layout: Layout) -> None:
        self._service = service
        self._layout = layout

    def routes(self) -> list[HTTPRouteHandler]:
        mail = "/inbox/messages/{id:str}"
        return [
            get("/inbox", self.page, OPEN),
            stream("/inbox/events", self.follow, READ),
            get("/inbox/messages", self.list, READ),
            delete("/inbox/messages", self.delete_all, MANAGE, act="delete-mails"),
            get(mail, self.show, READ),
            get(f"{mail}/source", self.source, READ),
            get(f"{mail}/html", self.html, READ),
            get(f"{mail}/attachments/{{number:str}}", self.attachment, READ),
        ]

    async def page(self, request: AnyRequest) -> Response[Any]:
        return await self._layout.private(request, "inbox.html")

    async def list(self, request: AnyRequest) -> Response[InboxList]:
        query = read_query(request, InboxQuery)
        found = await self._service.mailbox.list(
            limit=query.limit + 1,
            before=query.before,
            q=query.q.strip(),
            caller=caller_of(request),
        )
        shown = tuple(found[: query.limit])
        older = shown[-1].id if len(found) > query.limit else None
        body = InboxList(shown, older, await self._service.mailbox.count())
        return Response(body, headers=SECURE)

    async def delete_all(self, request: AnyRequest) -> Response[Deleted]:
        """The mails are deleted for good. They are copies; the journal has what was sent."""
        count = await self._service.mailbox.delete_all()
        add_note(request, on="inbox", count=count)
        log.info("inbox_deleted", count=count, by=by_of(request))
        return Response(Deleted(count), headers=SECURE)

    async def show(self, request: AnyRequest) -> Response[Caught]:
        caught = await self._service.mailbox.get(_id(request), caller=caller_of(request))
        return Response(_found(caught), headers=SECURE)

    async def source(self, request: AnyRequest) -> Response[bytes]:
        """Plain text, so that no browser runs it."""
        source = await self._service.mailbox.source(_id(request), caller=caller_of(request))
        return Response(_found(source), media_type="text/plain", headers=SECURE)

    async def html(self, request: AnyRequest) -> Response[bytes]:
        html = await self._service.mailbox.look(_id(request), framed, caller=caller_of(request))
        return _found(html, "the mailbox has no such message, or it has no HTML")

    async def attachment(self, request: AnyRequest) -> Response[bytes]:
        file = await self._service.mailbox.attachment(
            _id(request), number_of(request), caller=caller_of(request)
        )
        file = _found(file, "the message has no such attachment")
        return download(file.about.name, file.content)

    async def follow(self) -> Stream:
        """`event: mail` with the id of each new mail, or with "" when all may be different."""
        return Stream(self._write)

    async def _write(self, stream: Stream) -> None:
        arrivals = Arrivals()
        stop = self._service.mailbox.listen(arrivals.put)
        try:
            await stream.write(KEEP_ALIVE)
            while not self._service.draining:
                try:
                    id = await asyncio.wait_for(arrivals.next(), DRAINING_SECONDS)
                except TimeoutError:
                    await stream.keep_alive()
                else:
                    await stream.write(event(b"mail", encode(id)))
            await stream.write(event(b"closing", b"{}"), last=True)
        finally:
            stop()


class Arrivals:
    """
    The ids of new mails for one client. A slow client gets "" in place of ids, and must read the
    list again.
    """

    def __init__(self) -> None:
        self._ids: asyncio.Queue[str] = asyncio.Queue(MOST_NEWS)

    def put(self, id: str) -> None:
        if self._ids.full():
            while not self._ids.empty():
                self._ids.get_nowait()
            id = ""
        self._ids.put_nowait(id)

    async def next(self) -> str:
        return await self._ids.get()


def _found(what: T | None, why_not: str = "the mailbox has no such message") -> T:
    """The value. Raises 404 if there is none."""
    if what is None:
        raise NotFoundException(why_not)
    return what


def _id(request: AnyRequest) -> str:
    id: str = request.scope["path_params"]["id"]
    if not _ID.fullmatch(id):  # it is part of a file's name
        raise NotFoundException("the mailbox has no such message")
    return id
