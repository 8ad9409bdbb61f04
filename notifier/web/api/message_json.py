"""Read messages from JSON. Their shape depends on `channel`."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Annotated, Any, overload

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from notifier.errors import Fault, InvalidMessage
from notifier.messages import Email, Message, Sms
from notifier.web.bodies import BodyDecoder, array_of, check_free, decode

MOST = 1000  # messages in a batch


class _Channel(Struct):
    channel: msgspec.Raw = msgspec.Raw(b'"email"')


# Lists of messages repeat both, so they must be short.
METADATA = 32 * 1024  # octets of JSON
METADATA_VALUES = 500
DATA = 2 * 1024 * 1024  # more than a template may use of it
DATA_VALUES = 100_000

_SIZES = {"metadata": METADATA, "data": DATA}
_email = BodyDecoder(Email, sizes=_SIZES | {"text": None, "html": None, "attachments": None})
_sms = BodyDecoder(Sms, sizes=_SIZES)
_channel = msgspec.json.Decoder(_Channel)
_batch = msgspec.json.Decoder(array_of(MOST))

# For the document alone. Without a channel a message is an email, see above.
AnyMessage: Any = _email.schema | _sms.schema
Batch: Any = Annotated[list[AnyMessage], Meta(min_length=1, max_length=MOST)]


def read_message(body: bytes | msgspec.Raw) -> Message:
    """One message. Raises InvalidMessage if a field is wrong, 400 if it is not JSON."""
    message: Message
    try:
        message = _email.decode(body)
    except InvalidMessage:
        match _channel_of(body):  # what is wrong with it may be that it is no email
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
    return message


def read_one(body: bytes) -> tuple[Sequence[Message], Mapping[str, str]]:
    """The one message of a body. Raises what `read_message` raises."""
    return (read_message(body),), {}


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
            return read_message(self._messages[place])
        except InvalidMessage as error:
            return error.bare()


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
    except InvalidMessage:  # it is no object
        return b'"email"'
