"""
Read and write the bodies of requests and answers as JSON. RFC 8259.

The time and memory that a body takes are bounded by its size: an array that may have 50 elements is
not built with two million elements only to be refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send
from msgspec import NODEFAULT, Raw, Struct
from msgspec.structs import fields

from notifier.errors import Fault, InvalidMessage, pointer_step

T = TypeVar("T")
S = TypeVar("S", bound=Struct)
AnyRequest: TypeAlias = Request[Any, Any, Any]  # users, auth and state are not Litestar's here

# Free fields come back in answers and go through databases: what some of
# them cannot hold, or what an encoder cannot write, is refused here.
DEEPEST = 16
BOM = b"\xef\xbb\xbf"  # some editors write it; a reader may ignore it. RFC 8259, section 8.1
LARGEST_INTEGER = 2**63

SCANNED = 32 * 1024  # octets: in a body up to this no field can be too large
LARGEST_FIELD = 256 * 1024  # octets of JSON that a field may have, unless `sizes` names it
LARGEST_TAG = 64

TAG = "tag_"  # what a tag is called as a field

_NULL = "got `null`"

_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`\Z")
_FIELD = re.compile(
    r"Object (?:contains unknown|missing required) field `(?P<name>.*)`\Z", re.DOTALL
)
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")


encode = msgspec.json.Encoder().encode


class BytesResponse(Struct, frozen=True):
    """
    An ASGI application that answers with these bytes: the response of the hot path.

    A handler that returns it costs Litestar nothing more. Litestar's own responses cost 23 µs more
    (Litestar 2.25, Python 3.11), as much as the rest of a POST in `web`. Other handlers return
    Structs and Litestar's `Response`.
    """

    body: bytes
    status: int
    content_type: bytes = b"application/json"
    headers: Sequence[tuple[bytes, bytes]] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        entity = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
        ]
        if self.status == 204:  # RFC 9110, section 8.6
            entity = []
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": self.status,
            "headers": [*entity, *self.headers],
        }
        end: HTTPResponseBodyEvent = {
            "type": "http.response.body",
            "body": self.body,
            "more_body": False,
        }
        await send(start)
        await send(end)


class NotJson(HTTPException):
    """The body has another media type."""

    def __init__(self, kind: str) -> None:
        super().__init__(status_code=415, detail="the Content-Type must be application/json")
        self.kind = kind


async def read_json(request: AnyRequest, headers: dict[bytes, bytes], *, limit: int) -> bytes:
    """The body, if its type is JSON and its size within the limit. Raises 415, 413, 400."""
    given = headers.get(b"content-type", b"")
    if given != b"application/json":
        _require_json(given)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise HTTPException(status_code=415, detail="the body must not have a Content-Encoding")
    if b"expect" in headers:
        _require_length(headers, limit)
    message = await request.receive()
    if message["type"] == "http.request" and not message["more_body"]:
        if len(message["body"]) > limit:
            raise _too_large(limit)
        return message["body"].removeprefix(BOM)
    return (await _read_on(request, message, limit)).removeprefix(BOM)


async def read_octets(request: AnyRequest, headers: dict[bytes, bytes], *, limit: int) -> bytes:
    """The body as it is, if its size is within the limit. Raises 415, 413, 400."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise HTTPException(status_code=415, detail="the body must not have a Content-Encoding")
    if b"expect" in headers:
        _require_length(headers, limit)
    return await _read_on(request, await request.receive(), limit)


def _require_length(headers: dict[bytes, bytes], limit: int) -> None:
    """
    Refuse a body whose Content-Length is too large: the client waits for the answer before it sends
    the body.
    """
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)


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


def decode(decoder: msgspec.json.Decoder[T], body: bytes | Raw) -> T:
    """The value of a body. Raises InvalidMessage if the JSON does not fit the type; 400."""
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
    """The fault for an error of msgspec: `$.to[0]` becomes a JSON pointer. RFC 6901."""
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
    Raises InvalidMessage if a field without a schema could not be stored or returned, or has more
    than `most` values.
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


def kind_of(content_type: bytes) -> str:
    """The media type without its parameters."""
    return content_type.decode("latin-1").lower().partition(";")[0].strip()


def _require_json(content_type: bytes) -> None:
    kind = kind_of(content_type)
    if kind != "application/json":
        raise NotJson(kind)
    parameters = content_type.decode("latin-1").lower()
    _, named, charset = parameters.partition("charset=")
    if named and charset.split(";")[0].strip(' "') not in {"utf-8", "utf8", "us-ascii"}:
        raise HTTPException(status_code=415, detail="the charset must be utf-8")


def _too_large(limit: int) -> HTTPException:
    return HTTPException(status_code=413, detail=f"the body must not be larger than {limit} bytes")


