"""What the built-in mailbox caught: as a page, and as JSON for tests of whoever uses notifier."""

import asyncio
import contextlib
import re
from functools import partial
from typing import Annotated, TypeVar

import structlog
from litestar import delete, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.capture import Mailbox, Summary
from notifier.service import Notifier
from notifier.web.api.queries import Word
from notifier.web.auth import by_of, caller_of
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET
from notifier.web.parameters import read_query
from notifier.web.responses import NO_STORE, Answer, encode
from notifier.web.sse import KEEP_ALIVE, KeepAlive, Stream, event
from notifier.web.ui.layout import SECURE, Shell
from notifier.web.ui.untrusted import download, framed, number_of

T = TypeVar("T")

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

PRIVATE = (*SECURE, NO_STORE)
MOST_NEWS = 100  # ids that wait for one reader
DRAINING_SECONDS = 1.0  # how late a reader may learn that we stop

log = structlog.get_logger()


class InboxQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the mailbox."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    q: Word = ""


class InboxList(Struct, frozen=True):
    """One page of what was caught, newest first, and how much there is in all."""

    items: tuple[Summary, ...]
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
        return await self._shell.private(request, "inbox.html")

    async def list(self, request: AnyRequest) -> Answer:
        mailbox = self._mailbox()
        query = read_query(request, InboxQuery)
        found = await mailbox.list(
            limit=query.limit + 1,
            before=query.before,
            q=query.q.strip(),
            caller=caller_of(request),
        )
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
        caught = await self._mailbox().get(_id(request), caller=caller_of(request))
        return Answer(encode(_found(caught)), headers=PRIVATE)

    async def source(self, request: AnyRequest) -> Answer:
        """As text, so that no browser takes it for something to run."""
        source = await self._mailbox().source(_id(request), caller=caller_of(request))
        return Answer(_found(source), content_type=b"text/plain; charset=utf-8", headers=PRIVATE)

    async def html(self, request: AnyRequest) -> Answer:
        return _found(
            await self._mailbox().look(_id(request), framed, caller=caller_of(request)),
            "the mailbox has no such message, or it has no HTML",
        )

    async def attachment(self, request: AnyRequest) -> Answer:
        file = _found(
            await self._mailbox().attachment(
                _id(request), number_of(request), caller=caller_of(request)
            ),
            "the message has no such attachment",
        )
        return download(file.about.name, file.content)

    async def follow(self, request: AnyRequest) -> Stream:  # noqa: ARG002 - Litestar calls it by name
        """`event: mail` with the id of each that arrives, or with "" when all may be different."""
        return Stream(partial(self._tell, self._mailbox()), self._keep_alive)

    async def _tell(self, mailbox: Mailbox, stream: Stream) -> None:
        news = News()
        stop = mailbox.listen(news.put)
        try:
            await stream.write(KEEP_ALIVE)
            while not self._service.draining:
                with contextlib.suppress(TimeoutError):
                    id = await asyncio.wait_for(news.next(), DRAINING_SECONDS)
                    await stream.write(event(b"mail", encode(id)))
            await stream.write(event(b"closing", b"{}"), last=True)
        finally:
            stop()

    def _mailbox(self) -> Mailbox:
        if self._service.mailbox is None:
            raise NotFoundException("the built-in mailbox is not in use")
        return self._service.mailbox


class News:
    """
    Ids for one reader. One who is too slow for them is told "" instead: there is more than can
    be said, so look again.
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
    """Raises 404 where there is nothing."""
    if what is None:
        raise NotFoundException(why_not)
    return what


def _id(request: AnyRequest) -> str:
    id: str = request.scope["path_params"]["id"]
    if not _ID.fullmatch(id):  # it names a file
        raise NotFoundException("the mailbox has no such message")
    return id
