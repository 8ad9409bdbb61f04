"""
The three calls of the service that notifier replaces: /send-email/, /send-async/ and /send-sms/.

They are translated into messages of the API. Unknown fields are ignored, as in the replaced
service.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from notifier.compose import is_html
from notifier.deliveries import Delivery, Status
from notifier.errors import MessageNotFound, Refusal
from notifier.messages import NO_CONTROLS, Body, Email, Line, Mailbox, Sms
from notifier.service import Notifier
from notifier.web.api import examples
from notifier.web.bodies import AnyRequest, BodyDecoder, BytesResponse, encode
from notifier.web.problems import NotSent
from notifier.web.routes import SEND, DocumentedAnswer, Operation, post
from notifier.web.submissions import IDEMPOTENCY, REPLAY, Submissions, answer_of, replay, stored_id

# Like Mailbox without its pattern, which `compose` checks: msgspec 0.22 corrupts the heap
# if a string with a pattern and an array are alternatives.
OneMailbox = Annotated[
    str, Meta(min_length=3, max_length=998, description="One address, or a list of them.")
]


UserId: TypeAlias = (
    Annotated[str, Meta(max_length=255)] | Annotated[int, Meta(ge=-(2**53), le=2**53)]
)


class SimpleEmail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An email. `message` is HTML where it contains a tag, and plain text otherwise."""

    email_to: OneMailbox | Annotated[tuple[Mailbox, ...], Meta(min_length=1, max_length=50)]
    email_from: Mailbox | None = None
    subject: Line
    message: Body
    user_id: UserId | None = None

    def email(self) -> Email:
        html = is_html(self.message)
        return Email(
            to=(self.email_to,) if isinstance(self.email_to, str) else self.email_to,
            sender=self.email_from,
            subject=self.subject,
            text=None if html else self.message,
            html=self.message if html else None,
            user_id=None if self.user_id == "" else self.user_id,
        )


class SimpleAnswer(Struct, frozen=True):
    """The result so far, as text."""

    result: str
    id: str


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


# The caller's names for our fields.
_SMS_NAMES = {"/to": "/phone_number", "/carrier": "/provider", "/text": "/message"}
_EMAIL_NAMES = {
    "/to": "/email_to",
    "/from": "/email_from",
    "/text": "/message",
    "/html": "/message",
}

_sms_decoder = BodyDecoder(SimpleSms)
_email_decoder = BodyDecoder(SimpleEmail, sizes={"message": None})


def _read_email(body: bytes) -> tuple[Sequence[Email], Mapping[str, str]]:
    given = _email_decoder.decode(body)
    # The caller sends one address, not a list.
    alone = {"/to/0": "/email_to"} if isinstance(given.email_to, str) else {}
    return (given.email(),), alone | _EMAIL_NAMES


def _read_sms(body: bytes) -> tuple[Sequence[Sms], Mapping[str, str]]:
    return (_sms_decoder.decode(body).sms(),), _SMS_NAMES


TAG = "simple"


class Simple:
    """/send-email/, /send-async/ and /send-sms/."""

    def __init__(self, service: Notifier) -> None:
        self._service = service
        self._submissions = Submissions(service)
        self._longest_wait = service.settings.wait_limit

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            post("/send-email", self.send_email, SEND, SEND_EMAIL),
            post("/send-async", self.send_and_wait, SEND, SEND_AND_WAIT),
            post("/send-sms", self.send_sms, SEND, SEND_SMS),
        ]

    async def send_email(self, request: AnyRequest) -> BytesResponse:
        """When the answer arrives, the message is on disk. It is sent in order of arrival."""
        submitted = await self._submissions.take(request, _read_email, accepted, threaded=True)
        return answer_of(submitted, status=202)

    async def send_and_wait(self, request: AnyRequest) -> BytesResponse:
        """
        If the relay does not answer in time, the message stays queued, as with /send-email/.
        A repeated request waits as well, for the message of the first one.
        """
        submitted = await self._submissions.take(request, _read_email, accepted, threaded=True)
        id = stored_id(submitted.answer) if submitted.replayed else submitted.deliveries[0].id
        try:
            delivery = await self._service.outcome(id, timeout=self._longest_wait)
        except MessageNotFound:  # the request was repeated, and its message has been pruned
            return answer_of(submitted, status=202)
        reply = last_reply(delivery)
        if delivery.status is Status.SENT:
            sent = SimpleAnswer(f"sent: {reply}", delivery.id)
            return BytesResponse(encode(sent), status=200, headers=replay(submitted))
        if delivery.status.final:
            raise NotSent(
                delivery.id,
                f"{delivery.status}: {reply or delivery.reason}",
                replayed=submitted.replayed,
            )
        return BytesResponse(encode(as_it_is(delivery)), status=202, headers=replay(submitted))

    async def send_sms(self, request: AnyRequest) -> BytesResponse:
        """
        When the answer arrives, the message is on disk. If the gateway of the carrier is dead,
        the message is refused, and the answer says since when.
        """
        submitted = await self._submissions.take(request, _read_sms, accepted)
        return answer_of(submitted, status=202)


def last_reply(delivery: Delivery) -> str:
    """The last reply of a relay, with its code in front."""
    if not delivery.attempts:
        return ""
    last = delivery.attempts[-1]
    code = "" if last.code is None else str(last.code)
    return last.reply if last.reply.startswith(code) else f"{code} {last.reply}"


def as_it_is(delivery: Delivery) -> SimpleAnswer:
    """The state of a message that is not final."""
    result = f"{delivery.status}: {delivery.reason}" if delivery.reason else str(delivery.status)
    return SimpleAnswer(result, delivery.id)


def accepted(results: Sequence[Delivery | Refusal]) -> bytes:
    """The answer that the message is on disk."""
    (delivery,) = results
    return encode(as_it_is(delivery)) if isinstance(delivery, Delivery) else b""


QUEUED = DocumentedAnswer(
    "The message is in the journal, on disk.", SimpleAnswer, examples.SIMPLE_QUEUED, headers=REPLAY
)
SEND_EMAIL = Operation(
    id="sendEmail",
    summary="Send an email",
    tag=TAG,
    body=_email_decoder.schema,
    examples=examples.SIMPLE_EMAILS,
    headers=IDEMPOTENCY,
    answers={202: QUEUED},
    problems=(400, 413, 415, 422, 429, 503),
)
SEND_AND_WAIT = Operation(
    id="sendEmailAndWait",
    summary="Send an email, and wait for the relay's answer",
    tag=TAG,
    body=_email_decoder.schema,
    examples=examples.SIMPLE_EMAILS,
    headers=IDEMPOTENCY,
    answers={
        200: DocumentedAnswer(
            "The relay has taken the message.", SimpleAnswer, examples.SIMPLE_SENT, headers=REPLAY
        ),
        202: QUEUED,
    },
    problems=(400, 413, 415, 422, 429, 502, 503),
)
SEND_SMS = Operation(
    id="sendSms",
    summary="Send a text message",
    tag=TAG,
    body=_sms_decoder.schema,
    examples=examples.SIMPLE_TEXTS,
    headers=IDEMPOTENCY,
    answers={202: QUEUED},
    problems=(400, 413, 415, 422, 429, 503),
)
