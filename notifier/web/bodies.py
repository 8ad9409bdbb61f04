"""Take a request's body, and make a value of it or say what is wrong with it."""

import re
from typing import Any, TypeAlias, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException

from notifier.errors import Fault, InvalidMessage, pointer_step

T = TypeVar("T")
AnyRequest: TypeAlias = Request[Any, Any, Any]  # users, auth and state are not Litestar's here

# What callers may fill freely comes back in answers and goes through databases: what some of
# them cannot hold, or what an encoder could trip over, is refused at the door.
DEEPEST = 16
BOM = b"\xef\xbb\xbf"  # editors write it; it may be passed over, RFC 8259, section 8.1
LARGEST_INTEGER = 2**63

_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`\Z")
_FIELD = re.compile(
    r"Object (?:contains unknown|missing required) field `(?P<name>.*)`\Z", re.DOTALL
)
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")


async def read_json(request: AnyRequest, headers: dict[bytes, bytes], *, limit: int) -> bytes:
    """The body, which says that it is JSON and is within the limit. Raises 415, 413, 400."""
    given = headers.get(b"content-type", b"")
    if given != b"application/json":
        _require_json(given)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise HTTPException(status_code=415, detail="the body must not have a Content-Encoding")
    length = headers.get(b"content-length", b"")
    if b"expect" in headers and length.isdigit() and int(length) > limit:
        raise _too_large(limit)  # it waits for our word before it sends anything
    message = await request.receive()
    if message["type"] == "http.request" and not message["more_body"]:
        if len(message["body"]) > limit:
            raise _too_large(limit)
        return message["body"].removeprefix(BOM)
    return (await _read_on(request, message, limit)).removeprefix(BOM)


async def _read_on(request: AnyRequest, message: Any, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise HTTPException(status_code=400, detail="the body ended before it was complete")
        size += len(message["body"])
        if size > limit:
            # At once. A client that is still sending is listened to for a while, in order that
            # it reads this: see server/protocol.py.
            raise _too_large(limit)
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)
        message = await request.receive()


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """The value of a body. Raises InvalidMessage where JSON is not as it should be; 400."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidMessage(fault_of(error)) from None
    except msgspec.DecodeError as error:
        detail = f"the body is not JSON: {error}" if bytes(body).strip() else "the body is empty"
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8: {error.reason}"
    except RecursionError:
        detail = "the body is nested too deeply"
    raise HTTPException(status_code=400, detail=detail)


def fault_of(error: msgspec.ValidationError) -> Fault:
    """What msgspec found, its `$.to[0]` turned into a JSON pointer. RFC 6901."""
    text = str(error)
    path = ""
    if place := _PLACE.search(text):
        path = place["path"]
        text = text[: place.start()]
    pointer = "".join(
        "/" + pointer_step(step["field"] or step["index"])
        for step in _STEP.finditer(path)
        if step["field"] or step["index"]
    )
    if field := _FIELD.match(text):
        known = "missing" if "missing" in text[:20] else "unknown"
        name = field["name"]
        return Fault(f"{pointer}/{pointer_step(name[:100])}", f"the field is {known}")
    if text.startswith("Expected `str` matching regex"):
        text = "control characters are not allowed here"
    return Fault(pointer, text)


def check_free(pointer: str, values: dict[str, Any], *, most: int) -> None:
    """
    Raises InvalidMessage where a field without a schema could not be kept or given back, or
    holds more than so many values.
    """
    level: list[Any] = [values]
    count = 0
    for _ in range(DEEPEST):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                deeper += value.keys()
                deeper += value.values()
            elif isinstance(value, list):
                deeper += value
            elif isinstance(value, str) and "\0" in value:
                raise InvalidMessage(Fault(pointer, "it must not contain the character NUL"))
            elif isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
                raise InvalidMessage(Fault(pointer, "an integer in it has more than 64 bits"))
        if not deeper:
            return
        count += len(deeper)
        if count > most:
            raise InvalidMessage(Fault(pointer, f"it has more than {most:,} keys and values"))
        level = deeper
    raise InvalidMessage(Fault(pointer, f"it must not be nested deeper than {DEEPEST} levels"))


def _require_json(content_type: bytes) -> None:
    kind, _, parameters = content_type.decode("latin-1").lower().partition(";")
    if kind.strip() != "application/json":
        raise HTTPException(status_code=415, detail="the Content-Type must be application/json")
    _, named, charset = parameters.partition("charset=")
    if named and charset.split(";")[0].strip(' "') not in {"utf-8", "utf8", "us-ascii"}:
        raise HTTPException(status_code=415, detail="the charset must be utf-8")


def _too_large(limit: int) -> HTTPException:
    return HTTPException(status_code=413, detail=f"the body must not be larger than {limit} bytes")
