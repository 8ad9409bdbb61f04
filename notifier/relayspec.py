"""A relay as the operator describes it, as a value."""

import ipaddress
import re
from enum import StrEnum

from msgspec import Struct

from notifier.proxies import Proxy

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"(?:.*\.)?[0-9]+")


class Tls(StrEnum):
    """How a connection is protected. With STARTTLS, a relay that does not offer it is not used."""

    NONE = "none"
    STARTTLS = "starttls"  # RFC 3207
    IMPLICIT = "implicit"  # RFC 8314, section 3.3


class Application(Struct, frozen=True):
    """An application that Microsoft knows, as the URL of a relay names it."""

    tenant: str
    client: str


class Pipelining(StrEnum):
    """How many commands leave before those before them are answered, where a relay offers it."""

    OFF = "off"  # one
    TRANSACTION = "transaction"  # those of a message, up to its content
    FULL = "full"  # those, and behind a content those of the next message. RFC 2920, section 3.1


class RelaySpec(Struct, frozen=True, kw_only=True):
    """One relay of NOTIFIER_RELAYS."""

    name: str
    host: str
    port: int
    tls: Tls = Tls.NONE
    username: str | None = None
    password: str | None = None
    # At most so many at a time. A message costs one round trip, so 16 carry 320 a second to a
    # relay that is 50 ms away, and as many as the processor allows to one that is near.
    connections: int = 16
    rate: float | None = None  # messages a second; None: as fast as it takes them
    messages_per_connection: int = 100
    pipelining: Pipelining = Pipelining.FULL
    ca: str | None = None  # a file of certificates to trust instead of the system's
    return_path: str | None = None  # as NOTIFIER_RETURN_PATH, for this relay
    id_header: str | None = None  # a header field that it gets, with the message's id
    ehlo_name: str | None = None  # the name given in EHLO; None: the host's name or address
    proxy: Proxy | None = None  # that leads to it
    # What a message must fulfil to go to it, one value of each that is not empty; see `chains`.
    senders: tuple[str, ...] = ()  # `a@x.org` or `@x.org`
    recipients: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()  # names of API keys
    priorities: tuple[str, ...] = ()
    oauth: str | None = None  # the section of NOTIFIER_OAUTH whose token is the password
    graph: Application | None = None  # it is Microsoft Graph; None: it speaks SMTP
    mailbox: str | None = None  # of Microsoft Graph, that sends
    base: str | None = None  # another place of Microsoft Graph, in tests

    @property
    def conditional(self) -> bool:
        """Whether it takes only some messages."""
        return bool(self.senders or self.recipients or self.keys or self.priorities)

    @property
    def conditions(self) -> dict[str, tuple[str, ...]]:
        """What a message must fulfil to go to it, one value of each."""
        found = {
            "senders": self.senders,
            "recipients": self.recipients,
            "keys": self.keys,
            "priorities": self.priorities,
        }
        return {name: values for name, values in found.items() if values}

    @property
    def login_in_clear(self) -> bool:
        """Whether the password can be read on its way to the relay."""
        return self.tls is Tls.NONE and self.username is not None and not is_loopback(self.host)

    def __repr__(self) -> str:
        """The relay without its password, which must not reach a log by accident."""
        return f"RelaySpec({self.name} {self.host}:{self.port} {self.tls})"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by a loopback address or by `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_ehlo_name(text: str) -> bool:
    """Whether EHLO may give this name: a domain, or an address literal. RFC 5321, 4.1.3."""
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
    """Whether it is a domain as in RFC 5321, section 4.1.2: no underscore, no address."""
    return _HOST_NAME.fullmatch(text) is not None and _NUMERIC.fullmatch(text) is None
