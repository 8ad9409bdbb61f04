"""What a trusted proxy reports about the caller: the address, and whether the browser uses TLS."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from notifier.settings import Settings
from notifier.settings.sign_in import Network
from notifier.web.bodies import AnyRequest

PROXIES = "trusted_proxies"  # in the application's state
PEERS = 1024  # addresses for which the result is cached
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))


class TrustedProxies:
    """The proxies that are trusted, by the address from which they connect."""

    def __init__(self, settings: Settings) -> None:
        self._networks: Sequence[Network] = settings.trusted_proxies or LOOPBACK
        self.trusts = lru_cache(maxsize=PEERS)(self._judge)

    def _judge(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])  # without an interface
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # a socket for both families writes ::ffff:192.0.2.1
        return any(found in network for network in self._networks)

    def forward(self, scope: Any) -> bool:
        """Whether the request comes from one of them."""
        client = scope.get("client")
        return client is not None and self.trusts(client[0])


def address_of(request: AnyRequest) -> str:
    """
    The caller's address. Of a trusted proxy, the last one in its `X-Forwarded-For` that is not a
    trusted proxy itself: what stands before it may be the caller's invention.
    """
    client = request.scope.get("client")
    peer: str = client[0] if client else ""
    proxies: TrustedProxies = request.app.state[PROXIES]
    if not proxies.trusts(peer):
        return peer
    hops = ",".join(request.headers.getall("x-forwarded-for", [])).split(",")
    named = [hop.strip()[:45] for hop in hops if hop.strip()]
    return next((hop for hop in reversed(named) if not proxies.trusts(hop)), (named or [peer])[0])


def is_secure(request: AnyRequest) -> bool:
    """Whether the browser uses TLS, with this server or with a trusted proxy."""
    if request.scope["scheme"] == "https":
        return True
    scheme = request.headers.get("x-forwarded-proto", "")
    proxies: TrustedProxies = request.app.state[PROXIES]
    return scheme.strip().lower() == "https" and proxies.forward(request.scope)
