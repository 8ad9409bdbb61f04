"""/send-sms/, as clients of the replaced service call it."""

from typing import Annotated

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.errors import InvalidMessage
from notifier.messages import NO_CONTROLS, Sms
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.bodies import AnyRequest, read_json
from notifier.web.decoding import BodyDecoder
from notifier.web.idempotency import IDEMPOTENCY, read_idempotency, submit
from notifier.web.responses import BytesResponse
from notifier.web.routes import SEND, Operation, post
from notifier.web.simple.emails import QUEUED, TAG, UserId, accepted, renamed

# /v1/messages says in the same words what is wrong with them.
Number = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]*(?![\s\S])", max_length=64)]
Provider = Annotated[
    str,
    Meta(
        pattern=NO_CONTROLS,
        max_length=255,
        description="The carrier's name. It is not needed if the service has an SMS provider.",
    ),
]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*(?![\s\S])", max_length=1600)]

_NAMES = {"to": "phone_number", "carrier": "provider", "text": "message"}


class SimpleSms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text message. A long one is sent in parts."""

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


_decoder = BodyDecoder(SimpleSms)


class TextMessages:
    """/send-sms/."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._limit = service.settings.max_body

    def routes(self) -> list[HTTPRouteHandler]:
        return [post("/send-sms", self.send, SEND, SEND_SMS)]

    async def send(self, request: AnyRequest) -> BytesResponse:
        """
        When the answer arrives, the message is on disk. If the gateway of the carrier is dead,
        the message is refused, and the answer says since when.
        """
        headers = dict(request.scope["headers"])
        body = await read_json(request, headers, limit=self._limit)
        message = _decoder.decode(body).sms()
        try:
            submitted = await submit(
                self._service,
                request,
                headers,
                (message,),
                idempotency=read_idempotency(request, headers, body),
                render=accepted,
            )
        except InvalidMessage as error:
            raise renamed(error, _NAMES) from None
        return BytesResponse(submitted.body, status=202, headers=submitted.headers)


SEND_SMS = Operation(
    id="sendSms",
    summary="Send a text message",
    tag=TAG,
    body=_decoder.schema,
    examples=examples.SIMPLE_TEXTS,
    headers=IDEMPOTENCY,
    answers={202: QUEUED},
    problems=(400, 413, 415, 422, 429, 503),
)
