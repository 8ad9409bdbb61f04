"""What the built-in mailbox caught: as pages, and as JSON for tests of whoever uses notifier."""

import re
from html import escape
from typing import Annotated

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.capture import Caught, Mailbox
from notifier.service import Notifier
from notifier.web.answers import NO_STORE, Answer, encode
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET
from notifier.web.pages import HTML, PAGE, SECURE, page
from notifier.web.parameters import read_query

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

# A stranger's HTML: no scripts, no forms, nothing from the network, an origin of its own; and
# only our own page may frame it.
STRANGER = (
    *SECURE,
    NO_STORE,
    (
        b"content-security-policy",
        b"sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        b"frame-ancestors 'self'",
    ),
)
PRIVATE = (*SECURE, NO_STORE)


class InboxQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the mailbox."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None


class InboxList(Struct, frozen=True):
    """One page of what was caught, newest first."""

    items: tuple[Caught, ...]
    next_before: str | None


class Inbox:
    """/inbox, where the mailbox is in use."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._base = escape(service.settings.public_path)
        self._list = page("inbox.html")
        self._caught = page("caught.html")

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route("/inbox", http_method=GET)(self.list_page),
            route("/inbox/view/{id:str}", http_method=GET)(self.caught_page),
            route("/inbox/messages", http_method=GET)(self.list),
            route("/inbox/messages/{id:str}", http_method=GET)(self.show),
            route("/inbox/messages/{id:str}/source", http_method=GET)(self.source),
            route("/inbox/messages/{id:str}/html", http_method=GET)(self.html),
        ]

    async def list_page(self, request: AnyRequest) -> Answer:
        found = await self._find(request)
        older = ""
        if found.next_before:
            href = f"{self._base}/inbox?before={escape(found.next_before)}"
            older = f'<a href="{href}">Older</a>'
        rows = "\n".join(_row(caught, self._base) for caught in found.items)
        text = self._list.substitute(
            base=self._base,
            rows=rows or '<tr><td colspan="5">Nothing yet.</td></tr>',
            older=older,
        )
        return Answer(text.encode("utf-8", "replace"), content_type=HTML, headers=PAGE)

    async def caught_page(self, request: AnyRequest) -> Answer:
        caught = await self._get(request)
        text = self._caught.substitute(
            base=self._base,
            id=escape(caught.id),
            at=f"{caught.at:%Y-%m-%d %H:%M:%S %Z}",
            subject=escape(caught.subject) or "(no subject)",
            sender=escape(caught.sender),
            recipients=escape(", ".join(caught.recipients)),
            size=caught.size,
            parts=_parts(caught, self._base),
        )
        return Answer(text.encode("utf-8", "replace"), content_type=HTML, headers=PAGE)

    async def list(self, request: AnyRequest) -> Answer:
        return Answer(encode(await self._find(request)), headers=PRIVATE)

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
        text = caught.html.encode("utf-8", "replace")
        return Answer(text, content_type=HTML, headers=STRANGER)

    def _mailbox(self) -> Mailbox:
        if self._service.mailbox is None:
            raise NotFoundException("the built-in mailbox is not in use")
        return self._service.mailbox

    async def _find(self, request: AnyRequest) -> InboxList:
        mailbox = self._mailbox()
        query = read_query(request, InboxQuery)
        found = await mailbox.list(limit=query.limit + 1, before=query.before)
        shown = tuple(found[: query.limit])
        return InboxList(shown, shown[-1].id if len(found) > query.limit else None)

    async def _get(self, request: AnyRequest) -> Caught:
        caught = await self._mailbox().get(_id(request))
        if caught is None:
            raise NotFoundException("the mailbox has no such message")
        return caught


def _id(request: AnyRequest) -> str:
    id: str = request.scope["path_params"]["id"]
    if not _ID.fullmatch(id):  # it names a file
        raise NotFoundException("the mailbox has no such message")
    return id


def _row(caught: Caught, base: str) -> str:
    return (
        f"<tr><td>{caught.at:%Y-%m-%d %H:%M:%S}</td><td>{escape(caught.sender)}</td>"
        f"<td>{escape(', '.join(caught.recipients))}</td>"
        f'<td><a href="{base}/inbox/view/{escape(caught.id)}">'
        f"{escape(caught.subject) or '(no subject)'}</a></td><td>{caught.size}</td></tr>"
    )


def _parts(caught: Caught, base: str) -> str:
    parts = []
    if caught.text:
        parts.append(f'<h2>Text</h2>\n<pre class="text">{escape(caught.text)}</pre>')
    if caught.html:
        source = f"{base}/inbox/messages/{escape(caught.id)}/html"
        parts.append(f'<h2>HTML</h2>\n<iframe sandbox title="HTML" src="{source}"></iframe>')
    return "\n".join(parts)
