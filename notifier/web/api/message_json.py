"""A message as JSON: as callers write it, in the shape of its `channel`, and as they see it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Annotated, Any, Literal, overload

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import astuple

from notifier.attempts import Attempt, Stage
from notifier.deliveries import KEPT_FIRST, Delivery, Status
from notifier.errors import Fault, InvalidMessage
from notifier.messages import Email, Message, Sms
from notifier.recipients import Later, LaterState, RecipientStatus
from notifier.reports import Class, class_of
from notifier.settling import SETTLED
from notifier.web.bodies import BodyDecoder, array_of, check_free, decode, encode

MOST = 1000  # messages in a batch


class _Channel(Struct):
    channel: msgspec.Raw = msgspec.Raw(b'"email"')


# Lists of messages show both for each message, so they must be short.
METADATA = 32 * 1024  # octets of JSON
METADATA_VALUES = 500
DATA = 2 * 1024 * 1024  # more than a template may use
DATA_VALUES = 100_000

_SIZES = {"metadata": METADATA, "data": DATA}
_email = BodyDecoder(Email, sizes=_SIZES | {"text": None, "html": None, "attachments": None})
_sms = BodyDecoder(Sms, sizes=_SIZES)
_channel = msgspec.json.Decoder(_Channel)
_batch = msgspec.json.Decoder(array_of(MOST))

# For the document alone. Without a channel a message is an email, see above.
AnyMessage: Any = _email.schema | _sms.schema
Batch: Any = Annotated[list[AnyMessage], Meta(min_length=1, max_length=MOST)]


def read_one(body: bytes | msgspec.Raw) -> tuple[tuple[Message], Mapping[str, str]]:
    """The message of a body. Raises InvalidMessage if a field is wrong, 400 if it is not JSON."""
    message: Message
    try:
        message = _email.decode(body)
    except InvalidMessage:
        match _channel_of(body):  # the message may be of another channel
            case b'"sms"':
                message = _sms.decode(body)
            case b'"email"' | b"null":
                raise
            case _:
                raise InvalidMessage(Fault("/channel", "must be `email` or `sms`")) from None
    if message.metadata:
        check_free("/metadata", message.metadata, most=METADATA_VALUES)
    if message.data:
        check_free("/data", message.data, most=DATA_VALUES)
    return (message,), {}


class Unread(Sequence[Message | InvalidMessage]):
    """
    The messages of a batch, each decoded when it is asked for, so that one need not be in memory
    while another is composed. A fault is reported under the message's position.
    """

    def __init__(self, messages: list[msgspec.Raw]) -> None:
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, place: int) -> Message | InvalidMessage: ...
    @overload
    def __getitem__(self, place: slice) -> "Unread": ...
    def __getitem__(self, place: int | slice) -> "Message | InvalidMessage | Unread":
        if isinstance(place, slice):
            return Unread(self._messages[place])
        try:
            (message,), _ = read_one(self._messages[place])
        except InvalidMessage as error:
            return error.bare()
        return message


def read_batch(body: bytes) -> tuple[Unread, Mapping[str, str]]:
    """
    The messages of a body, and the prefix of the faults of a single one; those of several have
    theirs already. Raises InvalidMessage if it is not an array of messages, or has none or too
    many; 400.
    """
    found = decode(_batch, body)
    messages = [*takewhile(len, astuple(found))]  # the places after the last message are empty
    if not messages:
        raise InvalidMessage(Fault("", "must hold at least one message"))
    return Unread(messages), {"": "/0"} if len(messages) == 1 else {}


def _channel_of(body: bytes | msgspec.Raw) -> bytes:
    try:
        return bytes(decode(_channel, body).channel)
    except InvalidMessage:  # not an object
        return b'"email"'


class AttemptResource(Struct, frozen=True):
    """One attempt at one relay."""

    relay: str
    stage: Annotated[Stage, Meta(description="The stage that the conversation reached.")]
    code: Annotated[int | None, Meta(description="SMTP reply code.")]
    reply: Annotated[str, Meta(description="The relay's reply, or the reason why there is none.")]
    started_at: datetime
    seconds: float
    charged: Annotated[
        bool, Meta(description="False: the relay was at fault, and the attempt does not count.")
    ]
    uncertain: Annotated[
        bool, Meta(description="It is unknown whether the relay took the message.")
    ]


class LaterResource(Struct, frozen=True):
    """What was reported about a recipient after a relay took the message."""

    state: LaterState
    at: datetime
    code: Annotated[str, Meta(description="Enhanced status code, RFC 3463; may be empty.")]
    text: Annotated[str, Meta(description="What a server said.")]
    road: Annotated[str, Meta(description="How the report came in: `http`, `smtp`, `imap` ...")]
    kind: Annotated[Class, Meta(description="Why the message came back or is delayed.")] = field(
        name="class"
    )


class RecipientResource(Struct, frozen=True):
    """One address, and the last reply of a relay about it."""

    address: str
    status: RecipientStatus
    code: int | None
    reply: str
    later: LaterResource | UnsetType = UNSET  # present once something was reported


class Happening(Struct, frozen=True):
    """One line of a message's history."""

    at: datetime
    what: str
    detail: str
    by: Annotated[
        str | None,
        Meta(
            description="Who acted: `key:NAME`, `monitor:NAME`, `login:NAME`, `cli:USER`, "
            "`report:ROAD` or `anonymous`."
        ),
    ] = None


