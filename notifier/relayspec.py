"""What an operator says of a relay, as a value."""

import ipaddress
import re
from enum import StrEnum

from msgspec import Struct

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"(?:.*\.)?[0-9]+")


class Tls(StrEnum):
    """How a connection is protected. STARTTLS is required where it is asked for, never tried."""

    NONE = "none"
    STARTTLS = "starttls"  # RFC 3207
    IMPLICIT = "implicit"  # RFC 8314, section 3.3


class Application(Struct, frozen=True):
    """An application that Microsoft knows, as the URL of a relay names it."""

    tenant: str
    client: str


class RelaySpec(Struct, frozen=True, kw_only=True):
    """One relay of NOTIFIER_RELAYS."""

    name: str
    host: str
    port: int
    tls: Tls = Tls.NONE
    username: str | None = None
    password: str | None = None
    # At most so many at a time. A message costs two round trips, so 16 carry 160 a second to a
    # relay that is 50 ms away, and as many as the processor allows to one that is near.
    connections: int = 16
    rate: float | None = None  # messages a second; None: as fast as it takes them
    messages_per_connection: int = 100
    ca: str | None = None  # a file of certificates to trust instead of the system's
    ehlo_name: str | None = None  # what we call ourselves; None: by our host name or address
    oauth: str | None = None  # the section of NOTIFIER_OAUTH whose token is the password
    graph: Application | None = None  # it is Microsoft Graph; None: it speaks SMTP
    mailbox: str | None = None  # of Microsoft Graph, that sends
    base: str | None = None  # another place of Microsoft Graph, in tests

    @property
    def login_in_clear(self) -> bool:
        """Whether the password can be read by others on its way."""
        return self.tls is Tls.NONE and self.username is not None and not is_loopback(self.host)

    def __repr__(self) -> str:
        """Without the password, which must not reach a log by accident."""
        return f"RelaySpec({self.name} {self.host}:{self.port} {self.tls})"


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by its address or by its usual name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_ehlo_name(text: str) -> bool:
    """Whether one may call oneself so: a domain, or an address literal. RFC 5321, 4.1.3."""
    if is_host_name(text):
        return True
    if not (text.startswith("[") and text.endswith("]")):
        return False
    before, of_six, address = text[1:-1].rpartition("IPv6:")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return False
    return not before and "%" not in address and version == (6 if of_six else 4)


def is_host_name(text: str) -> bool:
    """Whether it is a domain as RFC 5321, section 4.1.2, has it: no underscore, no address."""
    return _HOST_NAME.fullmatch(text) is not None and _NUMERIC.fullmatch(text) is None
