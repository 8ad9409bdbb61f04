"""The shapes of a message in JSON, told apart by its `channel`."""

from collections.abc import Sequence
from typing import Annotated, Any, overload

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
METADATA_VALUES = 500
DATA = 2 * 1024 * 1024  # more than a template may use of it
DATA_VALUES = 100_000

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
        check_free("/metadata", message.metadata, most=METADATA_VALUES)
    if message.data:
        check_free("/data", message.data, most=DATA_VALUES)
    return message


class Unread(Sequence[Message | InvalidMessage]):
    """
    The messages of a batch, each read when it is asked for: what one brings need not be in
    memory while another is composed. One that cannot be read is told in its place.
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
            return read_message(self._messages[place])
        except InvalidMessage as error:
            return error.bare()


def read_batch(body: bytes) -> Unread:
    """Raises InvalidMessage where it is no array of messages, or has none or too many; 400."""
    found = decode(_batch, body)
    messages = [raw for name in found.__struct_fields__ if (raw := getattr(found, name)) != _NONE]
    if not messages:
        raise InvalidMessage(Fault("", "must hold at least one message"))
    return Unread(messages)


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
    raise InvalidMessage(Fault("/channel", "must be `email` or `sms`"))


def _channel_of(body: bytes | msgspec.Raw) -> bytes:
    try:
        return bytes(decode(_channel, body).channel)
    except InvalidMessage:  # it is no object
        return b'"email"'
