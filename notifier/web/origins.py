"""By which host names, from which pages and addresses the service may be called."""

import ipaddress
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from notifier.settings import Settings, variable
from notifier.web.bodies import AnyRequest
from notifier.web.problems import PROBLEM_JSON, Problem
from notifier.web.responses import BytesResponse, encode

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Orchestrators call these by addresses or names of their own. They tell strangers nothing.
PROBES = frozenset({"/livez", "/readyz"})
KEYLESS = "notifier_keyless"  # in the request's state: whether anybody may call
LONGEST_HOST = 261  # octets of a `Host`: a name of 255, a colon and a port
HOSTS = 256  # values of `Host` of which is remembered whether they are allowed
_PORTS = {"http": ":80", "https": ":443"}
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\s:/@\[\]]{1,255})(?::[0-9]{0,5})?")

log = structlog.get_logger()


class AllowedHosts:
    """
    ASGI middleware around the whole application, also around unknown paths.

    A page on the Internet can have its own name resolved to a loopback address (DNS rebinding). It
    then calls the service from its reader's browser as if it were the service's own page. Only the
    name in `Host` reveals it. Once there is a key, the key protects, and the service answers to any
    name.
    """

    def __init__(self, app: ASGIApp, settings: Settings, *, keyless: Callable[[], bool]) -> None:
        self._app = app
        self._keyless = keyless
        self._anywhere = settings.anonymous == "anywhere"
        named = {"localhost", settings.host.lower(), *settings.allowed_hosts}
        self._names = frozenset(name.strip("[]") for name in named)
        self._allows = lru_cache(maxsize=HOSTS)(self._judge)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == ScopeType.HTTP:
            keyless = scope.setdefault("state", {})[KEYLESS] = self._keyless()
            if keyless:
                given = [value for name, value in scope["headers"] if name == b"host"]
                host = given[0] if len(given) == 1 and len(given[0]) <= LONGEST_HOST else b""
                if not self._allows(host) and scope["path"].rstrip("/") not in PROBES:
                    return _refusal(scope, name_in(host))(scope, receive, send)
        return self._app(scope, receive, send)

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


def refuse_foreign(scope: Any, *, browser: bool = False) -> None:
    """
    Refuse calls of browsers from pages of other sites: `Sec-Fetch-Site` tells them apart, and where
    it is absent (old browsers, plain http names) `Origin` does. A program sends neither and is let
    through, unless the request has what only a `browser` has. Raises 403. RFC 6454, section 7; W3C
    Fetch Metadata, section 2.3.
    """
    site = origin = host = None
    for name, value in scope["headers"]:
        if name == b"sec-fetch-site":
            site = value
        elif name == b"origin":
            origin = value
        elif name == b"host":
            host = value
    if site is not None:
        ours = site == b"same-origin"
    elif origin is not None:
        ours = _is_of(origin.decode("latin-1"), (host or b"").decode("latin-1").lower())
    else:
        ours = not browser
    if not ours:
        shown = (origin or b"none").decode("latin-1")[:100]
        to = (host or b"").decode("latin-1")[:100]
        detail = f"a page of another site may not do this: its origin, {shown}, is not {to}"
        raise HTTPException(status_code=403, detail=detail)


def _is_of(origin: str, host: str) -> bool:
    """Whether a page of this origin came from this `Host`. A default port may be left out."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    port = _PORTS.get(parts.scheme)
    if port is None or not parts.netloc:
        return False
    return parts.netloc.lower().removesuffix(port) == host.removesuffix(port)


def address_of(request: AnyRequest) -> str:
    """The caller's address. If a proxy on this machine calls, the address that it reports."""
    client = request.scope.get("client")
    peer = client[0] if client else ""
    if _is_loopback(peer) and (told := request.headers.get("x-forwarded-for")):
        return told.rpartition(",")[2].strip()[:45]
    return peer


def is_secure(request: AnyRequest) -> bool:
    """Whether the browser speaks TLS, with this server or with a proxy on this machine."""
    if request.scope["scheme"] == "https":
        return True
    client = request.scope.get("client")
    scheme = request.headers.get("x-forwarded-proto", "")
    return scheme.strip().lower() == "https" and client is not None and _is_loopback(client[0])


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
