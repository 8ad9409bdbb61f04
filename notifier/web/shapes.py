"""The shapes of a message in JSON, told apart by its `channel`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from notifier.errors import Fault, InvalidMessage
from notifier.messages import Email, Message, Sms
from notifier.web.bodies import check_free, decode
from notifier.web.decoding import BodyDecoder, array_of

MOST = 1000  # messages in a batch


class _Channel(Struct):
    channel: msgspec.Raw = msgspec.Raw(b'"email"')


# Both come back with each list of messages, so they stay short.
METADATA = 32 * 1024  # octets of JSON
DATA = 2 * 1024 * 1024  # more than a template may use of it

_SIZES = {"metadata": METADATA, "data": DATA}
_email = BodyDecoder(Email, sizes=_SIZES | {"text": None, "html": None, "attachments": None})
_sms = BodyDecoder(Sms, sizes=_SIZES)
_channel = msgspec.json.Decoder(_Channel)
_batch = msgspec.json.Decoder(array_of(MOST))
_NONE = msgspec.Raw()

# For the document. What is read is read above: a channel that is left out means an email.
AnyMessage: Any = _email.schema | _sms.schema
Batch: Any = Annotated[list[AnyMessage], Meta(min_length=1, max_length=MOST)]


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
    found = decode(_batch, body)
    messages = [raw for name in found.__struct_fields__ if (raw := getattr(found, name)) != _NONE]
    if not messages:
        raise InvalidMessage(Fault("", "there is no message in it"))
    return [_read_or_tell(each) for each in messages]


def _read_or_tell(body: msgspec.Raw) -> Message | InvalidMessage:
    try:
        return read_message(body)
    except InvalidMessage as error:
        return error


def _read(body: bytes | msgspec.Raw) -> Message:
    try:
        return _email.decode(body)
    except InvalidMessage:
        # What is wrong with it may be that it is no email.
        match _channel_of(body):
            case b'"sms"':
                return _sms.decode(body)
            case b'"email"' | b"null":
                raise
    raise InvalidMessage(Fault("/channel", "is none of `email` and `sms`"))


def _channel_of(body: bytes | msgspec.Raw) -> bytes:
    try:
        return bytes(decode(_channel, body).channel)
    except InvalidMessage:  # it is no object
        return b'"email"'
