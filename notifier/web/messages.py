"""Messages, as a resource: /v1/messages."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.deliveries import Delivery, Status
from notifier.errors import Rejected
from notifier.journal import Filter
from notifier.messages import Email
from notifier.service import Notifier
from notifier.web import examples
from notifier.web.answers import NO_STORE, Answer, encode
from notifier.web.auth import key_of
from notifier.web.bodies import AnyRequest, check_metadata, decode, read_json
from notifier.web.openapi import GET, Operation, Outcome
from notifier.web.parameters import (
    IDEMPOTENCY_PATTERN,
    read_id,
    read_idempotency,
    read_query,
    refuse_cross_site,
    render,
)
from notifier.web.resources import MessageList, MessageResource, resource

TAGS = ["messages"]
REPLAYED = (b"idempotency-replayed", b"true")
IDEMPOTENCY = {
    "Idempotency-Key": {
        "description": "The same key with the same body gets the answer that was given before, "
        "and no second message is made.",
        "schema": {"type": "string", "pattern": IDEMPOTENCY_PATTERN},
    }
}

_email = msgspec.json.Decoder(Email)


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """A query without parameters: one that is not known would otherwise be passed over."""


Word = Annotated[str, Meta(max_length=998, pattern=r"^[^\x00]*$")]


class MessageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages, and which page of them."""

    status: tuple[Status, ...] = ()
    channel: Word | None = None
    user_id: Word | None = None
    reference: Word | None = None
    tag: Word | None = None
    to: Annotated[Word, Meta(description="A recipient's whole address.")] | None = None
    relay: Annotated[Word, Meta(description="The relay of the last attempt.")] | None = None
    created_after: Annotated[datetime, Meta(tz=True)] | None = None
    created_before: Annotated[datetime, Meta(tz=True)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(description="`next_cursor` of the page before.")] | None = None

    def filter(self) -> Filter:
        return Filter(
            status=self.status,
            channel=self.channel,
            user_id=self.user_id,
            reference=self.reference,
            tag=self.tag,
            to=self.to,
            relay=self.relay,
            created_after=self.created_after,
            created_before=self.created_before,
        )


class IdOnly(Struct):
    """What of an answer kept earlier is needed to point to its message."""

    id: str


_id_of = msgspec.json.Decoder(IdOnly)


class Messages:
    """Send messages, see what became of them, and change their course."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body
        self._base = f"{service.settings.public_path}/v1/messages/".encode()

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            _sending(self.send),
            _reading("/v1/messages", self.list, "listMessages", "List messages", LIST),
            _reading("/v1/messages/{id:str}", self.show, "getMessage", "Look at a message", SHOW),
            _acting(self.cancel, "cancel", "Call off a message that waits"),
            _acting(self.retry, "retry", "Send again what failed or was held"),
            _acting(self.send_now, "send-now", "Send now what waits"),
        ]

    async def send(self, request: AnyRequest) -> Answer:
        """It is on disk, and in our care, when the answer arrives."""
        scope = request.scope
        headers = dict(scope["headers"])
        body = await read_json(request, headers, limit=self._limit)
        if scope["query_string"]:
            read_query(request, Nothing)
        message = decode(_email, body)
        if message.metadata:
            check_metadata(message.metadata)
        idempotent = read_idempotency(request, headers, body, answer=_single)
        receipt = await self._service.desk.submit(
            (message,), key=key_of(request), idempotent=idempotent
        )
        if receipt.replayed is not None:
            id = _id_of.decode(receipt.replayed).id
            return self._accepted(id.encode(), receipt.replayed, REPLAYED)
        (delivery,) = receipt.deliveries
        return self._accepted(delivery.id.encode(), render(delivery))

    async def list(self, request: AnyRequest) -> Answer:
        query = read_query(request, MessageQuery)
        page = await self._service.journal.find(
            query.filter(), limit=query.limit, cursor=query.cursor
        )
        found = MessageList(tuple(map(resource, page.deliveries)), page.next_cursor)
        return Answer(encode(found), headers=[NO_STORE])

    async def show(self, request: AnyRequest) -> Answer:
        return _shown(await self._service.journal.get(read_id(request)))

    async def cancel(self, request: AnyRequest) -> Answer:
        """Nothing of it has left, and nothing will."""
        refuse_cross_site(request)
        return _shown(await self._service.cancel(read_id(request)))

    async def retry(self, request: AnyRequest) -> Answer:
        """Recipients that have it already are left out."""
        refuse_cross_site(request)
        return _shown(await self._service.retry(read_id(request)))

    async def send_now(self, request: AnyRequest) -> Answer:
        """It is due at once."""
        refuse_cross_site(request)
        return _shown(await self._service.send_now(read_id(request)))

    def _accepted(self, id: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
        return Answer(body, status=202, headers=[(b"location", self._base + id), *headers])


def _single(results: Sequence[Delivery | Rejected]) -> bytes:
    (delivery,) = results
    return b"" if isinstance(delivery, Rejected) else render(delivery)


def _shown(delivery: Delivery) -> Answer:
    return Answer(render(delivery), headers=[NO_STORE])


Handler = Callable[[AnyRequest], Awaitable[Answer]]

MESSAGE = Outcome("The message as it is now.", MessageResource, examples.SENT)
SEND = Operation(
    body=Email,
    examples=examples.EMAILS,
    headers=IDEMPOTENCY,
    answers={
        202: Outcome(
            "It is in the journal on disk.",
            MessageResource,
            examples.ACCEPTED,
            headers={
                "Location": "Where to look at it.",
                "Idempotency-Replayed": "`true`: given before, and nothing was added.",
            },
        )
    },
    problems=(400, 413, 415, 422, 429, 503),
)
LIST = Operation(
    query=MessageQuery,
    answers={200: Outcome("One page.", MessageList, examples.LIST)},
    problems=(422, 503),
)
SHOW = Operation(answers={200: MESSAGE}, problems=(404, 503))
ACT = Operation(answers={200: MESSAGE}, problems=(403, 404, 409, 503))


def _sending(handler: Handler) -> HTTPRouteHandler:
    return post(
        "/v1/messages",
        status_code=202,
        operation_id="sendMessage",
        summary="Send a message",
        tags=TAGS,
        opt={"operation": SEND},
    )(handler)


def _reading(
    path: str, handler: Handler, id: str, summary: str, operation: Operation
) -> HTTPRouteHandler:
    return route(
        path,
        http_method=GET,
        operation_id=id,
        summary=summary,
        tags=TAGS,
        opt={"operation": operation},
    )(handler)


def _acting(handler: Handler, verb: str, summary: str) -> HTTPRouteHandler:
    words: Any = verb.title().replace("-", "")
    return post(
        f"/v1/messages/{{id:str}}/{verb}",
        status_code=200,
        operation_id=words[0].lower() + words[1:] + "Message",
        summary=summary,
        tags=TAGS,
        opt={"operation": ACT},
    )(handler)
