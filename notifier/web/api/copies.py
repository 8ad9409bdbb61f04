"""POST /v1/messages/{id}/copies: the content of a message for other recipients."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.deliveries import Delivery
from notifier.errors import MessageNotFound, Rejected, WrongState
from notifier.intake.copies import PRUNED, copy_of
from notifier.messages import Mailbox, Message
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.message_json import MessageResource
from notifier.web.api.messages import SENT_HEADERS, TAG, Messages, single
from notifier.web.auth import by_of, visible
from notifier.web.bodies import AnyRequest, BodyDecoder, BytesResponse
from notifier.web.parameters import PREFER
from notifier.web.routes import SEND, DocumentedAnswer, Operation, post
from notifier.web.submissions import IDEMPOTENCY, Submissions


class CopyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who gets the copy. A text message has one recipient, a number."""

    to: Annotated[tuple[Mailbox, ...], Meta(min_length=1, max_length=50)]


_body = BodyDecoder(CopyBody)


class Copies:
    """Send the content of a message to other recipients."""

    def __init__(self, service: Notifier, messages: Messages) -> None:
        self._service = service
        self._submissions = Submissions(service)
        self._messages = messages

    def routes(self) -> list[HTTPRouteHandler]:
        return [post("/v1/messages/{id:str}/copies", self.copy, SEND, COPY, own_record=True)]

    async def copy(self, request: AnyRequest) -> BytesResponse:
        """
        The copy is a message of its own, with `copy_of`: it has its own id, Date and Message-ID,
        and its To names the new recipients in place of the former To and Cc. The rules of the
        caller's key hold for it. The first message stays as it is. A message cannot be copied once
        its content has been deleted.
        """
        original = await visible(self._service, request)
        try:
            content: bytes | None = await self._service.content(original.id)
        except MessageNotFound:
            content = None
        submitted = await self._submissions.take(request, partial(_read, original, content), single)
        for copy in submitted.deliveries:
            await self._service.acts.note_copy(original.id, copy, by=by_of(request))
        return await self._messages.answer(request, submitted)


def _read(
    original: Delivery, content: bytes | None, body: bytes
) -> tuple[Sequence[Message | Rejected], Mapping[str, str]]:
    """A fault is returned, not raised, so that a repeated request still gets its first answer."""
    given = _body.decode(body)
    if content is None:
        return [WrongState(PRUNED)], {}
    try:
        return [copy_of(original, content, given.to)], {}
    except Rejected as error:
        return [error.bare()], {}


COPIES: dict[str, Any] = {"to": {"to": ["Ann <ann@example.org>"]}}
COPY = Operation(
    id="copyMessage",
    summary="Send the same content to other recipients",
    tag=TAG,
    body=CopyBody,
    examples=COPIES,
    headers=IDEMPOTENCY | PREFER,
    answers={
        200: DocumentedAnswer(
            "With `Prefer: wait`: the copy is final or held.",
            MessageResource,
            examples.SENT,
            headers=SENT_HEADERS,
        ),
        202: DocumentedAnswer(
            "The copy is in the journal, on disk.",
            MessageResource,
            examples.COPY,
            headers=SENT_HEADERS,
        ),
    },
    problems=(400, 404, 409, 413, 415, 422, 429, 503),
)
