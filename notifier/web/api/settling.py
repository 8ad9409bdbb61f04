"""Settle messages: say what became of them where the service cannot know."""

from typing import Annotated, Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct, field

from notifier.messages import NO_CONTROLS
from notifier.service import Notifier
from notifier.settling import SettledAs, Settlement
from notifier.web.api.bulk import Changed, read_filter
from notifier.web.api.message_json import MessageResource, resource
from notifier.web.api.messages import MESSAGE, TAG
from notifier.web.api.queries import Filters
from notifier.web.auth import by_of
from notifier.web.bodies import AnyRequest, BodyDecoder
from notifier.web.parameters import read_id
from notifier.web.routes import MANAGE, DocumentedAnswer, Operation, post

LONGEST_WHY = 500


class SettleBody(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of the message."""

    outcome: SettledAs = field(name="as")
    why: Annotated[
        str,
        Meta(
            pattern=NO_CONTROLS,
            max_length=LONGEST_WHY,
            description="How the outcome is known. The timeline shows it, with the name of the "
            "caller.",
        ),
    ] = ""


_body = BodyDecoder(SettleBody)


class Settling:
    """Settle one message, or all that match."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            post("/v1/messages/{id:str}/settle", self.settle, MANAGE, SETTLE, own_record=True),
            post("/v1/messages/settle", self.settle_all, MANAGE, SETTLE_ALL, own_record=True),
        ]

    async def settle(self, request: AnyRequest) -> MessageResource:
        """
        Say what became of a message that is held, or that had an uncertain outcome which is not
        known yet. With `sent` its pending recipients count as accepted, with `failed` as refused.
        Nothing more is sent to them.
        """
        id = read_id(request)
        settlement = await self._read(request)
        return resource(await self._service.settle(id, settlement, by=by_of(request)))

    async def settle_all(self, request: AnyRequest) -> Changed:
        """Messages that cannot be settled are left alone."""
        which = read_filter(request)
        settlement = await self._read(request)
        return Changed(await self._service.settle_all(which, settlement, by=by_of(request)))

    async def _read(self, request: AnyRequest) -> Settlement:
        given = await _body.read(request, limit=self._limit)
        return Settlement(given.outcome, given.why.strip())


EXAMPLES: dict[str, Any] = {
    "sent": {"as": "sent", "why": "the recipient has confirmed it"},
    "failed": {"as": "failed"},
}
SETTLE = Operation(
    id="settleMessage",
    summary="Settle a held or uncertain message",
    tag=TAG,
    body=_body.schema,
    examples=EXAMPLES,
    answers={200: MESSAGE},
    problems=(400, 403, 404, 409, 413, 415, 422, 503),
)
SETTLE_ALL = Operation(
    id="settleMessages",
    summary="Settle all held or uncertain messages that match",
    tag=TAG,
    body=_body.schema,
    examples=EXAMPLES,
    query=Filters,
    answers={200: DocumentedAnswer("How many messages were changed.", Changed, Changed(17))},
    problems=(400, 403, 413, 415, 422, 503),
)