class MessageResource(Struct, frozen=True, kw_only=True):
    """A message and its state."""

    id: str
    status: Annotated[
        Status,
        Meta(description="`sent`: a relay has taken the message for at least one recipient."),
    ]
    channel: Literal["email", "sms"]
    subject: str
    sender: str = field(name="from")
    recipients: tuple[RecipientResource, ...]
    attempts: tuple[AttemptResource, ...]
    uncertain: Annotated[
        int,
        Meta(
            description="Number of attempts after which it is unknown whether the relay took "
            "the message."
        ),
    ]
    partial: Annotated[
        bool, Meta(description="Some recipients were accepted, the others were refused.")
    ]
    bounced: Annotated[
        bool, Meta(description="A recipient's server returned it after a relay took it.")
    ]
    handed_to: Annotated[
        str | None,
        Meta(description="`gateway`: a carrier's mail gateway, which does not report delivery."),
    ]
    warnings: tuple[str, ...]
    reason: Annotated[str | None, Meta(description="Why the message has this status.")]
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    finished_at: datetime | None
    key: Annotated[str | None, Meta(description="The name of the API key that sent the message.")]
    reference: str | None
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    user_id: str | None
    traceparent: Annotated[
        str | None, Meta(description="W3C Trace Context of the request that sent the message.")
    ]
    copy_of: Annotated[
        str | None, Meta(description="The id of the message whose content this one has.")
    ]
    timeline: tuple[Happening, ...]


class MessageList(Struct, frozen=True):
    """One page of messages, newest first."""

    items: tuple[MessageResource, ...]
    next_cursor: Annotated[
        str | None, Meta(description="The `cursor` of the next page. Null: this is the last page.")
    ]


def resource(delivery: Delivery) -> MessageResource:
    """The delivery without what is internal."""
    recipients, bounced = [], False
    for each in delivery.recipients:
        later: LaterResource | UnsetType = UNSET
        if each.later is not None:
            later, bounced = later_resource(each.later), bounced or each.bounced
        recipients.append(
            RecipientResource(each.address, each.status, each.code, each.reply, later)
        )
    timeline = [Happening(delivery.created_at, "accepted", "", delivery.accepted_by)]
    if delivery.attempts or delivery.events or delivery.finished_at:
        timeline.extend(_happenings(delivery))
        timeline.sort(key=lambda each: each.at)
    return MessageResource(
        id=delivery.id,
        status=delivery.status,
        channel="sms" if delivery.channel == "sms" else "email",
        subject=delivery.subject,
        sender=delivery.sender,
        recipients=tuple(recipients),
        attempts=tuple(map(_attempt, delivery.attempts)),
        uncertain=delivery.uncertain,
        partial=delivery.status is Status.SENT and delivery.partial,
        bounced=bounced,
        handed_to=delivery.handed_to or None,
        warnings=delivery.warnings,
        reason=delivery.reason or None,
        created_at=delivery.created_at,
        due_at=delivery.due_at,
        expires_at=delivery.expires_at,
        finished_at=delivery.finished_at,
        key=delivery.key or None,
        reference=delivery.reference or None,
        tags=delivery.tags,
        metadata=delivery.metadata,
        user_id=delivery.user_id or None,
        traceparent=delivery.traceparent or None,
        copy_of=delivery.copy_of or None,
        timeline=tuple(timeline),
    )


def render(delivery: Delivery) -> bytes:
    """The message as JSON."""
    return encode(resource(delivery))


def _attempt(attempt: Attempt) -> AttemptResource:
    return AttemptResource(
        attempt.relay,
        attempt.stage,
        attempt.code,
        attempt.reply,
        attempt.started_at,
        attempt.seconds,
        attempt.charged,
        attempt.uncertain,
    )


def later_resource(later: Later) -> LaterResource:
    return LaterResource(later.state, later.at, later.code, later.text, later.road, class_of(later))


def _happenings(delivery: Delivery) -> Iterator[Happening]:
    """What has happened since the message was accepted, in no order."""
    for attempt in delivery.attempts:
        yield Happening(attempt.started_at, "attempt", f"{attempt.relay}: {attempt.reply}")
    for event in delivery.events:
        yield Happening(event.at, event.what, event.detail, event.by or None)
    yield from _left_out(delivery)
    yield from _end(delivery)


def _end(delivery: Delivery) -> Iterator[Happening]:
    """How the message ended, unless a person ended it: that event says so already."""
    at = delivery.finished_at
    acts = (delivery.status, SETTLED)
    if at and not any(each.at >= at and each.what in acts for each in delivery.events):
        yield Happening(at, delivery.status, delivery.reason)


def _left_out(delivery: Delivery) -> Iterator[Happening]:
    """The gaps in a long history: how many attempts and events were not kept."""
    if delivery.attempts_dropped:
        at = delivery.attempts[KEPT_FIRST - 1].started_at
        yield Happening(at, "left_out", f"{delivery.attempts_dropped} attempts are not kept")
    if delivery.events_dropped:
        at = delivery.events[KEPT_FIRST - 1].at
        yield Happening(at, "left_out", f"{delivery.events_dropped} events are not kept")
