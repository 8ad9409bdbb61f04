"""Text messages as clients of the replaced service send them, and the carriers they go by."""

from typing import Annotated

from litestar import post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.clock import utc_now
from notifier.errors import InvalidMessage
from notifier.messages import NO_CONTROLS, Sms
from notifier.service import Notifier
from notifier.sms import Carrier
from notifier.web.api import examples
from notifier.web.bodies import AnyRequest, read_json
from notifier.web.decoding import BodyDecoder
from notifier.web.openapi import GET, Operation, Outcome
from notifier.web.responses import NO_STORE, Answer, encode
from notifier.web.simple.emails import QUEUED, UserId, accepted, renamed
from notifier.web.submission import IDEMPOTENCY, submit

# What is wrong with them is said by the same words as at /v1/messages.
Number = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]*(?![\s\S])", max_length=64)]
Provider = Annotated[
    str,
    Meta(
        pattern=NO_CONTROLS,
        max_length=255,
        description="The carrier. Not needed where the service has an SMS provider.",
    ),
]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*(?![\s\S])", max_length=1600)]

_NAMES = {"to": "phone_number", "carrier": "provider", "text": "message"}


class LegacySms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text message. A long one is split."""

    phone_number: Number
    provider: Provider | None = None
    message: Text
    user_id: UserId | None = None

    def sms(self) -> Sms:
        return Sms(
            to=self.phone_number,
            carrier=self.provider or None,
            text=self.message,
            user_id=None if self.user_id == "" else self.user_id,
        )


class CarrierList(Struct, frozen=True):
    """Every carrier that is known, by name."""

    items: tuple[Carrier, ...]


_legacy = BodyDecoder(LegacySms)


class Texts:
    """/send-sms/ and /v1/carriers."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            post(
                "/send-sms",
                status_code=202,
                operation_id="sendSms",
                summary="Send a text message",
                tags=["simple"],
                opt={"operation": SEND},
            )(self.send),
            route(
                "/v1/carriers",
                http_method=GET,
                operation_id="listCarriers",
                summary="List the carriers",
                tags=["text messages"],
                opt={"operation": CARRIERS},
            )(self.carriers),
        ]

    async def send(self, request: AnyRequest) -> Answer:
        """
        It is on disk when the answer arrives. A carrier whose gateway is dead is refused, and
        the answer says since when.
        """
        headers = dict(request.scope["headers"])
        body = await read_json(request, headers, limit=self._limit)
        message = _legacy.decode(body).sms()
        try:
            submitted = await submit(
                self._service, request, headers, body, (message,), render=accepted
            )
        except InvalidMessage as error:
            raise renamed(error, _NAMES) from None
        return Answer(submitted.body, status=202, headers=submitted.headers)

    async def carriers(self, request: AnyRequest) -> Answer:  # noqa: ARG002 - Litestar calls it by name
        """Each with what is known of its gateway today, since when, and who says so."""
        known = self._service.intake.carriers.all(utc_now().date())
        return Answer(encode(CarrierList(known)), headers=[NO_STORE])


SEND = Operation(
    body=_legacy.schema,
    examples=examples.LEGACY_TEXTS,
    headers=IDEMPOTENCY,
    answers={202: QUEUED},
    problems=(400, 413, 415, 422, 429, 503),
)
CARRIERS = Operation(answers={200: Outcome("All of them.", CarrierList, examples.CARRIERS)})
