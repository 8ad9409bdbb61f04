"""Make a route: its path, who may call it, its answer's type, and its documentation."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from litestar.datastructures import CacheControlHeader
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.keys import KeyScope
from notifier.web.bodies import BytesResponse

JSON = "application/json"
# In a handler's `opt`. AUDIT: the call's name in the audit; empty: nothing to record, or the
# handler records it.
ACCESS, OPERATION, STREAM, AUDIT = "access", "operation", "stream", "audit"

Handler: TypeAlias = Callable[..., Awaitable[Any]]


class Access(Struct, frozen=True):
    """
    Who may call a route: everybody, or a key with this scope. `own`: also a key with `send` alone,
    which then sees only the messages that it sent. `signed`: programs that prove in another way
    who they are.
    """

    scope: KeyScope | None
    own: bool = False
    signed: bool = False


OPEN = Access(None)
SIGNED = Access(None, signed=True)
SEND = Access(KeyScope.SEND)
READ = Access(KeyScope.READ)
READ_OWN = Access(KeyScope.READ, own=True)
MANAGE = Access(KeyScope.MANAGE)
REPORT = Access(KeyScope.REPORT)


class DocumentedAnswer(Struct, frozen=True):
    """One answer of an operation, for the OpenAPI document."""

    description: str
    type: Any = None  # of its JSON body
    example: Any = None
    media_type: str = JSON
    headers: Mapping[str, str] = {}  # name: description
    also: tuple["DocumentedAnswer", ...] = ()  # the same status with other media types


class Operation(Struct, frozen=True, kw_only=True):
    """What the OpenAPI document says about a route. Its description is the handler's docstring."""

    id: str
    summary: str
    tag: str
    answers: Mapping[int, DocumentedAnswer]
    problems: Sequence[int] = ()
    body: Any = None
    body_type: str = JSON
    examples: Mapping[str, Any] = {}  # of the body
    sources: Mapping[str, str] = {}  # bodies of other media types: an example of each
    query: type[Struct] | None = None
    headers: Mapping[str, Mapping[str, Any]] = {}
    path: Mapping[str, Any] = {}  # parameters in the path other than `id`


def path_parameter(name: str, description: str, *, example: str) -> dict[str, Any]:
    """What the document says of a parameter in the path."""
    return {name: {"description": description, "schema": {"type": "string"}, "example": example}}


def get(
    path: str, handler: Handler, access: Access, operation: Operation | None = None
) -> HTTPRouteHandler:
    """A route for GET and HEAD."""
    return _route(path, [HttpMethod.GET, HttpMethod.HEAD], handler, access, operation)


def stream(
    path: str, handler: Handler, access: Access, operation: Operation | None = None
) -> HTTPRouteHandler:
    """A route with a streamed answer, which ends with the caller's key at the latest."""
    return _route(path, [HttpMethod.GET], handler, access, operation, stream=True)


def _changing(
    method: HttpMethod,
    path: str,
    handler: Handler,
    access: Access,
    operation: Operation | None = None,
    *,
    act: str = "",
    own_record: bool = False,
) -> HTTPRouteHandler:
    """
    A route that changes something, which the audit records once it has answered, as `act` or by the
    operation's name. `own_record`: it changes nothing, or writes its record itself, in the
    transaction of the change.
    """
    act = "" if own_record else act or _act(operation)
    return _route(path, [method], handler, access, operation, act=act)


post = partial(_changing, HttpMethod.POST)
delete = partial(_changing, HttpMethod.DELETE)


def _act(operation: Operation | None) -> str:
    """The call's name in the audit: `pauseRelay` is `pause-relay`."""
    if operation is None:
        raise ValueError("a route that changes something needs a name for the audit")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", operation.id).lower()


def options(path: str, allow: str, access: Access) -> HTTPRouteHandler:
    """
    A route for OPTIONS, whose answer names the methods. RFC 9110, section 8.6. Litestar's own knows
    only those of the path's first handler.
    """

    async def answer() -> BytesResponse:
        return BytesResponse(b"", status=204, headers=[(b"allow", allow.encode())])

    return _route(path, [HttpMethod.OPTIONS], answer, access, None)


def _route(
    path: str,
    methods: Iterable[HttpMethod],
    handler: Handler,
    access: Access,
    operation: Operation | None,
    *,
    stream: bool = False,
    act: str = "",
) -> HTTPRouteHandler:
    return HTTPRouteHandler(
        path,
        http_method=list(methods),
        status_code=200,
        cache_control=CacheControlHeader(no_store=True),  # unless the response says otherwise
        opt={ACCESS: access, OPERATION: operation, STREAM: stream, AUDIT: act},
    )(handler)


def access_to(handler: Any, method: str = "") -> Access:
    """Who may call a handler. A handler without an access rule is closed, never open."""
    access: Access | None = handler.opt.get(ACCESS)
    if access is not None:
        return access
    return (
        OPEN if method == HttpMethod.OPTIONS else MANAGE
    )  # Litestar's own OPTIONS reveals nothing
