"""
Finds an address in a text, also where it is encoded: percent-encoded, quoted-printable, base64, as
HTML or JSON has it, in UTF-16.
"""

import base64
import binascii
import contextlib
import html
import quopri
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LINE_BREAK = re.compile(rb"[\r\n]+")
SHORT = 1000  # a longer run of base64 is a part of a mail, and begins where its line does
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ESCAPED = re.compile(rb"\\u00([0-7][0-9a-f])|\\x([0-7][0-9a-f])", re.IGNORECASE)
DEPTH = 2  # encodings within one another


class Mentions:
    """Knows whether one address stands in a text. It is the same for each spelling of the case."""

    def __init__(self, address: str) -> None:
        self._needles = [each.encode() for each in _spellings(address)]
        self._digits = address.startswith("+") and "@" not in address

    def within(self, data: bytes | str) -> bool:
        """Whether the address stands in it, in any of the usual encodings."""
        octets = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        return self._within(octets, DEPTH)

    def _within(self, data: bytes, depth: int) -> bool:
        if self._plain(data):
            return True
        return depth > 0 and any(self._within(each, depth - 1) for each in _decoded(data))

    def _plain(self, data: bytes) -> bool:
        small = data.lower()
        if not small.isascii():
            small = data.decode("utf-8", "replace").lower().encode()
        if not self._digits:
            return any(needle in small for needle in self._needles)
        return any(self._whole_number(needle, small) for needle in self._needles)

    @staticmethod
    def _whole_number(needle: bytes, data: bytes) -> bool:
        """A number that is not the beginning or the end of a longer one."""
        place = data.find(needle)
        while place >= 0:
            end = place + len(needle)
            before, after = data[place - 1 : place] if place else b"", data[end : end + 1]
            if not before.isdigit() and not after.isdigit():
                return True
            place = data.find(needle, place + 1)
        return False


def _spellings(address: str) -> list[str]:
    """The address with its domain as A-labels and as people read it; the number without its `+`."""
    if address.startswith("+") and "@" not in address:
        return [address.removeprefix("+")]
    local, _, domain = address.rpartition("@")
    found = [address]
    if "xn--" in domain:
        with contextlib.suppress(UnicodeError):
            found.append(f"{local}@{domain.encode().decode('idna')}")
    return found


def _decoded(data: bytes) -> Iterator[bytes]:
    """The data as it may be meant, where it holds signs of an encoding."""
    if b"\0" in data:
        yield data.replace(b"\0", b"")  # UTF-16 and UTF-32 of ASCII
    if b"%" in data:
        yield unquote_to_bytes(data)
    if b"=" in data:
        yield quopri.decodestring(data)
    if b"&#" in data:
        yield html.unescape(data.decode("utf-8", "replace")).encode()
    if b"\\" in data:
        yield _ESCAPED.sub(lambda found: bytes((int(found[1] or found[2], 16),)), data)
    yield from _of_base64(data)


def _of_base64(data: bytes) -> Iterator[bytes]:
    """What runs of base64 hold. Where a run begins within another word, its first octets tell."""
    paragraphs = _LINE_BREAK.sub(b"", _BLANK_LINE.sub(b" ", data))
    for found in _BASE64.finditer(paragraphs):
        run = found[0].translate(_URL_SAFE)
        for start in range(4) if len(run) < SHORT else (0,):
            usable = run[start : start + (len(run) - start) // 4 * 4]
            with contextlib.suppress(binascii.Error):
                yield base64.b64decode(usable)
