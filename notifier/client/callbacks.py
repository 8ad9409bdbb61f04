"""Check that a status callback came from the service. Standard Webhooks 1.0.0."""

import base64
import binascii
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from notifier.client.errors import NotifierError
from notifier.client.resources import Message

TOLERANCE = 300.0  # seconds between the sender's clock and ours
PREFIX = "whsec_"
VERSION = "v1"  # HMAC-SHA256, the one that shared secrets are for
_DIGITS = 12  # of a timestamp; Python itself refuses to read an int of thousands of digits
_TIMESTAMP = "webhook-timestamp"


class InvalidCallback(NotifierError):
    """It is not shown that a callback came from the service: answer 400 and act on nothing."""


class Callback(Struct, frozen=True, kw_only=True):
    """What the service says of a message. The same callback may come more than once."""

    id: str  # the same each time that this callback is tried
    type: str  # `message.sent`, `message.failed`, and others
    timestamp: datetime
    data: dict[str, Any]
    version: int = 0  # grows with each change of the message: the highest is the newest

    @property
    def message(self) -> Message:
        """The message as `Notifier.get` returns it. Raises InvalidCallback: it is of no message."""
        try:
            return msgspec.convert(self.data, Message)
        except msgspec.ValidationError as error:
            raise InvalidCallback(f"{self.type}: its data is not a message: {error}") from None


class _Body(Struct):
    type: str
    timestamp: datetime
    data: dict[str, Any]
    version: int = 0


_body = msgspec.json.Decoder(_Body)


def verify_callback(
    headers: Mapping[str, str],
    body: bytes,
    secrets: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> Callback:
    """
    The callback that a request carries, if one of the secrets (`whsec_...`) signed it.

    `headers`: of the request, in any case. `body`: its octets as they came; JSON that was read and
    written again has another signature. Several secrets: while they are changed, the new one and
    the old one. `tolerance`: seconds that the request may be older or newer than `now` (seconds
    since 1970, as `time.time()` gives it). Raises InvalidCallback, and ValueError for a secret that
    cannot be one.
    """
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError("body must be the octets of the request as they came, not text or JSON")
    keys = _keys(secrets)
    given = {name.lower(): value for name, value in headers.items()}
    id, sent, signatures = (
        _field(given, name) for name in ("webhook-id", _TIMESTAMP, "webhook-signature")
    )
    _check_age(sent, time.time() if now is None else now, tolerance)
    signed = b".".join((id, sent, bytes(body)))
    expected = [base64.b64encode(hmac.digest(key, signed, sha256)) for key in keys]
    # Each is compared with each, so that the time tells nothing.
    matches = [
        hmac.compare_digest(signature, right)
        for signature in _signatures(signatures)
        for right in expected
    ]
    if not any(matches):
        raise InvalidCallback(
            "webhook-signature: was made with none of the secrets; check the secrets,"
            " and pass the body exactly as it came"
        )
    try:
        found = _body.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidCallback(f"the body is not a callback: {error}") from None
    return Callback(
        id=id.decode("utf-8", "surrogatepass"),
        type=found.type,
        timestamp=found.timestamp,
        data=found.data,
        version=found.version,
    )


def _keys(secrets: str | Sequence[str]) -> list[bytes]:
    """The keys that the secrets stand for. No error shows a secret."""
    several = [secrets] if isinstance(secrets, str) else list(secrets)
    if not several:
        raise ValueError("secrets: at least one is needed")
    keys = []
    for number, secret in enumerate(several):
        try:
            text = secret.strip().removeprefix(PREFIX).rstrip("=")
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not key:  # anybody could sign with an empty one
            raise ValueError(f"secrets[{number}] must be {PREFIX} followed by base64")
        keys.append(key)
    return keys


def _field(headers: Mapping[str, str], name: str) -> bytes:
    value = headers.get(name)
    if not value:
        raise InvalidCallback(f"{name}: the request has no such header field")
    return value.encode("utf-8", "surrogatepass")


def _check_age(sent: bytes, now: float, tolerance: float) -> None:
    if not (sent.isdigit() and len(sent) <= _DIGITS):
        raise InvalidCallback(f"{_TIMESTAMP}: must be seconds since 1970")
    age = now - int(sent)
    if abs(age) > tolerance:
        how = f"{age:.0f} seconds old" if age > 0 else f"{-age:.0f} seconds ahead"
        raise InvalidCallback(
            f"{_TIMESTAMP}: the request is {how}, and at most {tolerance:.0f} are "
            "allowed; it may be a replay, or a clock is wrong"
        )


def _signatures(field: bytes) -> list[bytes]:
    """The signatures of our version; there may be others, for other kinds of keys."""
    pairs = [each.partition(b",") for each in field.split(b" ")]
    return [signature for version, _, signature in pairs if version == VERSION.encode()]
