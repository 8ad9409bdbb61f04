"""Messages, as a resource: /v1/messages."""

from collections.abc import Sequence
from urllib.parse import quote

from litestar.handlers import HTTPRouteHandler

from notifier.deliveries import Delivery, Status
from notifier.errors import MessageNotFound, Refusal
from notifier.messages import Sms
from notifier.recipients import RecipientStatus
from notifier.service import Notifier, Submission
from notifier.web.api import examples
from notifier.web.api.message_json import (
    AnyMessage,
    MessageList,
    MessageResource,
    read_one,
    render,
    resource,
)
from notifier.web.api.queries import MessageQuery, SendQuery, ShowQuery, SourceQuery
from notifier.web.api.sources import RFC822, Sources, is_source
from notifier.web.auth import by_of, caller_of, key_of, narrowed
from notifier.web.bodies import AnyRequest, BytesResponse, NotJson, encode, read_json
from notifier.web.parameters import PREFER, read_id, read_query, read_wait
from notifier.web.routes import (
    MANAGE,
    READ_OWN,
    SEND,
    DocumentedAnswer,
    Operation,
    get,
    options,
    post,
)
from notifier.web.submissions import (
    IDEMPOTENCY,
    REPLAY,
    REPLAYED,
    Submissions,
    read_idempotency,
    stored_id,
)

TAG = "messages"


