"""
Relays: as URLs, `smtp+starttls://user:password@host:587?rate=60/min`, and as tables of the TOML
file, `[[relay]]` with `url = "..."` and the parameters as keys.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec.structs import replace

from notifier.relayspec import Application, RelaySpec, Tls
from notifier.settings.parsers import Parser
from notifier.settings.relay_parameters import (
    BY_NAME,
    GRAPH,
    SMTP,
    objections,
    read_parameters,
    write_parameters,
)

SCHEMES = {
    "smtp": (Tls.NONE, 25),
    "smtp+starttls": (Tls.STARTTLS, 587),
    "smtps": (Tls.IMPLICIT, 465),
}
# The built-in mailbox. Its address is known only inside, once it is open.
CAPTURE = RelaySpec(name="capture", host="", port=0)
GRAPH_HOST = "graph.microsoft.com"
GRAPH_CONNECTIONS = 4  # the requests that an application may make of a mailbox at a time

_APPLICATION = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,252})/([A-Za-z0-9-]{1,64})/?")
_HOST = re.compile(r"[^\s\x00-\x20/@?#%\"'<>]{1,253}")


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
            faults += [f"relay {place}: {fault}" for fault in str(error).split("\n")]
    return _all(specs, faults, "with ?name=")


def read_tables(tables: Sequence[Mapping[str, Any]], file: Path) -> tuple[RelaySpec, ...]:
    """The same from the tables of a file. Faults name the table by its number and name."""
    specs, faults = [], []
    for place, table in enumerate(tables, start=1):
        try:
            specs.append(_read_table(table))
        except ValueError as error:
            name = table.get("name")
            called = f" ({name})" if isinstance(name, str) and name.isprintable() else ""
            where = f"[[relay]] {place}{called} in {file}"
            faults += [f"{where}: {fault}" for fault in str(error).split("\n")]
    return _all(specs, faults, "by the key name")


def read_relay(url: str, more: Sequence[tuple[str, str]] = ()) -> RelaySpec:
    """
    A relay of this URL and of more parameters. Raises ValueError with one line for each fault;
    it repeats nothing of the URL that may be secret.
    """
    if url == "capture:":
        if more:
            raise ValueError("capture: takes no parameters")
        return CAPTURE
    if url.startswith("graph://"):
        return _read_graph(url.removeprefix("graph://"), more)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(
            "it must begin with smtp://, smtp+starttls://, smtps:// or graph://, or be capture:"
            " (a comma within a URL is written %2C)"
        )
    if _at_sign_out_of_place(rest):
        raise ValueError("in the user and the password, write @ / ? # as %40 %2F %3F %23")
    parts = _split(url)
    given = [*_pairs(parts.query), *more]
    tls, usual_port = SCHEMES[scheme]
    username, password = _credentials(parts)
    host, port = _host(parts), _port(parts, usual_port)
    name = host if port == usual_port else f"{host}:{port}"
    return _with_parameters(
        RelaySpec(name=name, host=host, port=port, tls=tls, username=username, password=password),
        given,
    )


def _read_graph(rest: str, more: Sequence[tuple[str, str]]) -> RelaySpec:
    """Microsoft Graph: `graph://TENANT/CLIENT?mailbox=a@example.org&oauth=NAME`."""
    place, _, query = rest.partition("?")
    found = _APPLICATION.fullmatch(place)
    if found is None:
        raise ValueError("write graph://TENANT/CLIENT?mailbox=a@example.org&oauth=NAME")
    given = [*_pairs(query), *more]
    faults = [] if any(name == "oauth" for name, _ in given) else ["oauth= is missing"]
    spec = RelaySpec(
        name=GRAPH_HOST,
        host=GRAPH_HOST,
        port=443,
        tls=Tls.IMPLICIT,
        connections=GRAPH_CONNECTIONS,
        graph=Application(found[1], found[2]),
    )
    return _with_parameters(spec, given, faults, kind=GRAPH)


def _with_parameters(
    spec: RelaySpec, given: Sequence[tuple[str, str]], faults: Sequence[str] = (), kind: str = SMTP
) -> RelaySpec:
    found = list(faults)
    spec = replace(spec, **read_parameters(given, found, kind=kind))
    found += objections((name for name, _ in given), spec)
    if found:
        raise ValueError("\n".join(found))
    return spec


def _all(specs: list[RelaySpec], faults: list[str], how: str) -> tuple[RelaySpec, ...]:
    faults += [
        f"two relays are called {name!r}; give them different names {how}"
        for name, times in Counter(spec.name for spec in specs).items()
        if times > 1
    ]
    if faults:
        raise ValueError("\n".join(faults))
    return () if specs == [CAPTURE] else tuple(specs)


def _read_table(table: Mapping[str, Any]) -> RelaySpec:
    faults: list[str] = []
    given: list[tuple[str, str]] = []
    for key, value in table.items():
        if key == "url":
            continue
        repeated = key in BY_NAME and BY_NAME[key].repeated
        values = value if isinstance(value, list) and repeated else [value]
        texts = [str(each) for each in values if _is_text(each)]
        if len(texts) < len(values):
            faults.append(f"{key} must be text or a number{', or a list of them' * repeated}")
        else:
            given += [(key, text) for text in texts]
    url = table.get("url")
    if not isinstance(url, str):
        faults.append('url is missing; write url = "smtp://host"')
        read_parameters(given, faults)
    else:
        try:
            spec = read_relay(url.strip(), given)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("\n".join(faults))
    return spec


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _at_sign_out_of_place(rest: str) -> bool:
    """Whether an @ stands where it seems to end a password that was not percent-encoded."""
    after_host = re.sub(r"^[^/?#]*", "", rest)
    place, _, query = after_host.partition("?")
    names = (pair.partition("=") for pair in query.split("&"))
    return "@" in place or any(
        "@" in name or ("@" in value and not (name in BY_NAME and BY_NAME[name].addresses))
        for name, _, value in names
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("it is not a URL; write smtp://host:port") from None
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("only ?name=value&name=value may follow host and port")
    return parts


def _pairs(query: str) -> list[tuple[str, str]]:
    """Not as in a form: a + stands for itself, as in an address."""
    pairs = []
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        try:
            pairs.append((unquote(name, errors="strict"), unquote(value, errors="strict")))
        except UnicodeDecodeError:
            raise ValueError("parameters must be UTF-8, percent-encoded") from None
        if not equals or not value:
            raise ValueError("after the ?, write name=value pairs joined by &")
    return pairs


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


def write_relays(specs: tuple[RelaySpec, ...]) -> str:
    """The relays as URLs, with passwords struck out."""
    return ",".join(map(_write_relay, specs)) or "capture:"


def _write_relay(spec: RelaySpec) -> str:
    if spec == CAPTURE:
        return "capture:"
    query = write_parameters(spec)
    if spec.graph is not None:
        return f"graph://{spec.graph.tenant}/{spec.graph.client}?{query}"
    scheme = next(scheme for scheme, (tls, _) in SCHEMES.items() if tls is spec.tls)
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    user = quote(spec.username, safe="") if spec.username else ""
    user += ":***" if spec.password else ""
    return f"{scheme}://{user}{'@' if user else ''}{host}:{spec.port}?{query}"


RELAYS = Parser(read_relays, write_relays, secret=True)
