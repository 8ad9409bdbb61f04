"""Messages, as a resource: /v1/messages."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from notifier.deliveries import Delivery, Status
from notifier.errors import MessageNotFound, Rejected
from notifier.messages import Message, Sms
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.message_json import AnyMessage, read_message
from notifier.web.api.queries import MessageQuery, SendQuery, ShowQuery
from notifier.web.api.resources import MessageList, MessageResource, resource
from notifier.web.auth import by_of, caller_of, key_of, narrowed
from notifier.web.bodies import AnyRequest, read_json
from notifier.web.openapi import GET, Operation, Outcome
from notifier.web.parameters import (
    read_id,
    read_query,
    render,
)
from notifier.web.prefer import PREFER, applied, read_wait
from notifier.web.responses import NO_STORE, Answer, encode
from notifier.web.submission import IDEMPOTENCY, REPLAY, id_of, submit

TAGS = ["messages"]
ENTITY = 2  # header fields that every answer begins with: of what kind and how long it is


class Messages:
    """Send messages, see what became of them, and change their course."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body
        self._patience = service.settings.wait_limit
        self._base = f"{service.settings.public_path}/v1/messages/".encode()

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            # First: Litestar's own would know only the methods of the handler that comes next.
            route("/v1/messages", http_method=[HttpMethod.OPTIONS])(self.options),
            _sending(self.send),
            _reading("/v1/messages", self.list, "listMessages", "List messages", LIST),
            _reading("/v1/messages/{id:str}", self.show, "getMessage", "Look at a message", SHOW),
            _acting(self.cancel, "cancel", "Call off a message that waits"),
            _acting(self.retry, "retry", "Send again what failed or was held"),
            _acting(self.send_now, "send-now", "Send now what waits"),
        ]

    async def options(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        answer = Answer(b"", status=204)
        answer.headers = [(b"allow", b"GET, HEAD, OPTIONS, POST")]  # RFC 9110, section 8.6
        return answer

    async def send(self, request: AnyRequest) -> Answer:
        """It is on disk, and in our care, when the answer arrives."""
        scope = request.scope
        headers = dict(scope["headers"])
        body = await read_json(request, headers, limit=self._limit)
        dry_run = scope["query_string"] and read_query(request, SendQuery).dry_run
        message = read_message(body)
        if dry_run:
            return await self._preview(request, message)
        submitted = await submit(self._service, request, headers, body, (message,), render=_single)
        id = id_of(submitted)
        location = (b"location", self._base + id.encode())
        answer = Answer(submitted.body, status=202, headers=[location, *submitted.headers])
        if b"prefer" in headers and (wait := read_wait(scope["headers"], most=self._patience)):
            return await self._final(id, wait, answer)
        return answer

    async def _preview(self, request: AnyRequest, message: Message) -> Answer:
        entry = await self._service.intake.preview(message, key=key_of(request))
        return source(entry.content, text=isinstance(message, Sms))

    async def _final(self, id: str, wait: float, accepted: Answer) -> Answer:
        """The message once it is final or held, or else as it is after so many seconds."""
        try:
            delivery = await self._service.outcome(id, timeout=wait)
        except MessageNotFound:  # a replayed one that has been pruned since
            return accepted
        settled = delivery.status.final or delivery.status is Status.HELD
        headers = [*accepted.headers[ENTITY:], applied(wait)]
        return Answer(render(delivery), status=200 if settled else 202, headers=headers)

    async def list(self, request: AnyRequest) -> Answer:
        query = read_query(request, MessageQuery)
        page = await self._service.journal.find(
            narrowed(query.filter(), request),
            limit=query.limit,
            cursor=query.cursor,
            by=caller_of(request),
        )
        found = MessageList(tuple(map(resource, page.deliveries)), page.next_cursor)
        return Answer(encode(found), headers=[NO_STORE])

    async def show(self, request: AnyRequest) -> Answer:
        """With `wait`, once its status or the number of its attempts is not what it is now."""
        id = read_id(request)
        query = read_query(request, ShowQuery)
        delivery = await self._service.journal.get(id)
        if query.wait and not delivery.status.final:
            seen = progress(delivery)
            delivery = await self._service.outcome(
                id,
                timeout=min(query.wait, self._patience),
                seen=lambda now: progress(now) == seen,
            )
        return _shown(delivery)

    async def cancel(self, request: AnyRequest) -> Answer:
        """Nothing of it has left, and nothing will."""
        return _shown(await self._service.cancel(read_id(request), by=by_of(request)))

    async def retry(self, request: AnyRequest) -> Answer:
        """Recipients that have it already are left out."""
        return _shown(await self._service.retry(read_id(request), by=by_of(request)))

    async def send_now(self, request: AnyRequest) -> Answer:
        """It is due at once."""
        return _shown(await self._service.send_now(read_id(request), by=by_of(request)))


def _single(results: Sequence[Delivery | Rejected]) -> bytes:
    (delivery,) = results
    return b"" if isinstance(delivery, Rejected) else render(delivery)


def progress(delivery: Delivery) -> tuple[Status, int]:
    """What a long poll waits to see changed."""
    return delivery.status, len(delivery.attempts) + delivery.attempts_dropped


def source(content: bytes, *, text: bool) -> Answer:
    """What is sent: a mail; or text, where it is a text message in one mail or several."""
    kind = b"text/plain; charset=utf-8" if text else b"message/rfc822"
    headers = [NO_STORE, (b"x-content-type-options", b"nosniff")]
    return Answer(content.replace(b"\0", b"\r\n"), content_type=kind, headers=headers)


def _shown(delivery: Delivery) -> Answer:
    return Answer(render(delivery), headers=[NO_STORE])


Handler = Callable[[AnyRequest], Awaitable[Answer]]

MESSAGE = Outcome("The message as it is now.", MessageResource, examples.SENT)
SAYS = {
    "Location": "Where to look at it.",
    **REPLAY,
    "Preference-Applied": "`wait=10`: so long it was waited for, or less.",
}
MAIL = Outcome("", str, examples.SOURCE, media_type="message/rfc822")
TEXT = Outcome("", str, examples.SOURCE, media_type="text/plain")
SEND = Operation(
    body=AnyMessage,
    examples=examples.EMAILS | examples.TEXTS,
    query=SendQuery,
    headers=IDEMPOTENCY | PREFER,
    answers={
        200: Outcome(
            "It was waited for, and is final or held. With `dry_run`: what would be sent.",
            MessageResource,
            examples.SENT,
            headers=SAYS,
            also=(MAIL, TEXT),
        ),
        202: Outcome(
            "It is in the journal on disk.", MessageResource, examples.ACCEPTED, headers=SAYS
        ),
    },
    problems=(400, 413, 415, 422, 429, 503),
)
LIST = Operation(
    query=MessageQuery,
    answers={200: Outcome("One page.", MessageList, examples.LIST)},
    problems=(422, 503),
)
SHOW = Operation(query=ShowQuery, answers={200: MESSAGE}, problems=(404, 422, 503))
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
