"""The HTTP client of all that goes out by HTTP: tokens, Microsoft Graph, an SMS provider."""

import ssl
from collections.abc import Mapping

import httpx2

from notifier.proxies import Proxy, proxy_for


def http_client(
    url: str,
    *,
    proxy: Proxy | None,
    seconds: float,
    connect_seconds: float,
    headers: Mapping[str, str],
    limits: httpx2.Limits = httpx2.Limits(),  # noqa: B008 - a value
    trust: ssl.SSLContext | None = None,
) -> httpx2.AsyncClient:
    """
    A client for requests to this URL. It follows no redirect, and takes nothing from an
    environment that is not ours. `trust`: instead of the usual certificates, in tests.
    """
    used = proxy_for(url, proxy)
    return httpx2.AsyncClient(
        headers={"User-Agent": "notifier", "Accept": "application/json", **headers},
        timeout=httpx2.Timeout(seconds, connect=connect_seconds),
        limits=limits,
        follow_redirects=False,  # a redirected POST would become a GET, or go who knows where
        trust_env=False,  # neither proxies nor .netrc
        proxy=None if used is None else used.url,
        verify=trust or True,
    )


async def read_at_most(response: httpx2.Response, octets: int) -> bytes:
    """The beginning of a body, as it is after decoding. Raises httpx2.HTTPError."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= octets:
            break
    return bytes(body[:octets])
