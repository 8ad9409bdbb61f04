"""The shapes of a message in JSON, told apart by its `channel`."""

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from notifier.errors import Fault, InvalidMessage
from notifier.messages import Email, Message, Sms
from notifier.web.bodies import check_free, decode

MOST = 1000  # messages in a batch

# For the document. What is read is read below: a channel that is left out means an email.
AnyMessage: TypeAlias = Email | Sms
Batch = Annotated[list[AnyMessage], Meta(min_length=1, max_length=MOST)]


class _Channel(Struct):
    channel: Any = "email"


_email = msgspec.json.Decoder(Email)
_sms = msgspec.json.Decoder(Sms)
_channel = msgspec.json.Decoder(_Channel)
_batch = msgspec.json.Decoder(Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST)])


def read_message(body: bytes | msgspec.Raw) -> Message:
    """One message. Raises InvalidMessage where it is not as it should be; 400."""
    message = _read(body)
    if message.metadata:
        check_free("/metadata", message.metadata)
    if message.data:
        check_free("/data", message.data)
    return message


def read_batch(body: bytes) -> list[Message | InvalidMessage]:
    """Several; each that cannot be read is told in its place. Raises InvalidMessage; 400."""
    return [_read_or_tell(each) for each in decode(_batch, body)]


def _read_or_tell(body: msgspec.Raw) -> Message | InvalidMessage:
    try:
        return read_message(body)
    except InvalidMessage as error:
        return error


def _read(body: bytes | msgspec.Raw) -> Message:
    try:
        return decode(_email, body)
    except InvalidMessage:
        # What is wrong with it may be that it is no email.
        match _channel_of(body):
            case "sms":
                return decode(_sms, body)
            case "email":
                raise
    raise InvalidMessage(Fault("/channel", "is none of `email` and `sms`"))


def _channel_of(body: bytes | msgspec.Raw) -> Any:
    try:
        return decode(_channel, body).channel
    except InvalidMessage:  # it is no object
        return "email"
