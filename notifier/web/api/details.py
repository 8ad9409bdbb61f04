"""One message in detail: the conversations, the source, and an explanation."""

from datetime import datetime

from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct, convert

from notifier.attempts import Stage
from notifier.clock import utc_now
from notifier.deliveries import Delivery
from notifier.errors import MessageNotFound
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.explanation import Explanation, Situation, explain
from notifier.web.api.messages import MAIL, TAG, TEXT, source
from notifier.web.api.relays import relays_for
from notifier.web.bodies import AnyRequest, BytesResponse
from notifier.web.parameters import read_id
from notifier.web.routes import READ_OWN, DocumentedAnswer, Operation, get


class AttemptConversation(Struct, frozen=True):
    """One attempt and its lines: `C: ` ours, `S: ` the relay's."""

    relay: str
    started_at: datetime
    seconds: float
    stage: Stage
    code: int | None
    reply: str
    conversation: tuple[str, ...]


class Conversation(Struct, frozen=True):
    """The attempts that are kept. After the first ones some may be left out."""

    id: str
    attempts: tuple[AttemptConversation, ...]
    attempts_dropped: int


class Details:
    """/v1/messages/{id}/conversation, /source and /explain."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        message = "/v1/messages/{id:str}"
        return [
            get(f"{message}/conversation", self.conversation, READ_OWN, CONVERSATION),
            get(f"{message}/source", self.source, READ_OWN, SOURCE),
            get(f"{message}/explain", self.explain, READ_OWN, EXPLAIN),
        ]

    async def conversation(self, request: AnyRequest) -> Conversation:
        """Attempt by attempt, without secrets and without the message itself."""
        delivery = await self._service.message(read_id(request), conversations=True)
        kind = tuple[AttemptConversation, ...]
        attempts = convert(delivery.attempts, kind, from_attributes=True)
        return Conversation(delivery.id, attempts, delivery.attempts_dropped)

    async def source(self, request: AnyRequest) -> BytesResponse:
        """Every byte of the mail. For a text message, its mails or the request to its provider."""
        id = read_id(request)
        delivery = await self._service.message(id)
        content = await content_of(self._service, id)
        return source(delivery.dated(content), text=delivery.channel == "sms")

    async def explain(self, request: AnyRequest) -> Explanation:
        """
        Why the message has its status, when the service takes the next step, and what a person can
        do.
        """
        delivery = await self._service.message(read_id(request))
        return explain(delivery, self._situation(delivery))

    def _situation(self, delivery: Delivery) -> Situation:
        health = self._service.health()
        return Situation(
            now=utc_now(),
            relays=relays_for(self._service, delivery),
            chained=self._service.chains.conditional,
            paused=health.paused,
            draining=self._service.draining,
            trouble=health.trouble,
        )


async def content_of(service: Notifier, id: str) -> bytes:
    """What is or was sent. Raises NotFoundException once it has been pruned."""
    try:
        return await service.content(id)
    except MessageNotFound:
        raise NotFoundException(
            "the content of this message has been pruned (NOTIFIER_BODY_RETENTION)"
        ) from None


CONVERSATION = Operation(
    id="getConversation",
    summary="Show what was said to relays",
    tag=TAG,
    answers={
        200: DocumentedAnswer("The attempts that are kept.", Conversation, examples.CONVERSATION)
    },
    problems=(404, 503),
)
SOURCE = Operation(
    id="getSource",
    summary="Show what is or was sent",
    tag=TAG,
    answers={
        200: DocumentedAnswer(
            "The mail as it was or will be sent.",
            str,
            examples.SOURCE,
            media_type=MAIL.media_type,
            also=(TEXT,),
        )
    },
    problems=(404, 503),
)
EXPLAIN = Operation(
    id="explainMessage",
    summary="Explain why a message has its status",
    tag=TAG,
    answers={200: DocumentedAnswer("The explanation.", Explanation, examples.EXPLANATION)},
    problems=(404, 503),
)
