"""A proxy that leads out of the network, as a value: `http://user:password@host:port`, `socks5://`."""

import ipaddress
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

SCHEMES = {"http": 3128, "socks5": 1080}  # and their usual ports
LONGEST_LOGIN = 255  # octets, RFC 1929, section 2
FORM = "http://user:password@host:port or socks5://host:port"


class Proxy(Struct, frozen=True, kw_only=True):
    """Where it is, and who we are to it. `http` means CONNECT (RFC 9110, section 9.3.6)."""

    scheme: str
    host: str
    port: int
    username: str = ""
    password: str = ""

    @property
    def place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """With the password, for a client that connects."""
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@"
        return self.place.replace("://", f"://{login}", 1) if self.username else self.place

    def __repr__(self) -> str:
        """Without the password, which must not reach a log by accident."""
        return f"Proxy({write_proxy(self)})"


def read_proxy(text: str) -> Proxy:
    """Raises ValueError, which repeats nothing of what may be secret."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        username = unquote(parts.username or "", errors="strict")
        password = unquote(parts.password or "", errors="strict")
    except (ValueError, UnicodeDecodeError):
        host = None
    if not host or parts.scheme not in SCHEMES:
        raise ValueError(f"takes {FORM}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or not host.isascii():
        raise ValueError(f"takes {FORM}, and nothing after it")
    if port == 0 or not (username or not password):
        raise ValueError(f"takes {FORM}; a password needs a user, and a port is 1 to 65535")
    if len(username.encode()) > LONGEST_LOGIN or len(password.encode()) > LONGEST_LOGIN:
        raise ValueError(f"takes a user and a password of at most {LONGEST_LOGIN} octets")
    return Proxy(
        scheme=parts.scheme,
        host=host,
        port=port or SCHEMES[parts.scheme],
        username=username,
        password=password,
    )


def write_proxy(proxy: Proxy) -> str:
    """The URL again, the password struck out."""
    user = quote(proxy.username, safe="") + (":***" if proxy.password else "")
    return proxy.place.replace("://", f"://{user}@", 1) if user else proxy.place


def proxy_for(url: str, proxy: Proxy | None) -> Proxy | None:
    """The proxy for this URL. None: it leads to this machine, or there is no proxy."""
    host = urlsplit(url).hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return None if here else proxy
