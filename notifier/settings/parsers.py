"""Parsers: the text of a setting becomes a value, and a value a text."""

import re
from collections.abc import Callable
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from notifier.characters import CONTROL
from notifier.proxies import Proxy, read_proxy, write_proxy
from notifier.quotas import read_quota
from notifier.relayspec import is_ehlo_name
from notifier.verp import read_return_path

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # in seconds
SIZES = {"": 1, "B": 1}  # in octets
for _power, _letter in enumerate("KMG", start=1):
    SIZES |= {f"{_letter}B": 1000**_power, f"{_letter}iB": 1024**_power}
SHORTEST = 0.001  # seconds
LONGEST = 3650 * 86400.0  # seconds; dates further away cannot be represented

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]{1,15})\s?(B|[KMG]i?B)?")
_WHOLE = re.compile(r"[0-9]{1,15}")
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f:.]+\]?")
_PUBLIC_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


class Parser(Struct, frozen=True):
    """
    A kind of value. `read` raises ValueError, which says what would be right. The text of a secret
    is never repeated, neither in an error nor by `notifier config`.
    """

    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    secret: bool = False

    def text(self, value: Any) -> str:
        """The text of a value; empty for None, a setting that has no value."""
        return "" if value is None else self.write(value)


def whole(least: int, most: int) -> Parser:
    """A whole number within limits."""

    def read(text: str) -> int:
        if _WHOLE.fullmatch(text) and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"{text!r} is not a whole number from {least} to {most}")

    return Parser(read)


def choice(*words: str) -> Parser:
    """One of these words."""

    def read(text: str) -> str:
        if text in words:
            return text
        raise ValueError(f"{text!r} is not one of {', '.join(words)}")

    return Parser(read)


def _read_line(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("it must not contain control characters")
    return text


def _read_host(text: str) -> str:
    if re.search(r"[\s/@\[\]]", _read_line(text)):
        raise ValueError(f"{text!r} is not an address to listen on; write 127.0.0.1, ::1 or a name")
    return text


def _read_hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(_read_name(host.strip()) for host in text.split(","))
    return tuple(dict.fromkeys(hosts))


def _read_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name; write notifier.example.org, without a port")
    return text.lower().rstrip(".")


def read_duration(text: str) -> float:
    """A duration, in seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 500ms, 30s, 5m, 2h or 7d")
    seconds = float(match[1]) * UNITS[match[2] or "s"]
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError(f"{text!r} is out of range; it must be from 1ms to 3650d")
    return seconds


def write_duration(seconds: float) -> str:
    # Days only from a week on: 48h is more usual than 2d.
    for unit in "dhms":
        count, rest = divmod(seconds, UNITS[unit])
        if not rest and count >= (7 if unit == "d" else 1):
            return f"{count:.0f}{unit}"
    if seconds < 1:
        return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms"
    return f"{seconds:.3f}".rstrip("0") + "s"


def _read_schedule(text: str) -> tuple[float, ...]:
    return tuple(read_duration(step.strip()) for step in text.split(","))


def _write_schedule(steps: tuple[float, ...]) -> str:
    return ",".join(map(write_duration, steps))


def _read_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a size; write 15MB, 512KiB or a number of octets")
    return int(match[1]) * SIZES[match[2] or ""]


def _write_size(octets: int) -> str:
    unit = max((unit for unit in SIZES if octets % SIZES[unit] == 0), key=lambda unit: SIZES[unit])
    return f"{octets // SIZES[unit]}{unit}"


def _read_address(text: str) -> str:
    _, address = parseaddr(_read_line(text))
    local, _, domain = address.rpartition("@")
    if not local or not domain or re.search(r"\s", address):
        raise ValueError(f"{text!r} is not an address; write a@example.org or Name <a@example.org>")
    return text


def _read_journal(text: str) -> str:
    if text.startswith("sqlite:") or (text.startswith("postgresql://") and _is_whole(text)):
        return _read_line(text)
    raise ValueError("write sqlite:, sqlite:PATH or postgresql://USER@HOST/DATABASE")


def _is_whole(url: str) -> bool:
    """Whether the URL names a database, and its port, if any, is valid."""
    try:
        parts = urlsplit(url)
        return len(parts.path) > 1 and parts.port != 0
    except ValueError:
        return False


# Parameters of a database's URL that are not secret. The values of all others are struck out.
_NOT_SECRET = frozenset(
    {"host", "port", "user", "database", "dbname", "sslmode", "sslrootcert", "application_name"}
)


def _write_journal(url: str) -> str:
    place, mark, query = url.partition("?")
    scheme, separator, rest = place.partition("://")
    credentials, at, where = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = "&".join(map(_parameter, query.split("&"))) if mark else ""
    return f"{scheme}{separator}{user}{colon and ':***'}{at}{where}{mark}{shown}"


def _parameter(pair: str) -> str:
    name, _, _ = pair.partition("=")
    return pair if name in _NOT_SECRET else f"{name if '=' in pair else ''}=***"


def _read_public_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not _PUBLIC_PATH.fullmatch(path):
        raise ValueError(f"{text!r} is not a path prefix; write /notifier")
    return path


def _read_http_proxy(text: str) -> Proxy:
    if not text.startswith("http://"):
        raise ValueError(
            "write http://user:password@host:port; other kinds of proxy are not supported"
        )
    return read_proxy(text)


def _read_web_address(text: str) -> str:
    if re.fullmatch(r"https?://[^/\s]+\S*", _read_line(text)):
        return text
    raise ValueError("it is not a web address; write https://HOST/PATH")


def _read_ehlo_name(text: str) -> str:
    if is_ehlo_name(text):
        return text
    raise ValueError(
        f"{text!r} is neither a host name (letters, digits, hyphens, dots) nor an address literal; "
        "write mail.example.org or [192.0.2.1]"
    )


def _strike_out(_: str) -> str:
    return "***"


def _read_region(text: str) -> str:
    if len(text) == 2 and text.isascii() and text.isalpha():
        return text.upper()
    raise ValueError(f"{text!r} is not a region; write two letters, such as US")


def _read_regions(text: str) -> tuple[str, ...]:
    return tuple(_read_region(each.strip()) for each in text.split(","))


LINE = Parser(_read_line)
HOST = Parser(_read_host)
HOSTS = Parser(_read_hosts, ",".join)
DURATION = Parser(read_duration, write_duration)
SCHEDULE = Parser(_read_schedule, _write_schedule)
SIZE = Parser(_read_size, _write_size)
ADDRESS = Parser(_read_address)
EHLO_NAME = Parser(_read_ehlo_name)
JOURNAL = Parser(_read_journal, _write_journal, secret=True)
PUBLIC_PATH = Parser(_read_public_path)
REGIONS = Parser(_read_regions, ",".join)
REGION = Parser(_read_region)
SECRET = Parser(_read_line, _strike_out, secret=True)
RETURN_PATH = Parser(read_return_path)
WEB_ADDRESS = Parser(_read_web_address, _strike_out, secret=True)
HTTP_PROXY = Parser(_read_http_proxy, write_proxy, secret=True)
QUOTA = Parser(read_quota)
PASSWORD = Parser(_read_line, _strike_out, secret=True)
