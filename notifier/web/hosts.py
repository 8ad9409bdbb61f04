"""Which host names may be used, and which pages may call, while no API key protects the service."""

import ipaddress
import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from litestar.exceptions import HTTPException

from notifier.settings import Settings, variable
from notifier.web.problems import HostNotServed

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
KEYLESS = "notifier_keyless"  # in the request's state: whether anybody may call
LONGEST_HOST = 261  # octets of a `Host`: a name of 255, a colon and a port
HOSTS = 256  # values of `Host` for which the result is cached
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\s:/@\[\]]{1,255})(?::[0-9]{0,5})?")
_PORTS = {"http": ":80", "https": ":443"}

log = structlog.get_logger()


class Hosts:
    """
    The names of the service.

    A page on the Internet can have its own name resolved to a loopback address (DNS rebinding). It
    then calls the service from its reader's browser as if it were the service's own page. Only the
    name in `Host` reveals it.
    """

    def __init__(self, settings: Settings) -> None:
        # An address in `Host` is safe: DNS rebinding needs a name.
        self._addresses = settings.anonymous == "anywhere" or settings.sign_in_header != ""
        named = {"localhost", settings.host.lower(), *settings.allowed_hosts}
        self._names = frozenset(name.strip("[]") for name in named)
        # Whether a `Host` of at most LONGEST_HOST octets is one of them.
        self.allows = lru_cache(maxsize=HOSTS)(self._judge)

    def require(self, scope: Any, when: str) -> None:
        """Raises HostNotServed if the request's `Host` is not one of them."""
        given = [value for name, value in scope["headers"] if name == b"host"]
        host = given[0] if len(given) == 1 and len(given[0]) <= LONGEST_HOST else b""
        if self.allows(host):
            return
        name = name_in(host)[:100]
        client = scope.get("client")
        log.warning(
            "refused",
            status=421,
            method=scope["method"],
            path=scope["path"][:200],
            client=client[0] if client else None,
            reason=f"the host {name!r} is not served {when}",
        )
        raise HostNotServed(
            f"{when}, the service answers as localhost and as {variable('host')}, but not as"
            f" {name or 'nothing'!r}; add that name to {variable('allowed_hosts')}, or call with"
            " an API key, made with `notifier keys add`"
        )

    def _judge(self, given: bytes) -> bool:
        host = name_in(given)
        if host in self._names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or self._addresses


def name_in(host: bytes) -> str:
    """The name in a `Host`, in lower case and without the port; empty: it has none."""
    match = _HOST.fullmatch(host.decode("latin-1").lower())
    return match[1].strip("[]").rstrip(".") if match else ""


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