class BodyDecoder(Generic[S]):
    """
    Decodes bodies of one kind. `null` for an optional field counts as leaving it out. `sizes`
    says how many octets of JSON a field may have, None as many as the body, where that is not
    LARGEST_FIELD.
    """

    def __init__(self, kind: type[S], *, sizes: Mapping[str, int | None] | None = None) -> None:
        self.schema = nullable(kind, tagged=True)  # for the document
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        self._lenient = msgspec.json.Decoder(nullable(kind, tagged=False))
        self._sizes: dict[str, int | None] = dict.fromkeys(
            kind.__struct_encode_fields__, LARGEST_FIELD
        )
        self._sizes.update(sizes or {})
        if tag := kind.__struct_config__.tag_field:
            self._sizes[tag] = LARGEST_TAG
        self._scan = msgspec.json.Decoder(_scanned(kind))
        self._arrays = {name: (n, msgspec.json.Decoder(array_of(n))) for name, n in _arrays(kind)}

    async def read(self, request: AnyRequest, *, limit: int) -> S:
        """The value of a request's body. Raises as `read_json` and `decode` do."""
        return self.decode(await read_json(request, dict(request.scope["headers"]), limit=limit))

    def decode(self, body: bytes | Raw) -> S:
        """Raises InvalidMessage with the field that is wrong; 400 where it is no JSON."""
        if len(body) > SCANNED:
            self._require_sizes(body)
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            if _NULL not in str(error):
                raise InvalidMessage(fault_of(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return decode(self._decoder, body)  # whose text is clearer
        found: S = _without_nulls(decode(self._lenient, body), self._kind)
        return found

    def _require_sizes(self, body: bytes | Raw) -> None:
        scanned = decode(self._scan, body)
        found = zip(self._sizes.items(), scanned.__struct_fields__, strict=True)
        faults = []
        for (name, most), place in found:
            given: Raw = getattr(scanned, place)
            if most is not None and len(given) > most:
                faults.append(
                    Fault(f"/{name}", f"it must not be longer than {most:,} octets of JSON")
                )
            elif name in self._arrays and len(given) > SCANNED:
                faults += _too_many(*self._arrays[name], given, name)
        if faults:
            raise InvalidMessage(*faults)


def _too_many(
    most: int, decoder: msgspec.json.Decoder[Struct], given: Raw, name: str
) -> Iterator[Fault]:
    octets, at = bytes(given), 0
    for _ in range(most):
        at = octets.find(b",", at) + 1
        if not at:  # a few large files: going through them again takes 0.2 ms for each MB
            return
    try:
        decoder.decode(octets)
    except msgspec.ValidationError as error:
        yield Fault(f"/{name}", fault_of(error).message)


@cache
def nullable(kind: type[Struct], *, tagged: bool) -> type[Struct]:
    """
    The same Struct, in which each field that is not required may also be null. Its tag can be
    null only where it is an ordinary field; `tagged` is for unions.
    """
    config = kind.__struct_config__
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for each in fields(kind):
        hint = _with_nullable_parts(hints[each.name])
        default = each.default
        if default is NODEFAULT and each.default_factory is not NODEFAULT:
            default = each.default_factory()
        if default is not NODEFAULT:
            hint = Union[hint, None]  # noqa: UP007  it is a value here
        found.append((each.name, hint, msgspec.field(default=default, name=each.encode_name)))
    if config.tag is not None and not tagged:
        tag: Any = Literal.__getitem__(config.tag)
        found.insert(0, (TAG, tag | None, msgspec.field(default=None, name=config.tag_field)))
    made = msgspec.defstruct(
        kind.__name__,
        found,
        module=kind.__module__,
        tag_field=config.tag_field if tagged else None,
        tag=config.tag if tagged else None,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=config.forbid_unknown_fields,
        omit_defaults=config.omit_defaults,
    )
    made.__doc__ = kind.__doc__
    return made


def _with_nullable_parts(hint: Any) -> Any:
    """The type, with each Struct in its tuples made nullable."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return nullable(hint, tagged=False)
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        return Annotated[(_with_nullable_parts(inner), *metadata)]
    if get_origin(hint) is tuple:
        return tuple.__class_getitem__(tuple(map(_with_nullable_parts, get_args(hint))))
    return hint


def _without_nulls(value: Any, kind: Any) -> Any:
    """A nullable Struct as the Struct that it was made from."""
    given = {}
    hints = get_type_hints(kind)
    for name in value.__struct_fields__:
        inner = getattr(value, name)
        if isinstance(inner, tuple) and inner and isinstance(inner[0], Struct):
            inner = tuple(_without_nulls(each, get_args(hints[name])[0]) for each in inner)
        if inner is not None and name != TAG:
            given[name] = inner
    return kind(**given)


def _scanned(kind: type[Struct]) -> type[Struct]:
    """A Struct that finds each field and builds none. Unknown fields are skipped."""
    names = list(kind.__struct_encode_fields__)
    if tag := kind.__struct_config__.tag_field:
        names.append(tag)
    # Not by their own names: `from` is none in Python.
    found = [
        (f"f{place}", Raw, msgspec.field(default=Raw(), name=name))
        for place, name in enumerate(names)
    ]
    return msgspec.defstruct(f"{kind.__name__}Scanned", found)


def _arrays(kind: type[Struct]) -> Iterator[tuple[str, int]]:
    """The fields that are arrays, with the most elements that each may have."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101  it is the Struct's own
    for each in info.fields:
        if isinstance(each.type, msgspec.inspect.VarTupleType) and each.type.max_length:
            yield each.encode_name, each.type.max_length


@cache
def array_of(most: int) -> type[Struct]:
    """An array that raises an error at the first element too many. Elements stay undecoded."""
    return msgspec.defstruct(
        "Array",
        [(f"e{place}", Raw, Raw()) for place in range(most)],
        array_like=True,
        forbid_unknown_fields=True,
    )
