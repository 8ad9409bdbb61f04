"""Read a request's query, path and header fields. Each error names the wrong parameter."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from notifier.errors import MessageNotFound
from notifier.web.bodies import AnyRequest, fault_of
from notifier.web.problems import BadParameter

Query = TypeVar("Query", bound=Struct)

MAX_PARAMETERS = 100

# Later versions may add more at the end.
_TRACEPARENT = re.compile(
    rb"([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
TRACEPARENT_LENGTH = 55

_WAIT = re.compile(rb'(?:^|,)\s*wait\s*=\s*"?(\d+)"?\s*(?=[,;]|$)', re.IGNORECASE)
_DIGITS = 9  # Python itself refuses to read an int of thousands of digits
PREFER = {
    "Prefer": {
        "description": "`wait=10`: answer once the message is final or held, or after 10 seconds; "
        "at most NOTIFIER_WAIT_LIMIT.",
        "schema": {"type": "string"},
    }
}


def read_query(request: AnyRequest, kind: type[Query]) -> Query:
    """The query as a Struct. A tuple's values may be repeated or separated by commas."""
    given = request.scope["query_string"]
    if not given:
        return kind()
    try:
        pairs = parse_qsl(
            given.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise BadParameter("*", f"at most {MAX_PARAMETERS} parameters are allowed") from None
    values = _gathered(pairs, kind)
    try:
        query = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        fault = fault_of(error)
        name = fault.pointer.split("/")[1]
        raise BadParameter(name, fault.message.replace("field", "parameter")) from None
    for field in msgspec.structs.fields(kind):
        if (value := values.get(field.encode_name)) is not None:
            _check_literal(field.encode_name, value, getattr(query, field.name))
    return query


def _check_literal(name: str, given: Any, read: Any) -> None:
    """Raises BadParameter if msgspec has accepted more than the document allows."""
    if read is None:
        raise BadParameter(name, f"{given[:100]!r} is not a value of this parameter")
    if isinstance(read, datetime) and ":" not in given:
        raise BadParameter(
            name, "must be a time such as 2027-01-31T12:00:00Z (RFC 3339), not a number"
        )


def _gathered(pairs: list[tuple[str, str]], kind: type[Struct]) -> dict[str, Any]:
    several = {field.encode_name for field in msgspec.structs.fields(kind) if field.default == ()}
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in several:
            values.setdefault(name, []).extend(each for each in value.split(",") if each)
        elif name in values:
            raise BadParameter(name, "must be given only once")
        else:
            values[name] = value
    return values


def read_id(request: AnyRequest) -> str:
    """The id in the path. Raises MessageNotFound."""
    return checked_id(request.scope["path_params"]["id"])


def checked_id(id: str) -> str:
    """Raises MessageNotFound for a text that cannot be an id."""
    if not (id.isascii() and id.isalnum() and len(id) <= 64):
        raise MessageNotFound(id[:64])
    return id


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """A query without parameters: any parameter is an error."""


def read_traceparent(headers: dict[bytes, bytes]) -> str:
    """
    The caller's `traceparent`; empty: none, or an invalid one, which is ignored. W3C Trace Context,
    section 3.2.
    """
    given = headers.get(b"traceparent")
    if given is None:
        return ""
    match = _TRACEPARENT.fullmatch(given)
    if match is None or match[1] == b"ff" or (match[1] == b"00" and match[2]):
        return ""
    return given[:TRACEPARENT_LENGTH].decode()


def read_wait(headers: Iterable[tuple[bytes, bytes]], *, most: float) -> float | None:
    """
    Seconds that the caller wants to wait: the first `wait` in its Prefer fields, at most `most`.
    None: there is none. An unreadable preference is ignored. RFC 7240, section 4.3.
    """
    fields = b",".join([value for name, value in headers if name == b"prefer"])
    found = _WAIT.search(fields)
    return min(float(found[1][:_DIGITS]), most) if found else None
