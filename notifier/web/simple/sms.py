"""/send-sms/, for clients of the replaced service."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.messages import NO_CONTROLS, Sms
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.bodies import AnyRequest, BodyDecoder, BytesResponse
from notifier.web.routes import SEND, Operation, post
from notifier.web.simple.emails import QUEUED, TAG, UserId, accepted
from notifier.web.submissions import IDEMPOTENCY, Submissions, answer_of

# /v1/messages reports their faults in the same words.
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

_NAMES = {"/to": "/phone_number", "/carrier": "/provider", "/text": "/message"}


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


def _read(body: bytes) -> tuple[Sequence[Sms], Mapping[str, str]]:
    return (_decoder.decode(body).sms(),), _NAMES


class TextMessages:
    """/send-sms/."""

    def __init__(self, service: Notifier) -> None:
        self._submissions = Submissions(service)

    def routes(self) -> list[HTTPRouteHandler]:
        return [post("/send-sms", self.send, SEND, SEND_SMS)]

    async def send(self, request: AnyRequest) -> BytesResponse:
        """
        When the answer arrives, the message is on disk. If the gateway of the carrier is dead,
        the message is refused, and the answer says since when.
        """
        submitted = await self._submissions.take(request, _read, accepted)
        return answer_of(submitted, status=202)


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
