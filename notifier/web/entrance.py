"""
What every request passes before a route is looked for.

It is counted. While there is no key, its `Host` must be one of the service's own. And the usual
POST of a message goes straight to its handler, because Litestar's routing, its two nets for
exceptions, and its handling of arguments and answers take 26 of the 106 µs of such a request
without the journal (Litestar 2.25, Python 3.11). The handler is the same, and so are its answers.
"""

import re
from collections.abc import Awaitable
from time import perf_counter
from typing import Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Send

from notifier.metrics import Requests
from notifier.service import Notifier
from notifier.web.auth import Authentication
from notifier.web.bodies import BytesResponse, encode
from notifier.web.body_memory import SMALL
from notifier.web.hosts import KEYLESS, Hosts
from notifier.web.problems import PROBLEM_JSON, HostNotServed, answer_error, problem_of

UNKNOWN = "(none)"  # counted in place of paths that have no route
# A request with one of these is not the usual one: a browser sent it, or its body comes in chunks.
_UNUSUAL = frozenset({b"origin", b"sec-fetch-site", b"transfer-encoding"})
_LENGTH = re.compile(rb"[0-9]{1,6}")  # Content-Length of a body that may be small
_PLAIN_HOST = re.compile(rb"[0-9A-Za-z.:\[\]-]{1,255}")  # a name or an address, maybe with a port
# Orchestrators call these by other addresses or names. Their answers have nothing confidential.
PROBES = frozenset({"/livez", "/readyz"})


class Entrance:
    """
    ASGI application around Litestar's. `usual` is the route of the usual POST.

    Requests are counted by status, with the seconds until the answer began. Paths are those of
    routes, so there are few.
    """

    def __init__(
        self,
        app: ASGIApp,
        usual: HTTPRouteHandler,
        service: Notifier,
        authentication: Authentication,
        hosts: Hosts,
        requests: Requests,
    ) -> None:
        self._app = app
        self._route = usual
        (self._path,) = usual.paths
        self._handler: Any = usual.fn
        self._authentication = authentication
        self._keys = service.keys
        self._count = requests.count
        self._hosts = hosts

    def __call__(self, scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
        begun = perf_counter()
        given = scope["headers"]
        if (keys := self._keys).clock() >= keys.look_at:
            keys.reload_if_changed()
        keyless = not keys.configured and self._authentication.anonymous
        scope["state"][KEYLESS] = keyless
        if scope["path"] == self._path and scope["method"] == "POST":
            headers = dict(given)
            if (
                len(headers) == len(given)  # no header field is given twice
                and _UNUSUAL.isdisjoint(headers)
                and _LENGTH.fullmatch(length := headers.get(b"content-length", b""))
                and int(length) <= SMALL
                and _PLAIN_HOST.fullmatch(host := headers.get(b"host", b""))
                and (not keyless or self._hosts.allows(host))
            ):
                return self._send(scope, receive, send, begun)

        def noted(message: Any) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                path = scope.get("path_template") or UNKNOWN
                self._count(scope["method"], path, message["status"], perf_counter() - begun)
            return send(message)

        if keyless:
            try:
                if scope["path"].rstrip("/") not in PROBES:
                    self._hosts.require(scope, "while there is no API key")
            except HostNotServed as error:
                return _refusal(error)(scope, receive, noted)
        return self._app(scope, receive, noted)

    async def _send(self, scope: Any, receive: Receive, send: Send, begun: float) -> None:
        """The usual POST: what Litestar and our middleware in it do, as far as it needs them."""
        scope["path_template"], scope["path_params"] = self._path, {}
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        try:
            if not scope["state"][KEYLESS]:
                send = await self._authentication.admitted(request, self._route, send)
            response: Any = await self._handler(request)
            status = response.status
        except Exception as error:  # noqa: BLE001  the caller gets the answer that it stands for
            response = answer_error(request, error).to_asgi_response(app=None, request=request)
            status = response.status_code
        self._count("POST", self._path, status, perf_counter() - begun)
        await response(scope, receive, send)


def _refusal(error: HostNotServed) -> BytesResponse:
    problem = problem_of(error)
    return BytesResponse(
        encode(problem),
        status=problem.status,
        content_type=PROBLEM_JSON.encode(),
        headers=[(b"cache-control", b"no-store")],
    )
