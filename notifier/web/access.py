"""Which scope each route needs. One that nobody thought of is closed, never open."""

from collections.abc import Iterable
from typing import Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from notifier.keys import KeyScope

READING = {"GET", "HEAD"}

# Open to everybody, with keys or without.
OPEN = {
    "/",
    "/docs",
    "/guide",
    "/guide/{page:str}",
    "/monitor",  # frames alone: what they show they ask for with the visitor's key
    "/monitor/messages/{id:str}",
    "/inbox",
    "/sign-in",
    "/openapi.json",
    "/static/{file:path}",
    "/livez",
    "/readyz",
    "/health",
}
# To sign in and out: whoever may is told by the key, not by the door.
OPEN_ACTS = {"/sign-in", "/sign-out"}
# What hands messages in, or tries that out.
SENDING = {
    "/v1/messages",
    "/v1/messages/batch",
    "/v1/templates/{name:str}/preview",
    "/send-email",
    "/send-async",
    "/send-sms",
}
# What somebody who sends has to look up: whose gateway takes a text, which templates there are.
LOOKED_UP = {"/v1/carriers", "/v1/templates"}
LIST = "/v1/messages"
COUNT = "/v1/messages/count"
MESSAGE = "/v1/messages/{id:str}"


class Access(Struct, frozen=True):
    """
    What a caller needs. `own`: a key that has only `send` may ask too, and of messages sees
    nothing but those that were sent with it.
    """

    scope: KeyScope
    own: bool = False


def access_to(handler: HTTPRouteHandler) -> Access | None:
    """
    By the handler's `opt={"scope": ...}`, else by its path, else by its method: to look needs
    `read`, anything else `manage`. None: it is open.
    """
    said = handler.opt.get("scope")
    if isinstance(said, KeyScope):
        return Access(said)
    paths = handler.paths
    if {str(method) for method in handler.http_methods} <= READING:
        return None if paths <= OPEN else Access(KeyScope.READ, own=all(map(_own, paths)))
    if paths <= OPEN_ACTS:
        return None
    return Access(KeyScope.SEND if paths <= SENDING else KeyScope.MANAGE)


def _own(path: str) -> bool:
    return path in {LIST, COUNT, MESSAGE, *LOOKED_UP} or path.startswith(f"{MESSAGE}/")


# As OpenAPI has them. A requirement names the scope: section 4.8.30 of OpenAPI 3.1.
SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, from `notifier keys add`. None is needed while there is none.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same, where `Authorization` is taken by something else.",
    },
}

# Header fields of draft-ietf-httpapi-ratelimit-headers; also where a message was taken.
RATE: dict[str, dict[str, Any]] = {
    name: {"description": f"{says}, where the key has a rate.", "schema": {"type": "string"}}
    for name, says in (("RateLimit", "What is left"), ("RateLimit-Policy", "What there is"))
}


def security(access: Access | None) -> list[dict[str, list[str]]]:
    """What has to be shown, in the terms of OpenAPI."""
    return [] if access is None else [{name: [access.scope.value]} for name in SCHEMES]


def refusals(access: Access | None, others: Iterable[int]) -> list[int]:
    """The statuses by which a call can be refused, those of the door among them."""
    return sorted({*others} if access is None else {*others, 401, 403})