class Messages:
    """Send messages, see what became of them, and act on them."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._submissions = Submissions(service)
        self._sources = Sources(service, self._submissions)
        self._limit = service.settings.max_body
        self._longest_wait = service.settings.wait_limit
        self.sending = post("/v1/messages", self.send, SEND, SEND_MESSAGE)
        self._base = f"{service.settings.public_path}/v1/messages/".encode()

    def routes(self) -> list[HTTPRouteHandler]:
        message = "/v1/messages/{id:str}"
        return [
            options("/v1/messages", "GET, HEAD, OPTIONS, POST", SEND),
            self.sending,
            get("/v1/messages", self.list, READ_OWN, LIST),
            get(message, self.show, READ_OWN, SHOW),
            post(f"{message}/cancel", self.cancel, MANAGE, CANCEL, own_record=True),
            post(f"{message}/retry", self.retry, MANAGE, RETRY, own_record=True),
            post(f"{message}/send-now", self.send_now, MANAGE, SEND_NOW, own_record=True),
        ]

    async def send(self, request: AnyRequest) -> BytesResponse:
        """When the answer arrives, the message is on disk and the service sends it."""
        scope = request.scope
        if scope["query_string"] and _asks_for_preview(request):
            return await self._preview(request)
        try:
            submitted = await self._submissions.take(request, read_one, single)
        except NotJson as error:
            if error.kind != RFC822:
                raise
            submitted = await self._sources.take(request, single)
        return await self.answer(request, submitted)

    async def answer(self, request: AnyRequest, submitted: Submission) -> BytesResponse:
        """The answer to a request that made a message, maybe after a wait for its end."""
        id = stored_id(submitted.answer) if submitted.replayed else submitted.deliveries[0].id
        headers = [(b"location", self._base + id.encode())]
        if submitted.replayed:
            headers.append(REPLAYED)
        given = request.scope["headers"]
        if b"prefer" in dict(given) and (wait := read_wait(given, most=self._longest_wait)):
            return await self._final(id, wait, submitted.answer, headers)
        return BytesResponse(submitted.answer, status=202, headers=headers)

    async def _preview(self, request: AnyRequest) -> BytesResponse:
        if is_source(request):
            return source((await self._sources.preview(request)).content, text=False)
        headers = dict(request.scope["headers"])
        body = await read_json(request, headers, limit=self._limit)
        if b"idempotency-key" in headers:  # it is not used, but it must be valid
            read_idempotency(request, headers, body)
        (message,), _ = read_one(body)
        entry = await self._service.preview(message, key=key_of(request))
        text, suppressed = isinstance(message, Sms), _suppressed(entry.delivery)
        return source(entry.content, text=text, headers=suppressed)

    async def _final(
        self, id: str, wait: float, accepted: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> BytesResponse:
        """The message once it is final or held, or as it is after so many seconds."""
        try:
            delivery = await self._service.outcome(id, timeout=wait)
        except MessageNotFound:  # the request was repeated, and its message has been pruned
            return BytesResponse(accepted, status=202, headers=headers)
        settled = delivery.status.final or delivery.status is Status.HELD
        headers = [*headers, (b"preference-applied", b"wait=%d" % wait)]
        return BytesResponse(render(delivery), status=200 if settled else 202, headers=headers)

    async def list(self, request: AnyRequest) -> MessageList:
        """Newest first. A key with only `send` sees the messages that were sent with it."""
        query = read_query(request, MessageQuery)
        page = await self._service.messages(
            narrowed(query.filter(), request),
            limit=query.limit,
            cursor=query.cursor,
            by=caller_of(request),
        )
        return MessageList(tuple(map(resource, page.deliveries)), page.next_cursor)

    async def show(self, request: AnyRequest) -> MessageResource:
        """With `wait`, the answer comes when the status or the number of attempts has changed."""
        id = read_id(request)
        query = read_query(request, ShowQuery)
        delivery = await self._service.message(id)
        if query.wait and not delivery.status.final:
            seen = progress(delivery)
            delivery = await self._service.outcome(
                id,
                timeout=min(query.wait, self._longest_wait),
                seen=lambda now: progress(now) == seen,
            )
        return resource(delivery)

    async def cancel(self, request: AnyRequest) -> MessageResource:
        """Nothing of the message has been sent, and nothing will be."""
        return resource(await self._service.cancel(read_id(request), by=by_of(request)))

    async def retry(self, request: AnyRequest) -> MessageResource:
        """Recipients that already got it are left out."""
        return resource(await self._service.retry(read_id(request), by=by_of(request)))

    async def send_now(self, request: AnyRequest) -> MessageResource:
        """The message becomes due at once."""
        return resource(await self._service.send_now(read_id(request), by=by_of(request)))


def _asks_for_preview(request: AnyRequest) -> bool:
    return read_query(request, SourceQuery if is_source(request) else SendQuery).dry_run


def single(results: Sequence[Delivery | Refusal]) -> bytes:
    """The answer of one message, as a submission keeps it."""
    (delivery,) = results
    return encode(resource(delivery)) if isinstance(delivery, Delivery) else b""


def progress(delivery: Delivery) -> tuple[Status, int]:
    """What a long poll watches for a change."""
    return delivery.status, len(delivery.attempts) + delivery.attempts_dropped


def _suppressed(delivery: Delivery) -> list[tuple[bytes, bytes]]:
    """The header field that names who would get nothing."""
    addresses = [
        quote(each.address, safe="@+!#$&'*/=?^_`{|}~-.")
        for each in delivery.recipients
        if each.status is RecipientStatus.SUPPRESSED
    ]
    return [(b"x-notifier-suppressed", ", ".join(addresses).encode())] if addresses else []


def source(
    content: bytes, *, text: bool, headers: Sequence[tuple[bytes, bytes]] = ()
) -> BytesResponse:
    """The content that is sent: a mail, or the text of a text message."""
    kind = b"text/plain; charset=utf-8" if text else b"message/rfc822"
    usual = (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")
    return BytesResponse(
        content.replace(b"\0", b"\r\n"),
        status=200,
        content_type=kind,
        headers=(*usual, *headers),
    )


MESSAGE = DocumentedAnswer("The message in its present state.", MessageResource, examples.SENT)
SENT_HEADERS = {
    "Location": "The message's path.",
    **REPLAY,
    "X-Notifier-Suppressed": "With `dry_run`: the recipients that are suppressed, percent-encoded.",
    "Preference-Applied": "`wait=10`: the answer waited for at most 10 seconds.",
}
MAIL = DocumentedAnswer("", str, examples.SOURCE, media_type="message/rfc822")
TEXT = DocumentedAnswer("", str, examples.SOURCE, media_type="text/plain")
SEND_MESSAGE = Operation(
    id="sendMessage",
    summary="Send a message",
    tag=TAG,
    body=AnyMessage,
    examples=examples.EMAILS | examples.TEXTS,
    query=SourceQuery,
    sources={RFC822: examples.SOURCE},
    headers=IDEMPOTENCY | PREFER,
    answers={
        200: DocumentedAnswer(
            "With `Prefer: wait`: the message is final or held. With `dry_run`: what would be "
            "sent.",
            MessageResource,
            examples.SENT,
            headers=SENT_HEADERS,
            also=(MAIL, TEXT),
        ),
        202: DocumentedAnswer(
            "The message is in the journal, on disk.",
            MessageResource,
            examples.ACCEPTED,
            headers=SENT_HEADERS,
        ),
    },
    problems=(400, 413, 415, 422, 429, 503),
)
LIST = Operation(
    id="listMessages",
    summary="List messages",
    tag=TAG,
    query=MessageQuery,
    answers={200: DocumentedAnswer("One page.", MessageList, examples.LIST)},
    problems=(422, 503),
)
SHOW = Operation(
    id="getMessage",
    summary="Show a message",
    tag=TAG,
    query=ShowQuery,
    answers={200: MESSAGE},
    problems=(404, 422, 503),
)


def _act(id: str, summary: str) -> Operation:
    return Operation(
        id=id, summary=summary, tag=TAG, answers={200: MESSAGE}, problems=(403, 404, 409, 503)
    )


CANCEL = _act("cancelMessage", "Cancel a waiting message")
RETRY = _act("retryMessage", "Send a failed or held message again")
SEND_NOW = _act("sendNowMessage", "Send a waiting message now")
