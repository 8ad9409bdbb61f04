"""From which pages the service may be called."""

from typing import Any
from urllib.parse import urlsplit

from litestar.exceptions import HTTPException

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
KEYLESS = "notifier_keyless"  # in the request's state: whether anybody may call
_PORTS = {"http": ":80", "https": ":443"}


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
