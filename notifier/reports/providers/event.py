"""What events of all providers share: the request that brings them, and fields that are read."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from notifier.errors import Forbidden, Rejected
from notifier.reports.report import Report

OLDEST_SECONDS = 2 * 86400.0  # since an event was signed; providers try again for a day or so
AHEAD_SECONDS = 600.0  # that a provider's clock may be ahead of ours
LONGEST_TEXT = 2000  # characters that are read of a field


class BadSignature(Forbidden):
    """The request does not come from the provider."""


class Unreadable(Rejected):
    """The provider sent something that is no event of its kind."""


class Received(Struct, frozen=True):
    """A request as it came."""

    headers: Mapping[str, str]  # by their names in lower case
    query: str  # as it stands in the URL, still encoded
    body: bytes


class Provider(Protocol):
    """Reads the events of one provider."""

    name: str

    async def read(self, received: Received) -> Sequence[Report]:
        """
        The reports in a request; events about anything else are left out. Raises BadSignature,
        Unreadable, Unavailable.
        """
        ...


def check_age(timestamp: str, *, now: float) -> None:
    """Raises BadSignature if the signature is too old: somebody may replay it."""
    try:
        age = now - float(timestamp)
    except ValueError:
        age = float("nan")
    if not -AHEAD_SECONDS <= age <= OLDEST_SECONDS:
        raise BadSignature("the timestamp of the signature is missing, wrong or too old")


def object_of(body: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises Unreadable."""
    found = json_of(body)
    if not isinstance(found, dict):
        raise Unreadable("the body must be a JSON object")
    return found


def json_of(body: bytes | str) -> Any:
    """Raises Unreadable."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Unreadable("the body is not JSON") from None


def text(data: Any, *path: str) -> str:
    """The text at this path of JSON objects; empty: there is none."""
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    if isinstance(data, int | float) and not isinstance(data, bool):
        data = str(data)
    return data[:LONGEST_TEXT] if isinstance(data, str) else ""


def items(data: Any, name: str) -> list[Any]:
    """The elements of a list in a JSON object."""
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, list) else []


def moment(value: str) -> datetime | None:
    """A time in ISO 8601, or in seconds since 1970. None: it is neither."""
    try:
        if value.replace(".", "", 1).isdigit() and value.isascii():
            return datetime.fromtimestamp(float(value), UTC)
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
