"""Where an SMTP server listens: `127.0.0.1:2526?tls=starttls&certificate=FILE&key=FILE`."""

import ssl
from urllib.parse import parse_qsl, quote

from msgspec import Struct

from notifier.errors import ConfigurationError
from notifier.relayspec import Tls

FORM = "HOST:PORT, with 0.0.0.0 or [::] as the host for all addresses"
PARAMETERS = ("tls", "certificate", "key")


class ListenAddress(Struct, frozen=True, kw_only=True):
    """One address, and the TLS that is offered there. The files are in PEM."""

    host: str
    port: int  # 0: a free one
    tls: Tls = Tls.NONE
    certificate: str = ""  # with the chain
    key: str = ""  # empty: it is in the file of the certificate

    def context(self) -> ssl.SSLContext | None:
        """The TLS context; None: there is no TLS. Raises ConfigurationError."""
        if self.tls is Tls.NONE:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key or None, password=lambda: b"")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "no certificate with its key, in PEM"
            files = f"{self.certificate} {self.key}".strip()
            raise ConfigurationError(f"{_place(self)}: {files}: {why}") from None
        return context


def read_addresses(text: str) -> tuple[ListenAddress, ...]:
    """Addresses, separated by commas. Raises ValueError with one line for each fault."""
    found, faults = [], []
    for each in text.split(","):
        try:
            found.append(_address(each.strip()))
        except ValueError as error:
            faults.append(f"{each.strip()!r}: {error}")
    places = [(each.host, each.port) for each in found if each.port]
    faults += [f"{h}:{p} stands there twice" for h, p in set(places) if places.count((h, p)) > 1]
    if faults:
        raise ValueError("\n".join(faults))
    return tuple(found)


def write_addresses(addresses: tuple[ListenAddress, ...]) -> str:
    return ",".join(map(_written, addresses))


def _address(text: str) -> ListenAddress:
    place, mark, query = text.partition("?")
    host, colon, port = place.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address needs brackets; write {FORM}")
    if not colon or not host or any(c in host for c in "[]@/ \t") or not host.isprintable():
        raise ValueError(f"write {FORM}")
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise ValueError("the port must be a number from 0 to 65535; 0 takes a free one")
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if unknown := sorted(given.keys() - set(PARAMETERS)):
        raise ValueError(
            f"there is no parameter {unknown[0]!r}; the parameters are {', '.join(PARAMETERS)}"
        )
    if len(given) < len(pairs) or (mark and not pairs) or not all(given.values()):
        raise ValueError("after the ?, write name=value pairs joined by &, each name once")
    tls = given.get("tls", "none")
    if tls not in list(Tls):
        raise ValueError(f"tls must be one of {', '.join(Tls)}")
    if tls != Tls.NONE and "certificate" not in given:
        raise ValueError("with tls, write certificate=FILE, and key=FILE if the key is apart")
    if tls == Tls.NONE and given.keys() - {"tls"}:
        raise ValueError("certificate and key need tls=starttls or tls=implicit")
    return ListenAddress(
        host=host,
        port=int(port),
        tls=Tls(tls),
        certificate=given.get("certificate", ""),
        key=given.get("key", ""),
    )


def _place(address: ListenAddress) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _written(address: ListenAddress) -> str:
    if address.tls is Tls.NONE:
        return _place(address)
    pairs = {"tls": address.tls, "certificate": address.certificate, "key": address.key}
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in pairs.items() if value)
    return f"{_place(address)}?{query}"
