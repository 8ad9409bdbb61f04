"""A closer look at one message: what was said, what was sent, and what comes next."""

from datetime import datetime
from typing import Any

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.attempts import Attempt, Stage
from notifier.clock import utc_now
from notifier.deliveries import Route
from notifier.errors import MessageNotFound
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.api.explanation import Explanation, Situation, explain
from notifier.web.api.messages import MAIL, TAGS, TEXT, source
from notifier.web.api.relays import relays_for
from notifier.web.bodies import AnyRequest
from notifier.web.openapi import GET, Operation, Outcome
from notifier.web.parameters import read_id
from notifier.web.responses import NO_STORE, Answer, encode


class Talk(Struct, frozen=True):
    """One attempt, and the lines that went to and fro: `C: ` ours, `S: ` the relay's."""

    relay: str
    started_at: datetime
    seconds: float
    stage: Stage
    code: int | None
    reply: str
    conversation: tuple[str, ...]


class Conversation(Struct, frozen=True):
    """Every attempt that is kept. Between the first and the last ones some may be left out."""

    id: str
    attempts: tuple[Talk, ...]
    attempts_dropped: int


class Views:
    """/v1/messages/{id}/conversation, /source and /explain."""

    def __init__(self, service: Notifier) -> None:
        self._service = service

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            _view("conversation", "getConversation", "See what was said to relays", CONVERSATION)(
                self.conversation
            ),
            _view("source", "getSource", "See what is or was sent", SOURCE)(self.source),
            _view("explain", "explainMessage", "Why is it where it is?", EXPLAIN)(self.explain),
        ]

    async def conversation(self, request: AnyRequest) -> Answer:
        """Attempt by attempt, with secrets and the message itself struck out."""
        delivery = await self._service.journal.get(read_id(request), conversations=True)
        talks = tuple(map(_talk, delivery.attempts))
        body = Conversation(delivery.id, talks, delivery.attempts_dropped)
        return Answer(encode(body), headers=[NO_STORE])

    async def source(self, request: AnyRequest) -> Answer:
        """Every byte of the mail; of a text message the mails, or what its provider is asked."""
        id = read_id(request)
        delivery = await self._service.journal.get(id)
        try:
            content = await self._service.journal.content(id)
        except MessageNotFound:
            raise NotFoundException(
                "the content of this message has been pruned (NOTIFIER_BODY_RETENTION)"
            ) from None
        return source(delivery.dated(content), text=delivery.channel == "sms")

    async def explain(self, request: AnyRequest) -> Answer:
        """What stands in its way, when it goes on by itself, and what a person can do."""
        delivery = await self._service.journal.get(read_id(request))
        return Answer(
            encode(explain(delivery, self._situation(delivery.route))), headers=[NO_STORE]
        )

    def _situation(self, route: Route) -> Situation:
        service = self._service
        return Situation(
            now=utc_now(),
            relays=relays_for(service.transports, route),
            paused=service.dispatcher.paused,
            draining=service.draining,
            trouble=service.upkeep.trouble,
        )


def _talk(attempt: Attempt) -> Talk:
    return Talk(
        attempt.relay,
        attempt.started_at,
        attempt.seconds,
        attempt.stage,
        attempt.code,
        attempt.reply,
        attempt.conversation,
    )


CONVERSATION = Operation(
    answers={200: Outcome("What was said.", Conversation, examples.CONVERSATION)},
    problems=(404, 503),
)
SOURCE = Operation(
    answers={
        200: Outcome(
            "As it went out, or will.",
            str,
            examples.SOURCE,
            media_type=MAIL.media_type,
            also=(TEXT,),
        )
    },
    problems=(404, 503),
)
EXPLAIN = Operation(
    answers={200: Outcome("In words.", Explanation, examples.EXPLANATION)}, problems=(404, 503)
)


def _view(path: str, id: str, summary: str, operation: Operation) -> Any:
    return route(
        f"/v1/messages/{{id:str}}/{path}",
        http_method=GET,
        operation_id=id,
        summary=summary,
        tags=TAGS,
        opt={"operation": operation},
    )
