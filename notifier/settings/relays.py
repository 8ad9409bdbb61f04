"""Relay URLs: `smtp+starttls://user:password@host:587?rate=60/min`."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from notifier.relayspec import Application, RelaySpec, Tls, is_ehlo_name, is_loopback
from notifier.settings.parsers import Parser

SCHEMES = {
    "smtp": (Tls.NONE, 25),
    "smtp+starttls": (Tls.STARTTLS, 587),
    "smtps": (Tls.IMPLICIT, 465),
}
# The built-in mailbox: nobody but us knows its address, and not before it is open.
CAPTURE = RelaySpec(name="capture", host="", port=0)
PARAMETERS = ("name", "connections", "rate", "messages_per_connection", "ca", "ehlo_name", "oauth")
GRAPH_HOST = "graph.microsoft.com"
GRAPH_CONNECTIONS = 4  # an application may ask so much of a mailbox at a time
GRAPH_PARAMETERS = ("name", "connections", "rate", "mailbox", "oauth", "base")
PERIODS = {"s": 1, "min": 60, "h": 3600, "d": 86400}  # in seconds

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_HOST = re.compile(r"[^\s\x00-\x20/@?#%\"'<>]{1,253}")
_APPLICATION = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,252})/([A-Za-z0-9-]{1,64})/?")
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)/(s|min|h|d)")


def read_relays(text: str) -> tuple[RelaySpec, ...]:
    """
    Relays in failover order; none where the mailbox is the only one. Raises ValueError with
    one line for each fault. It names a relay by its place, because what looks like a host or
    a parameter may be a part of a password that was not percent-encoded.
    """
    specs, faults = [], []
    for place, url in enumerate(text.split(","), start=1):
        try:
            specs.append(read_relay(url.strip()))
        except ValueError as error:
            faults.append(f"relay {place}: {error}")
    faults += [
        f"two relays are called {name!r}; give them different names with ?name="
        for name, times in Counter(spec.name for spec in specs).items()
        if times > 1
    ]
    if faults:
        raise ValueError("\n".join(faults))
    return () if specs == [CAPTURE] else tuple(specs)


def read_relay(url: str) -> RelaySpec:
    """Raises ValueError; its text repeats nothing of the URL that may be secret."""
    if url == "capture:":
        return CAPTURE
    if url.startswith("graph://"):
        return _read_graph(url.removeprefix("graph://"))
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(
            "it must begin with smtp://, smtp+starttls://, smtps:// or graph://, or be capture:"
            " (a comma within a URL is written %2C)"
        )
    if "@" in re.sub(r"^[^/?#]*", "", rest):
        raise ValueError("in the user and the password, write @ / ? # as %40 %2F %3F %23")
    parts = _split(url)
    tls, port = SCHEMES[scheme]
    username, password = _credentials(parts)
    host, port = _host(parts), _port(parts, port)
    return _with_parameters(
        parts,
        RelaySpec(
            name=host if port == SCHEMES[scheme][1] else f"{host}:{port}",
            host=host,
            port=port,
            tls=tls,
            username=username,
            password=password,
        ),
    )


def _read_graph(rest: str) -> RelaySpec:
    """Microsoft Graph: `graph://TENANT/CLIENT?mailbox=a@example.org&oauth=NAME`."""
    place, _, query = rest.partition("?")
    found = _APPLICATION.fullmatch(place)
    if found is None:
        raise ValueError("write graph://TENANT/CLIENT?mailbox=a@example.org&oauth=NAME")
    given = _pairs(query.replace("+", "%2B"), GRAPH_PARAMETERS)  # it stands for itself
    if missing := [name for name in ("mailbox", "oauth") if name not in given]:
        raise ValueError(f"{missing[0]}= is missing")
    return RelaySpec(
        name=_name(given.get("name", GRAPH_HOST)),
        host=GRAPH_HOST,
        port=443,
        tls=Tls.IMPLICIT,
        connections=_count(given, "connections", GRAPH_CONNECTIONS),
        rate=_rate(given["rate"]) if "rate" in given else None,
        oauth=_section(given["oauth"]),
        graph=Application(found[1], found[2]),
        mailbox=_mailbox(given["mailbox"]),
        base=_base(given["base"]) if "base" in given else None,
    )


def _mailbox(text: str) -> str:
    if re.fullmatch(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,253}", text):
        return text
    raise ValueError("mailbox= takes the address of a mailbox, a@example.org")


def _base(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and is_loopback(parts.hostname or ""):
        return text.rstrip("/")
    raise ValueError("base= is for tests: it takes http://127.0.0.1:PORT, a loopback address")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("it is not a URL; write smtp://host:port") from None
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("only ?name=value&name=value may follow host and port")
    return parts


def _host(parts: SplitResult) -> str:
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise ValueError("it names no host; write smtp://host:port")
    return parts.hostname


def _port(parts: SplitResult, default: int) -> int:
    try:
        port = default if parts.port is None else parts.port
    except ValueError:  # whose text would repeat it
        port = 0
    if not port:
        raise ValueError("the port must be a number from 1 to 65535")
    return port


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    try:
        username = unquote(parts.username or "", errors="strict") or None
        password = unquote(parts.password or "", errors="strict") or None
    except UnicodeDecodeError:
        raise ValueError("user and password must be UTF-8, percent-encoded") from None
    if password and not username:
        raise ValueError("it has a password but no user; write user:password@host")
    if "\0" in (username or "") + (password or ""):
        raise ValueError("user and password must not contain NUL")
    return username, password


def _pairs(query: str, known: Sequence[str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, strict_parsing=True) if query else []
    except ValueError:
        raise ValueError("after the ?, write name=value pairs joined by &") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("a parameter is given twice")
    if unknown := [name for name in given if name not in known]:
        _refuse_unknown(unknown[0], known)
    return given


def _with_parameters(parts: SplitResult, spec: RelaySpec) -> RelaySpec:
    given = _pairs(parts.query, PARAMETERS)
    return RelaySpec(
        name=_name(given.get("name", spec.name)),
        host=spec.host,
        port=spec.port,
        tls=spec.tls,
        username=spec.username,
        password=spec.password,
        connections=_count(given, "connections", spec.connections),
        rate=_rate(given["rate"]) if "rate" in given else None,
        messages_per_connection=_count(
            given, "messages_per_connection", spec.messages_per_connection
        ),
        ca=_ca(given["ca"], spec.tls) if "ca" in given else None,
        ehlo_name=_ehlo_name(given["ehlo_name"]) if "ehlo_name" in given else None,
        oauth=_oauth(given["oauth"], spec) if "oauth" in given else None,
    )


def _refuse_unknown(name: str, known: Sequence[str]) -> NoReturn:
    called = f" {name!r}" if re.fullmatch(r"[a-z_]{1,40}", name) else ""
    raise ValueError(f"unknown parameter{called}; there are {', '.join(known)}")


def _name(text: str) -> str:
    if _NAME.fullmatch(text):
        return text
    raise ValueError("name= takes 1 to 64 letters, digits, or _ . : -")


def _count(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if re.fullmatch(r"[0-9]{1,6}", text) and int(text) >= 1:
        return int(text)
    raise ValueError(f"{name}= takes a whole number of at least 1")


def _rate(text: str) -> float:
    match = _RATE.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError("rate= takes 5/s, 60/min, 1000/h or 2000/d")
    return float(match[1]) / PERIODS[match[2]]


def _ca(text: str, tls: Tls) -> str:
    if tls is Tls.NONE:
        raise ValueError("ca= needs TLS; write smtp+starttls:// or smtps://")
    if not Path(text).is_file():
        raise ValueError(f"ca= names a file that does not exist: {text}")
    return text


def _ehlo_name(text: str) -> str:
    if is_ehlo_name(text):
        return text
    raise ValueError("ehlo_name= takes a host name or an address literal like [192.0.2.1]")


def _section(text: str) -> str:
    if _NAME.fullmatch(text):
        return text
    raise ValueError("oauth= takes the name of a section of the file NOTIFIER_OAUTH")


def _oauth(text: str, spec: RelaySpec) -> str:
    text = _section(text)
    if spec.username is None or spec.password is not None:
        raise ValueError(
            "with oauth= write the mailbox as the user, and no password: noreply%40example.org@host"
        )
    if spec.tls is Tls.NONE and not is_loopback(spec.host):
        raise ValueError(
            "oauth= needs TLS, as the token would go in clear; write smtp+starttls:// or smtps://"
        )
    return text


def write_relays(specs: tuple[RelaySpec, ...]) -> str:
    """URLs again, passwords struck out."""
    return ",".join(map(_write_relay, specs)) or "capture:"


def _write_relay(spec: RelaySpec) -> str:
    if spec == CAPTURE:
        return "capture:"
    if spec.graph is not None:
        return _write_graph(spec, spec.graph)
    scheme = next(scheme for scheme, (tls, _) in SCHEMES.items() if tls is spec.tls)
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    user = quote(spec.username, safe="") if spec.username else ""
    user += ":***" if spec.password else ""
    query = f"name={spec.name}&connections={spec.connections}"
    query += f"&messages_per_connection={spec.messages_per_connection}"
    query += f"&rate={spec.rate:g}/s" if spec.rate else ""
    query += f"&ca={quote(spec.ca)}" if spec.ca else ""
    query += f"&ehlo_name={quote(spec.ehlo_name)}" if spec.ehlo_name else ""
    query += f"&oauth={spec.oauth}" if spec.oauth else ""
    return f"{scheme}://{user}{'@' if user else ''}{host}:{spec.port}?{query}"


def _write_graph(spec: RelaySpec, application: Application) -> str:
    query = f"name={spec.name}&connections={spec.connections}"
    query += f"&rate={spec.rate:g}/s" if spec.rate else ""
    query += f"&mailbox={quote(spec.mailbox or '', safe='@')}&oauth={spec.oauth}"
    query += f"&base={spec.base}" if spec.base else ""
    return f"graph://{application.tenant}/{application.client}?{query}"


RELAYS = Parser(read_relays, write_relays, secret=True)
