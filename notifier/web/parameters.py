"""Take what stands in a request's query and header fields, or say what is wrong with it."""

import re
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import MessageNotFound
from notifier.web.api.resources import resource
from notifier.web.bodies import AnyRequest, fault_of
from notifier.web.problems import BadParameter
from notifier.web.responses import encode

Query = TypeVar("Query", bound=Struct)

MAX_PARAMETERS = 100

# Later versions may have more to say behind it.
_TRACEPARENT = re.compile(
    rb"([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
TRACEPARENT_LENGTH = 55


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
        raise BadParameter("*", f"there are more than {MAX_PARAMETERS} parameters") from None
    values = _gathered(pairs, kind)
    try:
        query = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        fault = fault_of(error)
        name = fault.pointer.split("/")[1]
        raise BadParameter(name, fault.message.replace("field", "parameter")) from None
    for name, value in values.items():
        _check_literal(name, value, getattr(query, name))
    return query


def _check_literal(name: str, given: Any, read: Any) -> None:
    """Raises BadParameter where msgspec has read more into a text than the document says."""
    if read is None:
        raise BadParameter(name, f"{given[:100]!r} is no value")
    if isinstance(read, datetime) and ":" not in given:
        raise BadParameter(name, "a number is no time; write it as RFC 3339 has it")


def _gathered(pairs: list[tuple[str, str]], kind: type[Struct]) -> dict[str, Any]:
    several = {field.encode_name for field in msgspec.structs.fields(kind) if field.default == ()}
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in several:
            values.setdefault(name, []).extend(each for each in value.split(",") if each)
        elif name in values:
            raise BadParameter(name, "the parameter is given twice")
        else:
            values[name] = value
    return values


def read_id(request: AnyRequest) -> str:
    """The id in the path. Raises MessageNotFound."""
    return checked_id(request.scope["path_params"]["id"])


def checked_id(id: str) -> str:
    """What cannot be an id is that of no message. Raises MessageNotFound."""
    if not (id.isascii() and id.isalnum() and len(id) <= 64):
        raise MessageNotFound(id[:64])
    return id


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """A query without parameters: one that is not known would otherwise be passed over."""


def read_traceparent(headers: dict[bytes, bytes]) -> str:
    """
    The caller's `traceparent`; empty where it has sent none that is valid, which is passed
    over as W3C Trace Context says it must be (section 3.2).
    """
    given = headers.get(b"traceparent")
    if given is None:
        return ""
    match = _TRACEPARENT.fullmatch(given)
    if match is None or match[1] == b"ff" or (match[1] == b"00" and match[2]):
        return ""
    return given[:TRACEPARENT_LENGTH].decode()


def render(delivery: Delivery) -> bytes:
    """The message resource, as bytes."""
    return encode(resource(delivery))
