"""Reads the answer of a token endpoint (RFC 6749, section 5) or of a command."""

import re
from typing import Any

import msgspec
from msgspec import Struct

from notifier.characters import one_line
from notifier.tokens import DENIED, UNAVAILABLE, NoToken

LARGEST_ANSWER = 64 * 1024  # octets
LONGEST_REASON = 300  # characters
UNKNOWN_SECONDS = 300.0  # that a token is taken for good if its lifetime is not given
LONGEST_SECONDS = 30 * 86400.0

# RFC 6750, section 2.1. Nothing in it can end a line, or a field of a login.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_BUSY = {"temporarily_unavailable", "server_error", "slow_down"}


class Fetched(Struct, frozen=True):
    """A token, and for how long it is good."""

    value: str
    seconds: float

    def __repr__(self) -> str:
        """Without the value, which must not reach a log by accident."""
        return f"Fetched({self.seconds:g} s)"


def of_an_endpoint(status: int, body: bytes, source: str, secret: str) -> Fetched:
    """The token in an answer. Raises NoToken, whose text never repeats the secret."""
    data = _object(body)
    if status == 200:
        return _token(data, source)
    code = data.get("error")
    said = _words(data, body).replace(secret, "***") if secret else _words(data, body)
    denied = isinstance(code, str) and code not in _BUSY and 400 <= status < 500 and status != 429
    raise NoToken(DENIED if denied else UNAVAILABLE, f"{source} answered {status} {said}".rstrip())


def of_a_program(printed: bytes, name: str) -> Fetched:
    """The token alone, or JSON as an endpoint answers. Raises NoToken."""
    if printed.lstrip().startswith(b"{"):
        return _token(_object(printed), name)
    value = printed.decode("ascii", errors="replace").strip()
    if not _TOKEN.fullmatch(value):
        raise NoToken(
            UNAVAILABLE,
            (f"{name} must print the token and nothing else, but printed something different"),
        )
    return Fetched(value, UNKNOWN_SECONDS)


def _token(data: dict[str, Any], source: str) -> Fetched:
    value, seconds = data.get("access_token"), data.get("expires_in")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise NoToken(UNAVAILABLE, f"{source} has answered without a token")
    if isinstance(seconds, str) and re.fullmatch(r"[0-9]{1,9}", seconds):
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return Fetched(value, UNKNOWN_SECONDS)
    if seconds <= 0:
        raise NoToken(UNAVAILABLE, f"{source} has answered with a token that has already expired")
    return Fetched(value, min(float(seconds), LONGEST_SECONDS))


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _words(data: dict[str, Any], body: bytes) -> str:
    """RFC 6749, section 5.2: a code, and words for people."""
    given = (data.get(name) for name in ("error", "error_description"))
    words = ": ".join(each for each in given if isinstance(each, str))
    if not words and body.lstrip()[:1] not in (b"<", b"{"):
        words = body.decode("utf-8", "replace")
    return one_line(words, LONGEST_REASON)
