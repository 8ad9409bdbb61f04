"""
What every request passes before a route is looked for.

It is counted. While there is no key, its `Host` must be one of the service's own. And the usual
POST of a message goes straight to its handler, because Litestar's routing, its two nets for
exceptions, and its handling of arguments and answers take 26 of the 106 µs of such a request
without the journal (Litestar 2.25, Python 3.11). The handler is the same, and so are its answers.
"""

import ipaddress
import re
from collections.abc import Awaitable
from functools import lru_cache
from time import perf_counter
from typing import Any

import structlog
from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Send

from notifier.metrics import Requests
from notifier.service import Notifier
from notifier.settings import variable
from notifier.web.auth import Authentication
from notifier.web.body_memory import SMALL
from notifier.web.origins import KEYLESS
from notifier.web.problems import PROBLEM_JSON, Problem, answer_error
from notifier.web.responses import BytesResponse, encode

UNKNOWN = "(none)"  # stands for the paths that no route answers
# A request with one of these is not the usual one: a browser sent it, or its body comes in chunks.
_UNUSUAL = frozenset({b"origin", b"sec-fetch-site", b"transfer-encoding"})
_LENGTH = re.compile(rb"[0-9]{1,6}")  # of a body that may be small
_PLAIN_HOST = re.compile(rb"[0-9A-Za-z.:\[\]-]{1,255}")  # a name or an address, maybe with a port
# Orchestrators call these by addresses or names of their own. They tell strangers nothing.
PROBES = frozenset({"/livez", "/readyz"})
LONGEST_HOST = 261  # octets of a `Host`: a name of 255, a colon and a port
HOSTS = 256  # values of `Host` of which is remembered whether they are allowed
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\s:/@\[\]]{1,255})(?::[0-9]{0,5})?")

log = structlog.get_logger()


class Entrance:
    """
    ASGI application around Litestar's. `usual` is the route of the usual POST.

    Requests are counted by status, with the seconds until the answer began. Paths are those of
    routes, so there are few.

    A page on the Internet can have its own name resolved to a loopback address (DNS rebinding). It
    then calls the service from its reader's browser as if it were the service's own page. Only the
    name in `Host` reveals it. Once there is a key, the key protects, and the service answers to any
    name.
    """

    def __init__(
        self,
        app: ASGIApp,
        usual: HTTPRouteHandler,
        service: Notifier,
        authentication: Authentication,
        requests: Requests,
    ) -> None:
        self._app = app
        self._route = usual
        (self._path,) = usual.paths
        self._handler: Any = usual.fn
        self._authentication = authentication
        self._keys = service.keys
        self._count = requests.count
        settings = service.settings
        self._anywhere = settings.anonymous == "anywhere"
        named = {"localhost", settings.host.lower(), *settings.allowed_hosts}
        self._names = frozenset(name.strip("[]") for name in named)
        self._allows = lru_cache(maxsize=HOSTS)(self._judge)

    def __call__(self, scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
        begun = perf_counter()

        def noted(message: Any) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                path = scope.get("path_template") or UNKNOWN
                self._count(scope["method"], path, message["status"], perf_counter() - begun)
            return send(message)

        given = scope["headers"]
        keyless = not self._keys.exist() and self._authentication.anonymous
        scope["state"][KEYLESS] = keyless
        if keyless:
            hosts = [value for name, value in given if name == b"host"]
            host = hosts[0] if len(hosts) == 1 and len(hosts[0]) <= LONGEST_HOST else b""
            if not self._allows(host) and scope["path"].rstrip("/") not in PROBES:
                return _refusal(scope, name_in(host))(scope, receive, noted)
        if scope["path"] == self._path and scope["method"] == "POST":
            headers = dict(given)
            if (
                len(headers) == len(given)  # none is given twice
                and _UNUSUAL.isdisjoint(headers)
                and _LENGTH.fullmatch(length := headers.get(b"content-length", b""))
                and int(length) <= SMALL
                and _PLAIN_HOST.fullmatch(headers.get(b"host", b""))
            ):
                return self._send(scope, receive, noted)
        return self._app(scope, receive, noted)

    async def _send(self, scope: Any, receive: Receive, send: Send) -> None:
        """The usual POST: what Litestar and our middleware in it do, as far as it needs them."""
        scope["path_template"], scope["path_params"] = self._path, {}
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        try:
            if not scope["state"][KEYLESS]:
                send = await self._authentication.admitted(request, self._route, send)
            response: BytesResponse = await self._handler(request)
        except Exception as error:  # noqa: BLE001  the caller gets the answer that it stands for
            problem = answer_error(request, error)
            await problem.to_asgi_response(app=None, request=request)(scope, receive, send)
        else:
            await response(scope, receive, send)

    def _judge(self, given: bytes) -> bool:
        host = name_in(given)
        if host in self._names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        # No name can be rebound to an address in `Host`: the caller typed the address.
        return address.is_loopback or self._anywhere


def name_in(host: bytes) -> str:
    """The name in a `Host`, in lower case and without the port; empty: it has none."""
    match = _HOST.fullmatch(host.decode("latin-1").lower())
    return match[1].strip("[]").rstrip(".") if match else ""


def _refusal(scope: Any, host: str) -> BytesResponse:
    """RFC 9110, section 15.5.20."""
    client = scope.get("client")
    log.warning(
        "refused",
        status=421,
        method=scope["method"],
        path=scope["path"][:200],
        client=client[0] if client else None,
        reason=f"the host {host[:100]!r} is not served without a key",
    )
    problem = Problem(
        type="urn:notifier:problem:host-not-served",
        title="The service does not answer to this host name",
        status=421,
        detail=f"while there is no API key, the service answers as localhost and as"
        f" {variable('host')}, but not as {host[:100] or 'nothing'!r}; add that name to"
        f" {variable('allowed_hosts')}, or make a key with `notifier keys add`",
    )
    return BytesResponse(
        encode(problem),
        status=421,
        content_type=PROBLEM_JSON.encode(),
        headers=[(b"cache-control", b"no-store")],
    )
