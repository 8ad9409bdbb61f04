"""
The parameters of a relay, one row each: `rate=60/min` in its URL, `rate = "60/min"` in its table
of the TOML file. Each is a field of RelaySpec of the same name.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec import Struct

from notifier.address_rules import read_rule
from notifier.deliveries import Priority
from notifier.proxies import FORM, read_proxy, write_proxy
from notifier.relayspec import Pipelining, RelaySpec, Tls, is_ehlo_name, is_loopback
from notifier.verp import read_return_path

SMTP, GRAPH = "smtp", "graph"  # what a relay speaks
PERIODS = {"s": 1, "min": 60, "h": 3600, "d": 86400}  # in seconds

_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)/(s|min|h|d)")
_COUNT = re.compile(r"[0-9]{1,6}")


def _when(right: Callable[[str], object]) -> Callable[[str], str]:
    """Reads a text that is right as it is. Raises ValueError for another one."""

    def read(text: str) -> str:
        if not right(text):
            raise ValueError
        return text

    return read


def _matching(pattern: str) -> Callable[[str], str]:
    """Reads a text that matches this pattern as a whole."""
    return _when(re.compile(pattern).fullmatch)


class Parameter(Struct, frozen=True, kw_only=True):
    """
    One parameter. `read` raises ValueError, with a text, or without one if `takes` says everything.
    The parameter must not be secret, because faults may repeat its text.
    """

    name: str
    read: Callable[[str], Any]
    takes: str  # what it takes, for people: `NAME= takes ...`
    description: str
    write: Callable[[Any], str] = str
    repeated: bool = False  # may be given several times, or as a list; its field is a tuple
    addresses: bool = False  # its values hold an `@`, which needs no escape in a URL
    kinds: tuple[str, ...] = (SMTP, GRAPH)  # the relays that have it
    required: bool = False
    # Why the parameter does not fit this relay; empty: it does.
    objection: Callable[[RelaySpec], str] = lambda _: ""


def _read_count(text: str) -> int:
    if not _COUNT.fullmatch(text) or not int(text):
        raise ValueError
    return int(text)


def _read_rate(text: str) -> float:
    match = _RATE.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError
    return float(match[1]) / PERIODS[match[2]]


def _read_ca(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError(f"names a file that does not exist: {text}")
    return text


def _read_pipelining(text: str) -> Pipelining:
    if text not in [*Pipelining]:
        raise ValueError
    return Pipelining(text)


def _read_base(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not is_loopback(parts.hostname or ""):
        raise ValueError("is for tests: it must be http://127.0.0.1:PORT, a loopback address")
    return text.rstrip("/")


def _logs_in_safely(spec: RelaySpec) -> str:
    if spec.graph is not None:
        return ""
    if spec.username is None or spec.password is not None:
        return "needs the mailbox as the user, and no password: noreply%40example.org@host"
    if spec.tls is Tls.NONE and not is_loopback(spec.host):
        return "needs TLS, because the token would go in clear; write smtp+starttls:// or smtps://"
    return ""


def _read_priority(text: str) -> str:
    if text.upper() not in Priority.__members__:
        raise ValueError
    return text.lower()


def _needs_tls(spec: RelaySpec) -> str:
    return "needs TLS; write smtp+starttls:// or smtps://" if spec.tls is Tls.NONE else ""


_NAME = _matching(r"[A-Za-z0-9_.:-]{1,64}")
PARAMETERS = (
    Parameter(
        name="name",
        read=_NAME,
        takes="1 to 64 letters, digits, or _ . : -",
        description="What the relay is called wherever it is shown. Default: its host, and its "
        "port where that is not the usual one.",
    ),
    Parameter(
        name="connections",
        read=_read_count,
        takes="a whole number of at least 1",
        description="Connections at a time, at most. Default: 16.",
    ),
    Parameter(
        name="rate",
        read=_read_rate,
        takes="5/s, 60/min, 1000/h or 2000/d",
        description="Messages in a time, at most: `5/s`, `60/min`, `1000/h`, `2000/d`.",
        write=lambda rate: f"{rate:g}/s",
    ),
    Parameter(
        name="messages_per_connection",
        read=_read_count,
        takes="a whole number of at least 1",
        description="Messages over one connection before it is closed. Default: 100.",
        kinds=(SMTP,),
    ),
    Parameter(
        name="ca",
        read=_read_ca,
        takes="a file",
        description="File of certificates to trust instead of the system's.",
        objection=_needs_tls,
        kinds=(SMTP,),
    ),
    Parameter(
        name="ehlo_name",
        read=_when(is_ehlo_name),
        takes="a host name or an address literal like [192.0.2.1]",
        description="As `NOTIFIER_EHLO_NAME`, for this relay.",
        kinds=(SMTP,),
    ),
    Parameter(
        name="return_path",
        read=read_return_path,
        takes="an address",
        description="As `NOTIFIER_RETURN_PATH`, for this relay.",
        addresses=True,
        kinds=(SMTP,),
    ),
    Parameter(
        name="id_header",
        read=_matching(r"X-[A-Za-z0-9-]{1,60}"),
        takes="a header's name that begins with X-",
        description="A header field that mail to this relay gets, with the message's id: "
        "`X-PM-Metadata-notifier` for [Postmark's events](report-sources.md#postmark).",
        kinds=(SMTP,),
    ),
    Parameter(
        name="proxy",
        read=read_proxy,
        takes=FORM,
        description="A proxy to reach the relay by: `http://user:password@host:port` (CONNECT) or "
        "`socks5://host:port`.",
        write=write_proxy,
        addresses=True,
        kinds=(SMTP,),
    ),
    Parameter(
        name="pipelining",
        read=_read_pipelining,
        takes="off, transaction or full",
        description="Commands that are sent together where the relay offers PIPELINING. `off`: "
        "each waits for the reply to the one before. `transaction`: those of one message are sent "
        "together. `full`: also those of the next message, together with the final dot. Default: "
        "`full`.",
        kinds=(SMTP,),
    ),
    Parameter(
        name="mailbox",
        read=_matching(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,253}"),
        takes="the address of a mailbox, a@example.org",
        description="The mailbox that sends.",
        addresses=True,
        kinds=(GRAPH,),
        required=True,
    ),
    Parameter(
        name="oauth",
        read=_NAME,
        takes="the name of a section of the file NOTIFIER_OAUTH",
        description="Log in with a token of this section of the file `NOTIFIER_OAUTH`.",
        objection=_logs_in_safely,
    ),
    Parameter(
        name="senders",
        read=read_rule,
        takes="an address or @domain",
        description="Condition: takes only messages from this address, or `@domain`. The sender "
        "is the `from` that readers see.",
        repeated=True,
        addresses=True,
    ),
    Parameter(
        name="recipients",
        read=read_rule,
        takes="an address or @domain",
        description="Condition: takes only recipients with this address, or of this `@domain`.",
        repeated=True,
        addresses=True,
    ),
    Parameter(
        name="keys",
        read=_matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
        takes="the name of an API key",
        description="Condition: takes only messages that came with the API key of this name.",
        repeated=True,
    ),
    Parameter(
        name="priorities",
        read=_read_priority,
        takes="urgent, normal or bulk",
        description="Condition: takes only messages of this priority: `urgent`, `normal` or "
        "`bulk`.",
        repeated=True,
    ),
    Parameter(
        name="base",
        read=_read_base,
        takes="http://127.0.0.1:PORT",
        description="Another base URL of Microsoft Graph, for tests.",
        kinds=(GRAPH,),
    ),
)
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def read_parameters(
    given: Iterable[tuple[str, str]], faults: list[str], *, kind: str = SMTP
) -> dict[str, Any]:
    """The fields of RelaySpec, by name. Faults are added to `faults`, each with its parameter."""
    texts: dict[str, list[str]] = {}
    for name, text in given:
        texts.setdefault(name, []).append(text)
    known = {each.name: each for each in PARAMETERS if kind in each.kinds}
    values: dict[str, Any] = {}
    for name, some in texts.items():
        if (parameter := known.get(name)) is None:
            faults.append(_unknown(name, known))
        elif len(some) > 1 and not parameter.repeated:
            faults.append(f"{name}= is given twice")
        else:
            read = [value for each in some if (value := _value(parameter, each, faults))]
            if len(read) == len(some):
                values[name] = tuple(dict.fromkeys(read)) if parameter.repeated else read[0]
    faults += [
        f"{each.name}= is missing"
        for each in known.values()
        if each.required and each.name not in texts
    ]
    return values


def objections(names: Iterable[str], spec: RelaySpec) -> list[str]:
    """Why these parameters do not fit this relay."""
    known = [BY_NAME[name] for name in dict.fromkeys(names) if name in BY_NAME]
    return [f"{each.name}= {wrong}" for each in known if (wrong := each.objection(spec))]


def write_parameters(spec: RelaySpec) -> str:
    """The parameters in force at a relay, as the query of its URL."""
    kind = SMTP if spec.graph is None else GRAPH
    pairs = []
    for parameter in PARAMETERS:
        if kind in parameter.kinds and (value := getattr(spec, parameter.name)) is not None:
            texts = map(parameter.write, value if parameter.repeated else (value,))
            pairs += [f"{parameter.name}={quote(each, safe='/@:')}" for each in texts]
    return "&".join(pairs)


def _value(parameter: Parameter, text: str, faults: list[str]) -> Any:
    """The value that is read. None: it cannot be read, and there is a fault."""
    try:
        return parameter.read(text)
    except ValueError as error:
        wrong = str(error) or f"takes {parameter.takes}"
        faults.append(f"{parameter.name}= {wrong}")
        return None


def _unknown(name: str, known: Iterable[str]) -> str:
    """
    The fault of an unknown parameter. It omits a name that may be a part of a password that was not
    percent-encoded.
    """
    called = f" {name!r}" if re.fullmatch(r"[a-z_]{1,40}", name) else ""
    return f"unknown parameter{called}; there are {', '.join(known)}"
