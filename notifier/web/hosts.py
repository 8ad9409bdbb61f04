"""By which names the service may be called while there is no API key."""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from notifier.settings import Settings, variable
from notifier.web.problems import PROBLEM_JSON, Problem
from notifier.web.responses import Answer, encode

# Orchestrators ask them by address or by a name of their own. They tell a stranger nothing.
PROBES = frozenset({"/livez", "/readyz"})

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\s:/@\[\]]{1,255})(?::[0-9]{0,5})?")

log = structlog.get_logger()


class Hosts:
    """
    Stands before every route, and before what no route answers. A page on the Internet can have
    its own name resolved to a loopback address, and then calls us from the browser of whoever
    looks at it, as a page of ours would. Only the name in `Host` tells it apart.

    Once there is a key it is the key that protects, and any name is served.
    """

    def __init__(self, app: ASGIApp, settings: Settings, *, keyless: Callable[[], bool]) -> None:
        self._app = app
        self._keyless = keyless
        self._anywhere = settings.anonymous == "anywhere"
        named = {"localhost", settings.host.lower(), *settings.allowed_hosts}
        self._names = frozenset(name.strip("[]") for name in named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and self._keyless():
            host = _host(scope["headers"])
            if not self._may_be(host) and scope["path"].rstrip("/") not in PROBES:
                await _refusal(scope, host)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _may_be(self, host: str) -> bool:
        if host in self._names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        # No name can be made to stand for an address: who calls by one typed it.
        return address.is_loopback or self._anywhere


def _host(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The name in `Host`, in lower case and without the port; empty: there is not one of it."""
    given = [value for name, value in headers if name == b"host"]
    if len(given) != 1:
        return ""
    match = _HOST.fullmatch(given[0].decode("latin-1").lower())
    return match[1].strip("[]").rstrip(".") if match else ""


def _refusal(scope: Any, host: str) -> Answer:
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
        title="The service is not called by this name",
        status=421,
        detail=f"while there is no API key, the service is served as localhost and as"
        f" {variable('host')}, but not as {host[:100] or 'nothing'!r}; name that in"
        f" {variable('allowed_hosts')}, or make a key with `notifier keys add`",
    )
    return Answer(
        encode(problem),
        status=421,
        content_type=PROBLEM_JSON.encode(),
        headers=[(b"cache-control", b"no-store")],
    )
