"""What the built-in mailbox caught: as a page, and as JSON for tests of whoever uses notifier."""

import asyncio
import contextlib
import re
from functools import partial
from typing import Annotated

import structlog
from litestar import delete, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.capture import Caught, Mailbox
from notifier.service import Notifier
from notifier.web.answers import NO_STORE, Answer, encode
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET
from notifier.web.parameters import read_query
from notifier.web.queries import Word
from notifier.web.shell import SECURE, Shell
from notifier.web.sse import KEEP_ALIVE, KeepAlive, Stream, event
from notifier.web.strangers import download, framed, number_of

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

PRIVATE = (*SECURE, NO_STORE)
DRAINING_SECONDS = 1.0  # how late a reader may learn that we stop

log = structlog.get_logger()


class InboxQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the mailbox."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    q: Word = ""


class InboxList(Struct, frozen=True):
    """One page of what was caught, newest first, and how much there is in all."""

    items: tuple[Caught, ...]
    next_before: str | None
    total: int


class Deleted(Struct, frozen=True):
    """How many mails are gone."""

    count: int


class Inbox:
    """/inbox, where the mailbox is in use."""

    def __init__(self, service: Notifier, shell: Shell) -> None:
        self._service = service
        self._shell = shell
        self._keep_alive = KeepAlive()

    def routes(self) -> list[HTTPRouteHandler]:
        mail = "/inbox/messages/{id:str}"
        return [
            route("/inbox", http_method=GET)(self.page),
            route("/inbox/events", http_method=["GET"])(self.follow),
            route("/inbox/messages", http_method=GET)(self.list),
            delete("/inbox/messages", status_code=200)(self.delete_all),
            route(mail, http_method=GET)(self.show),
            route(f"{mail}/source", http_method=GET)(self.source),
            route(f"{mail}/html", http_method=GET)(self.html),
            route(f"{mail}/attachments/{{number:str}}", http_method=GET)(self.attachment),
        ]

    async def page(self, request: AnyRequest) -> Answer:
        self._mailbox()
        return self._shell.private(request, "inbox.html")

    async def list(self, request: AnyRequest) -> Answer:
        mailbox = self._mailbox()
        query = read_query(request, InboxQuery)
        found = await mailbox.list(limit=query.limit + 1, before=query.before, q=query.q.strip())
        shown = tuple(found[: query.limit])
        older = shown[-1].id if len(found) > query.limit else None
        body = InboxList(shown, older, await mailbox.count())
        return Answer(encode(body), headers=PRIVATE)

    async def delete_all(self, request: AnyRequest) -> Answer:
        """For good: they are copies of what was sent, which the journal knows without them."""
        count = await self._mailbox().delete_all()
        log.info("inbox_deleted", count=count, by=by_of(request))
        return Answer(encode(Deleted(count)), headers=PRIVATE)

    async def show(self, request: AnyRequest) -> Answer:
        return Answer(encode(await self._get(request)), headers=PRIVATE)

    async def source(self, request: AnyRequest) -> Answer:
        """As text, so that no browser takes it for something to run."""
        source = await self._mailbox().source(_id(request))
        if source is None:
            raise NotFoundException("the mailbox has no such message")
        return Answer(source, content_type=b"text/plain; charset=utf-8", headers=PRIVATE)

    async def html(self, request: AnyRequest) -> Answer:
        caught = await self._get(request)
        if not caught.html:
            raise NotFoundException("the message has no HTML")
        return await framed(caught.html, caught.attachments, partial(self._part, caught.id))

    async def attachment(self, request: AnyRequest) -> Answer:
        part = await self._mailbox().attachment(_id(request), number_of(request))
        if part is None:
            raise NotFoundException("the message has no such attachment")
        name, _, content = part
        return download(name, content)

    async def follow(self, request: AnyRequest) -> Stream:  # noqa: ARG002 - Litestar calls it by name
        """`event: mail` with the id of each that arrives, or with "" when all were deleted."""
        return Stream(partial(self._tell, self._mailbox()), self._keep_alive)

    async def _tell(self, mailbox: Mailbox, stream: Stream) -> None:
        news: asyncio.Queue[str] = asyncio.Queue()
        stop = mailbox.listen(news.put_nowait)
        try:
            await stream.write(KEEP_ALIVE)
            while not self._service.draining:
                with contextlib.suppress(TimeoutError):
                    id = await asyncio.wait_for(news.get(), DRAINING_SECONDS)
                    await stream.write(event(b"mail", encode(id)))
            await stream.write(event(b"closing", b"{}"), last=True)
        finally:
            stop()

    def _mailbox(self) -> Mailbox:
        if self._service.mailbox is None:
            raise NotFoundException("the built-in mailbox is not in use")
        return self._service.mailbox

    async def _get(self, request: AnyRequest) -> Caught:
        caught = await self._mailbox().get(_id(request))
        if caught is None:
            raise NotFoundException("the mailbox has no such message")
        return caught

    async def _part(self, id: str, number: int) -> bytes | None:
        part = await self._mailbox().attachment(id, number)
        return None if part is None else part[2]


def _id(request: AnyRequest) -> str:
    id: str = request.scope["path_params"]["id"]
    if not _ID.fullmatch(id):  # it names a file
        raise NotFoundException("the mailbox has no such message")
    return id
