"""
The OpenAPI document, made from the application's routes and from the types that requests are
checked against, so that it has each of their limits.

Litestar makes such a document, too, but from parameters that it has read itself. Ours are read by
`bodies` and `parameters`, and Litestar would not know them.
"""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.routes.base import BaseRoute
from msgspec import Struct

from notifier import __version__
from notifier.web.problems import PROBLEM_JSON, Problem
from notifier.web.routes import OPERATION, Access, DocumentedAnswer, Operation, access_to

USUAL_TAG = "email"  # the channel of a message that names none

DESCRIPTION = """\
Email over HTTP that loses nothing: a message that was answered with `202` is on disk, and ends in
one visible state with its reason. Requests and answers are JSON in UTF-8. Errors are problems as in
RFC 9457; an error about a field names it in `errors`."""


# The ways to present a key. A requirement names the scope: OpenAPI 3.1, section 4.8.30.
SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key from `notifier keys add`. As long as the service has no "
        "keys, no key is needed.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key, for use behind a proxy that needs `Authorization` for "
        "itself.",
    },
}

# Header fields of draft-ietf-httpapi-ratelimit-headers, which successful answers carry too.
RATE: dict[str, dict[str, Any]] = {
    name: {"description": f"{says}, if the key has a rate.", "schema": {"type": "string"}}
    for name, says in (("RateLimit", "What is left of the rate"), ("RateLimit-Policy", "The rate"))
}

ID = {"description": "The message's id.", "schema": {"type": "string"}}


def document(routes: Iterable[BaseRoute], *, public_path: str) -> dict[str, Any]:
    """OpenAPI 3.1 for the handlers that carry an `operation`."""
    # Sorted, so that each start writes the same document: Litestar's order changes.
    described = sorted(_described(routes), key=lambda each: (each[0], _method(each[1])))
    schemas = _Schemas(operation for *_, operation in described)
    paths: dict[str, dict[str, Any]] = {}
    for path, handler, operation in described:
        made = _operation(path, handler, operation, schemas)
        paths.setdefault(path, {})[_method(handler)] = made
    return {
        "openapi": "3.1.0",
        "info": {"title": "notifier", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": public_path or "/"}],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": SCHEMES},
    }


def _method(handler: HTTPRouteHandler) -> str:
    return min(handler.http_methods).lower()  # GET stands before HEAD


def _described(
    routes: Iterable[BaseRoute],
) -> Iterator[tuple[str, HTTPRouteHandler, Operation]]:
    for route in routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            operation = handler.opt.get(OPERATION)
            if isinstance(operation, Operation):
                yield _path(route), handler, operation


def _path(route: HTTPRoute) -> str:
    steps = (
        step if isinstance(step, str) else f"{{{step.name}}}" for step in route.path_components
    )
    return "/" + "/".join(steps)


class _Schemas:
    """JSON Schema of every type that stands in an operation."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        types: list[Any] = [Problem]
        for operation in operations:
            types += [operation.body] if operation.body else []
            for answer in operation.answers.values():
                types += [each.type for each in (answer, *answer.also) if each.type]
        tops, components = msgspec.json.schema_components(
            types, ref_template="#/components/schemas/{name}"
        )
        self._tops = [*zip(types, map(_undiscriminated, tops), strict=True)]
        self.components = {name: _freed(schema) for name, schema in components.items()}

    def of(self, type: Any) -> dict[str, Any]:
        return next(top for known, top in self._tops if known is type)


def _undiscriminated(schema: dict[str, Any]) -> dict[str, Any]:
    """A union without its discriminator: OpenAPI would require it in each request."""
    kept = {name: value for name, value in schema.items() if name != "discriminator"}
    if isinstance(items := kept.get("items"), dict):
        kept["items"] = _undiscriminated(items)
    return kept


def _freed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tagged Struct in which the default tag may be left out."""
    for name, field in schema.get("properties", {}).items():
        _join_null(field)
        if field.get("enum") == [USUAL_TAG] and name in schema.get("required", ()):
            field["default"] = field["enum"][0]
            field["enum"] = [*field["enum"], None]
            schema["required"].remove(name)
    return schema


