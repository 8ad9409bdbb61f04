"""The content of a message for the monitor: texts, HTML in a frame, attachments."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.capture import CaughtAttachment, OpenedMail
from notifier.service import Notifier
from notifier.web.api.details import content_of
from notifier.web.auth import caller_of
from notifier.web.bodies import AnyRequest
from notifier.web.parameters import read_id
from notifier.web.routes import READ, get
from notifier.web.ui.layout import SECURE
from notifier.web.ui.untrusted import download, framed, number_of

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # not used: the journal knows when the mail was sent


class Content(Struct, frozen=True):
    """The content of a message."""

    text: str
    has_html: bool
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[CaughtAttachment, ...]


class Contents:
    """/monitor/messages/{id}/content, /html and /attachments. A mail is parsed in a thread."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        path = "/monitor/messages/{id:str}"
        return [
            get(f"{path}/content", self.content, READ),
            get(f"{path}/html", self.html, READ),
            get(f"{path}/attachments/{{number:str}}", self.attachment, READ),
        ]

    async def content(self, request: AnyRequest) -> Response[Content]:
        body = await self._look(request, _of_mail, _of_text)
        return Response(body, headers=SECURE)

    async def html(self, request: AnyRequest) -> Response[bytes]:
        html = await self._look(request, framed, _nothing)
        if html is None:
            raise NotFoundException("the message has no HTML")
        return html

    async def attachment(self, request: AnyRequest) -> Response[bytes]:
        number = number_of(request)
        file = await self._look(request, lambda mail: mail.attachment(number), _nothing)
        if file is None:
            raise NotFoundException("the message has no such attachment")
        return download(file.about.name, file.content)

    async def _look(
        self,
        request: AnyRequest,
        of_mail: Callable[[OpenedMail], T],
        of_text: Callable[[bytes], T],
    ) -> T:
        """Read a mail, or a text message."""
        id = read_id(request)
        delivery = await self._service.message(id)
        content = delivery.dated(await content_of(self._service, id))
        return await self._service.threads.run(
            caller_of(request),
            lambda: of_text(content) if delivery.channel == "sms" else of_mail(OpenedMail(content)),
        )


def _of_mail(mail: OpenedMail) -> Content:
    caught = mail.caught(id="", at=EPOCH)
    return Content(caught.text, bool(caught.html), caught.headers, caught.attachments)


def _of_text(content: bytes) -> Content:
    text = content.replace(b"\0", b"\r\n\r\n").decode("utf-8", "replace")
    return Content(text, has_html=False, headers=(), attachments=())


def _nothing(_content: bytes) -> None:
    """The error for a text message, which has no HTML and no files."""
