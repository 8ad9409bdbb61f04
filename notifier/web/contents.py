"""What a message says, taken apart for the monitor: texts, HTML in a frame, attachments."""

import asyncio
from functools import partial

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.capture import Caught, CaughtAttachment, attachment, read
from notifier.errors import MessageNotFound
from notifier.service import Notifier
from notifier.web.answers import NO_STORE, Answer, encode
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET
from notifier.web.parameters import read_id
from notifier.web.shell import SECURE
from notifier.web.strangers import download, framed, number_of


class Content(Struct, frozen=True):
    """What a message says."""

    text: str
    has_html: bool
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[CaughtAttachment, ...]


class Contents:
    """/monitor/messages/{id}/content, /html and /attachments. A mail is parsed beside the loop."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        path = "/monitor/messages/{id:str}"
        return [
            route(f"{path}/content", http_method=GET)(self.content),
            route(f"{path}/html", http_method=GET)(self.html),
            route(f"{path}/attachments/{{number:str}}", http_method=GET)(self.attachment),
        ]

    async def content(self, request: AnyRequest) -> Answer:
        mail, text = await self._read(request)
        if mail is None:
            body = Content(text, has_html=False, headers=(), attachments=())
        else:
            body = Content(mail.text, bool(mail.html), mail.headers, mail.attachments)
        return Answer(encode(body), headers=[*SECURE, NO_STORE])

    async def html(self, request: AnyRequest) -> Answer:
        mail, _ = await self._read(request)
        if mail is None or not mail.html:
            raise NotFoundException("the message has no HTML")
        return await framed(mail.html, mail.attachments, partial(self._part, read_id(request)))

    async def attachment(self, request: AnyRequest) -> Answer:
        number = number_of(request)
        mail, _ = await self._read(request)
        content = await self._part(read_id(request), number)
        if mail is None or content is None:
            raise NotFoundException("the message has no such attachment")
        return download(mail.attachments[number].name, content)

    async def _read(self, request: AnyRequest) -> tuple[Caught | None, str]:
        """The mail; or the text of what is none."""
        id = read_id(request)
        delivery = await self._service.journal.get(id)
        content = await self._content(id)
        if delivery.channel == "sms":
            return None, content.replace(b"\0", b"\r\n\r\n").decode("utf-8", "replace")
        return await asyncio.to_thread(read, content, id=id, at=delivery.created_at), ""

    async def _part(self, id: str, number: int) -> bytes | None:
        part = await asyncio.to_thread(attachment, await self._content(id), number)
        return None if part is None else part.content

    async def _content(self, id: str) -> bytes:
        try:
            return await self._service.journal.content(id)
        except MessageNotFound:
            raise NotFoundException(
                "the content of this message has been pruned (NOTIFIER_BODY_RETENTION)"
            ) from None