def _join_null(field: dict[str, Any]) -> None:
    """`anyOf` of one type and null, as one nullable type with its limits."""
    choices: list[dict[str, Any]] = field.get("anyOf", [])
    if len(choices) == 2 and choices[1] == {"type": "null"} and "type" in choices[0]:
        del field["anyOf"]
        field |= choices[0] | {"type": [choices[0]["type"], "null"]}


def _operation(
    path: str, handler: HTTPRouteHandler, operation: Operation, schemas: _Schemas
) -> dict[str, Any]:
    access = access_to(handler)
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": handler.fn.__doc__ or operation.summary,
        "tags": [operation.tag],
        "security": _security(access),
        "parameters": [*_parameters(path, operation)],
        "responses": {
            **{str(status): _answer(each, schemas) for status, each in operation.answers.items()},
            **{
                str(status): _problem(status, schemas)
                for status in _refusals(access, operation.problems)
            },
        },
    }
    if operation.body is not None:
        others = {
            kind: {"schema": {"type": "string"}, "example": example}
            for kind, example in operation.sources.items()
        }
        described["requestBody"] = {
            "required": True,
            "content": {
                operation.body_type: {
                    "schema": schemas.of(operation.body),
                    "examples": {
                        name: {"value": value} for name, value in operation.examples.items()
                    },
                },
                **others,
            },
        }
    return described


def _security(access: Access) -> list[dict[str, list[str]]]:
    return [] if access.scope is None else [{name: [access.scope.value]} for name in SCHEMES]


def _refusals(access: Access, problems: Iterable[int]) -> list[int]:
    """The statuses by which a call can be refused, including those about its key."""
    return sorted({*problems} if access.scope is None else {*problems, 401, 403})


def _parameters(path: str, operation: Operation) -> Iterator[dict[str, Any]]:
    for name, described in {"id": ID, **operation.path}.items():
        if f"{{{name}}}" in path:
            yield {"name": name, "in": "path", "required": True, **described}
    for name, header in operation.headers.items():
        yield {"name": name, "in": "header", "required": False, **header}
    if operation.query is not None:
        yield from _query(operation.query)


def _query(query: type[Struct]) -> Iterator[dict[str, Any]]:
    (_, components) = msgspec.json.schema_components([query], ref_template="{name}")
    for name, schema in components[query.__name__]["properties"].items():
        described = _inlined(schema, components)
        parameter = {"name": name, "in": "query", "required": False, "schema": described}
        if "description" in described:
            parameter["description"] = described.pop("description")
        if described.get("type") == "array":  # a=1&a=2; the service also takes a=1,2
            parameter |= {"style": "form", "explode": True}
        yield parameter


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    """A parameter's schema with references inlined and `null` removed: a query has no null."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"]], components)
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        return _inlined(choices[0], components)
    return {name: _inlined(value, components) for name, value in schema.items()}


def _answer(answer: DocumentedAnswer, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    contents = {each.media_type: _content(each, schemas) for each in (answer, *answer.also)}
    if any(contents.values()):
        described["content"] = contents
    if answer.headers:
        described["headers"] = {
            name: {"description": says, "schema": {"type": "string"}}
            for name, says in answer.headers.items()
        }
    return described


def _content(answer: DocumentedAnswer, schemas: _Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if answer.type is not None:
        content["schema"] = schemas.of(answer.type)
    if answer.example is not None:
        content["example"] = msgspec.to_builtins(answer.example)
    return content


def _problem(status: int, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM_JSON: {"schema": schemas.of(Problem)}},
    }
    if status in {429, 503}:
        seconds = {"description": "Seconds.", "schema": {"type": "integer"}}
        described["headers"] = {"Retry-After": seconds}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        described["headers"] |= RATE
    if status == HTTPStatus.UNAUTHORIZED:
        scheme = {"description": "How to send a key.", "schema": {"type": "string"}}
        described["headers"] = {"WWW-Authenticate": scheme}
    return described
