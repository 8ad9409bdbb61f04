"""What a message says, taken apart for the monitor: texts, HTML in a frame, attachments."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.capture import CaughtAttachment, OpenedMail
from notifier.errors import MessageNotFound
from notifier.service import Notifier
from notifier.web.auth import caller_of
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET
from notifier.web.parameters import read_id
from notifier.web.responses import NO_STORE, Answer, encode
from notifier.web.ui.layout import SECURE
from notifier.web.ui.untrusted import download, framed, number_of

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # the journal knows when; nobody asks the mail for it


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
        body = await self._look(request, _content_of, _text_of)
        return Answer(body, headers=[*SECURE, NO_STORE])

    async def html(self, request: AnyRequest) -> Answer:
        answer = await self._look(request, framed, _nothing)
        if answer is None:
            raise NotFoundException("the message has no HTML")
        return answer

    async def attachment(self, request: AnyRequest) -> Answer:
        number = number_of(request)
        file = await self._look(request, lambda mail: mail.attachment(number), _nothing)
        if file is None:
            raise NotFoundException("the message has no such attachment")
        return download(file.about.name, file.content)

    async def _look(
        self,
        request: AnyRequest,
        see: Callable[[OpenedMail], T],
        see_text: Callable[[bytes], T],
    ) -> T:
        """What is seen of a mail, or of what is none."""
        id = read_id(request)
        delivery = await self._service.journal.get(id)
        content = delivery.dated(await self._content(id))
        return await self._service.threads.run(
            caller_of(request),
            lambda: see_text(content) if delivery.channel == "sms" else see(OpenedMail(content)),
        )

    async def _content(self, id: str) -> bytes:
        try:
            return await self._service.journal.content(id)
        except MessageNotFound:
            raise NotFoundException(
                "the content of this message has been pruned (NOTIFIER_BODY_RETENTION)"
            ) from None


def _content_of(mail: OpenedMail) -> bytes:
    caught = mail.caught(id="", at=EPOCH)
    body = Content(caught.text, bool(caught.html), caught.headers, caught.attachments)
    return encode(body)


def _text_of(content: bytes) -> bytes:
    text = content.replace(b"\0", b"\r\n\r\n").decode("utf-8", "replace")
    return encode(Content(text, has_html=False, headers=(), attachments=()))


def _nothing(_content: bytes) -> None:
    """A text message has neither HTML nor files."""
