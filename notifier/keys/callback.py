"""
The callback of an API key, the table `callback` in the keys file: the URL where an application
learns what became of its messages.
"""

import base64
import binascii
import ssl
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Meta, Struct

from notifier.characters import CONTROL
from notifier.errors import ConfigurationError
from notifier.relayspec import is_loopback

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with; Standard Webhooks 1.0.0
SHORTEST_SECRET, LONGEST_SECRET = 24, 64  # octets
LONGEST_URL = 2000  # characters


class CallbackEvent(StrEnum):
    """An event of a message that an application can receive."""

    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    HELD = "held"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


USUAL_EVENTS = frozenset(CallbackEvent) - {CallbackEvent.CANCELLED, CallbackEvent.SUPERSEDED}


class Callback(Struct, frozen=True, kw_only=True):
    """An application's URL, the events that it receives, and the secrets that sign them."""

    url: Annotated[str, Meta(max_length=LONGEST_URL)]
    secrets: Annotated[tuple[str, ...], Meta(min_length=1, max_length=5)]
    events: Annotated[frozenset[CallbackEvent], Meta(min_length=1)] = USUAL_EVENTS
    ca_file: str | None = None  # certificates to trust instead of the system's
    allow_http: bool = False  # also where others can read it on its way

    @property
    def place(self) -> str:
        """The URL as it may be shown: without what may be secret, user, password and query."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", "")) + (
            "?..." if parts.query else ""
        )

    def __repr__(self) -> str:
        """Without the secrets, which must not reach a log by accident."""
        return f"Callback({self.place})"


def callback_from(table: object) -> Callback:
    """A callback made of plain values. Raises ConfigurationError with every fault."""
    if not isinstance(table, dict):
        raise ConfigurationError("must be a table with url and secrets")
    faults = [f"unknown field {name!r}" for name in table if name not in _FIELDS]
    values: dict[str, Any] = {}
    for name, field in _FIELDS.items():
        if name not in table:
            if field.required:
                faults.append(f"{name}: is missing")
            continue
        try:
            values[name] = msgspec.convert(table[name], field.type)
            _CHECKS.get(name, _pass)(values[name])
        except ValueError as error:  # msgspec's are of this kind; neither repeats a secret
            known = f"; the events are {', '.join(CallbackEvent)}" if name == "events" else ""
            faults.append(f"{name}: {error}{known}")
    if not faults:
        faults += _contradictions(values)
    if faults:
        raise ConfigurationError(*faults)
    return Callback(**values)


def secret_bytes(secret: str) -> bytes:
    """The octets of a secret. Raises ValueError, which does not repeat it."""
    form = f"a secret is {SECRET_PREFIX} and the base64 of 24 to 64 random octets"
    try:
        octets = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(form) from None
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(form)
    if not SHORTEST_SECRET <= len(octets) <= LONGEST_SECRET:
        raise ValueError(f"{form}; this one has {len(octets)}")
    return octets


def trust_of(ca_file: str) -> ssl.SSLContext:
    """Trust in the certificates of a file alone. Raises ValueError."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file!r} holds no certificate (PEM)") from None
    except OSError as error:
        raise ValueError(f"{ca_file!r} cannot be read: {error.strerror}") from None


def _check_url(url: str) -> None:
    """The text may hold a password, so it is not repeated."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right or CONTROL.search(url) or " " in url or not url.isascii():
        raise ValueError("must be a URL such as https://shop.example.org/notifier")
    if parts.fragment:
        raise ValueError("must not have a fragment (#...)")


def _check_secrets(secrets: tuple[str, ...]) -> None:
    for secret in secrets:
        secret_bytes(secret)


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    parts = urlsplit(values["url"])
    plain = parts.scheme == "http"
    if plain and not values.get("allow_http") and not is_loopback(parts.hostname or ""):
        yield (
            "url: by http:// others can read it on its way; use https://,"
            " or write allow_http = true"
        )
    if plain and values.get("ca_file"):
        yield "ca_file: is for https:// alone"


def _pass(value: Any) -> None:
    """No further check."""


_FIELDS = {field.name: field for field in msgspec.structs.fields(Callback)}
_CHECKS: dict[str, Callable[[Any], object]] = {
    "url": _check_url,
    "secrets": _check_secrets,
    "ca_file": trust_of,
}
