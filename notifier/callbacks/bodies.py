"""The body of a callback: the message as GET shows it, within bounds."""

from datetime import datetime
from typing import Any

import msgspec

LARGEST = 256 * 1024  # octets; what is larger is shown without its history, then shorter still

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
# What is left out of a large message, in this order, until it fits.
_HISTORY = ("attempts", "timeline")
_LISTS = ("recipients", "metadata", "tags", "warnings")


def body_of(event: str, at: datetime, version: int, message: bytes) -> bytes:
    """`message`: as JSON. `abridged` is there and true where a part of it had to be left out."""
    data: Any = msgspec.Raw(message)
    if len(message) <= LARGEST:
        return _written(event, at, version, data, {})
    data = _decode(message)
    for name in (*_HISTORY, *_LISTS):
        data.pop(name, None)
        if len(body := _written(event, at, version, data, {"abridged": True})) <= LARGEST:
            break
    return body


def _written(event: str, at: datetime, version: int, data: object, more: dict[str, bool]) -> bytes:
    return _encode({"type": event, "timestamp": at, "version": version, "data": data} | more)
