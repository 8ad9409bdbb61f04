"""Errors as `application/problem+json`. RFC 9457."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from litestar.exceptions import HTTPException
from litestar.response import Response
from litestar.routes import HTTPRoute
from litestar.types import ExceptionHandlersMap
from msgspec import Struct

from notifier import errors
from notifier.web.bodies import AnyRequest, encode

PROBLEM_JSON = "application/problem+json"

log = structlog.get_logger()


class ProblemError(Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong: in the body, the query or a header."""

    message: str
    pointer: str | None = None  # a JSON pointer into the body, RFC 6901
    parameter: str | None = None  # of the query string
    header: str | None = None


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request failed."""

    type: str
    title: str
    status: int
    detail: str
    errors: Sequence[ProblemError] = ()
    id: str | None = None  # of the message that the problem is about


class BadParameter(errors.Rejected):
    """A parameter of the query is wrong."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.error = ProblemError(message, parameter=name)


class BadHeader(errors.Rejected):
    """A header field is wrong."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.error = ProblemError(message, header=name)


class WrongKey(errors.Unauthorized):
    """The presented text is not a valid API key."""


class HostNotServed(errors.NotifierError):
    """The `Host` of the request is not a name of the service. RFC 9110, section 15.5.20."""


class NotSent(errors.NotifierError):
    """The message that the caller waits for will not be sent."""

    def __init__(self, id: str, detail: str, *, replayed: bool = False) -> None:
        super().__init__(detail)
        self.id = id
        self.replayed = replayed  # it was submitted by an earlier request


# The first class that fits, so subclasses come before their base.
KINDS: dict[type[errors.NotifierError], tuple[int, str, str]] = {
    errors.InvalidAddress: (422, "invalid-address", "The address is not valid"),
    errors.InvalidMessage: (422, "invalid-message", "The message is not valid"),
    errors.MessageNotFound: (404, "message-not-found", "The message does not exist"),
    errors.WrongState: (409, "wrong-state", "The state of the message does not allow this"),
    errors.IdempotencyMismatch: (
        422,
        "idempotency-mismatch",
        "The idempotency key was used for another request",
    ),
    errors.Unauthorized: (401, "unauthorized", "An API key is needed"),
    errors.Forbidden: (403, "forbidden", "The API key does not allow this"),
    HostNotServed: (421, "host-not-served", "The service does not answer to this host name"),
    BadParameter: (422, "invalid-parameter", "A parameter is not valid"),
    BadHeader: (422, "invalid-header", "A header field is not valid"),
    NotSent: (502, "not-sent", "The message will not be sent"),
    errors.Rejected: (422, "rejected", "The request is not valid"),
    errors.BacklogFull: (429, "backlog-full", "Too many messages are waiting"),
    errors.RecipientRate: (
        429,
        "recipient-rate-exceeded",
        "A recipient gets too many messages",
    ),
    errors.TooMany: (429, "rate-exceeded", "The API key has used up its rate"),
    errors.Draining: (503, "draining", "The service is stopping"),
    errors.JournalUnavailable: (503, "journal-unavailable", "The journal cannot be written now"),
    errors.Unavailable: (503, "unavailable", "Not now"),
}


def answer_error(request: AnyRequest, error: Exception) -> Response[bytes]:
    """The answer to a request that raised an exception."""
    match error:
        case errors.NotifierError():
            return _of_ours(error)
        case HTTPException(status_code=405):
            return _of_http(error, {"Allow": ", ".join(sorted(_methods(request)))})
        case HTTPException():
            return _of_http(error, error.headers)
    # The details go to the log, because they are of no use to the caller.
    log.error("request_failed", method=request.method, path=request.scope["path"], exc_info=error)
    return _response(
        Problem(
            type="about:blank",
            title="Internal Server Error",
            status=500,
            detail="the service failed; its log says why",
        )
    )


HANDLERS: ExceptionHandlersMap = {
    Exception: answer_error,
    HTTPException: answer_error,
}


def problem_of(error: errors.NotifierError) -> Problem:
    """The problem that the caller gets."""
    status, name, title = next(
        (problem for kind, problem in KINDS.items() if isinstance(error, kind)),
        (500, "internal", "Internal Server Error"),
    )
    return Problem(
        type=f"urn:notifier:problem:{name}",
        title=title,
        status=status,
        detail=str(error),
        errors=_errors(error),
        id=error.id if isinstance(error, NotSent) else None,
    )


def _of_ours(error: errors.NotifierError) -> Response[bytes]:
    return _response(problem_of(error), _headers(error))


def _headers(error: errors.NotifierError) -> dict[str, str]:
    match error:
        case NotSent(replayed=True):
            return {"Idempotency-Replayed": "true"}
        case errors.TooMany():
            return error.headers
        case errors.Unavailable():
            return {"Retry-After": str(error.retry_after)}
        case WrongKey():  # RFC 6750, section 3.1
            return {"WWW-Authenticate": 'Bearer realm="notifier", error="invalid_token"'}
        case errors.Unauthorized():
            return {"WWW-Authenticate": 'Bearer realm="notifier"'}
    return {}


def _errors(error: errors.NotifierError) -> Sequence[ProblemError]:
    match error:
        case errors.InvalidMessage():
            return [ProblemError(each.message, pointer=each.pointer) for each in error.faults]
        case BadParameter() | BadHeader():
            return [error.error]
    return ()


def _of_http(error: HTTPException, headers: dict[str, str] | None) -> Response[bytes]:
    status = HTTPStatus(error.status_code)
    return _response(
        Problem(
            type="about:blank",
            title=status.phrase,
            status=status,
            detail=error.detail or status.description or status.phrase,
        ),
        headers,
    )


def _response(problem: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        encode(problem),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _methods(request: AnyRequest) -> set[str]:
    """The methods of the path, which a 405 must name (RFC 9110) and Litestar omits."""
    steps = [step for step in request.scope["path"].split("/") if step]
    routes = [
        route
        for route in request.app.routes
        if isinstance(route, HTTPRoute) and _leads_to(route.path_components, steps)
    ]
    # A literal path, such as /v1/messages/batch, takes precedence over one with a parameter.
    plain = [route for route in routes if not route.path_parameters]
    return {str(method) for route in plain or routes for method in route.methods}


def _leads_to(components: Sequence[Any], steps: Sequence[str]) -> bool:
    if components and getattr(components[-1], "type", None) is Path:  # it matches all the rest
        components, steps = components[:-1], steps[: len(components) - 1]
    return len(components) == len(steps) and all(
        not isinstance(component, str) or component == step
        for component, step in zip(components, steps, strict=True)
    )
