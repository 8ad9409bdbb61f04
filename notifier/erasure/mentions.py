"""
Finds an address in a text, even if it is encoded: percent-encoded, quoted-printable, base64, in
HTML or JSON, in UTF-16.
"""

import base64
import binascii
import contextlib
import html
import quopri
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from notifier.domains import domain_to_unicode

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LINE_BREAKS = b"\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ESCAPED = re.compile(rb"\\u([0-9a-f]{4})|\\x([0-7][0-9a-f])", re.IGNORECASE)
SHORT = 1000  # letters of base64
DEPTH = 2  # encodings within one another

# What makes it a part of another address: joann@example.org, ann@example.org.uk. An escape, as
# JSON has it, stands between words.
_GOES_BEFORE = r"(?:(?<![\w.+-])|(?<=\\[bfnrt]))"
_GOES_AFTER = r"(?!\w|\.+\w|-[\w-]*\.\w)"

WINDOW = 1024 * 1024  # octets that are searched at a time, so that other threads get their turn
OVERLAP = 2048  # of two windows: more than any address takes, in any encoding
LONGEST_LINE = 4096  # a window ends with a line, unless that is longer


class Mentions:
    """Finds one address in texts, in any case of its letters."""

    def __init__(self, address: str, national: str = "") -> None:
        """`national`: of a number, as it stands before the `@` of a carrier's gateway."""
        spellings = [*_spellings(address), *([f"{national}@"] if national else ())]
        self._spellings = spellings
        if address.startswith("+") and "@" not in address:
            before, after = r"(?<!\d)", r"(?!\d)"
        else:
            before, after = _GOES_BEFORE, _GOES_AFTER
        any_of_them = "|".join(map(re.escape, spellings))
        self._whole = re.compile(f"{before}(?:{any_of_them}){after}")
        self._written = re.compile(self._whole.pattern, re.IGNORECASE)
        needles = [each.encode() for each in spellings]
        self._needles = needles if all(map(bytes.isascii, needles)) else [b""]
        # A shorter run of base64 cannot hold the address, and most words are shorter.
        self._base64 = re.compile(rb"[A-Za-z0-9+/_-]{%d,}" % (min(map(len, needles)) * 4 // 3))

    def within(self, data: bytes | str) -> bool:
        """Whether the address stands in it, in any of the usual encodings."""
        octets = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        return any(self._within(each, DEPTH) for each in _windows(octets))

    def near(self, name: str) -> bool:
        """Whether the address stands in a caller's name of something: `hello-ann@example.org`."""
        small = name.lower()
        return any(each in small for each in self._spellings) or self.within(name)

    def replaced(self, text: str, by: str) -> str:
        """The text with something else in place of the address, where it is not encoded."""
        return self._written.sub(by, text)

    def _within(self, data: bytes, depth: int) -> bool:
        if self._plain(data):
            return True
        return depth > 0 and any(self._within(each, depth - 1) for each in self._decoded(data))

    def _plain(self, data: bytes) -> bool:
        small = data.lower()
        if not any(needle in small for needle in self._needles):
            return False
        return self._whole.search(data.decode("utf-8", "replace").lower()) is not None

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        yield from _decoded(data)
        # Lines together. Where a run goes on from a word before it, its first octet is not known;
        # a long one is a part of a mail, and begins where its line does.
        in_lines = b"\n" in data
        together = _BLANK_LINE.sub(b" ", data).translate(None, _LINE_BREAKS)
        for found in self._base64.finditer(together):
            run = found[0].translate(_URL_SAFE)
            for start in range(4) if len(run) < SHORT or not in_lines else (0,):
                # A single letter at the end is no octet; others may lack their padding.
                usable = run[start : len(run) - ((len(run) - start) % 4 == 1)]
                with contextlib.suppress(binascii.Error):
                    yield base64.b64decode(usable + b"==")


def _spellings(address: str) -> list[str]:
    """The address with its domain as A-labels and as people read it; the number without its `+`."""
    if address.startswith("+") and "@" not in address:
        return [address.removeprefix("+")]
    local, _, domain = address.rpartition("@")
    return list(dict.fromkeys((address, f"{local}@{domain_to_unicode(domain)}")))


def _windows(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = _line_end(data, start + WINDOW)
        yield data[start : _line_end(data, end + OVERLAP)]
        start = end


def _line_end(data: bytes, place: int) -> int:
    """The end of the line in which this place is."""
    found = data.find(b"\n", place, place + LONGEST_LINE)
    return min(place, len(data)) if found < 0 else found + 1


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
        yield _ESCAPED.sub(_letter, data)


def _letter(escape: re.Match[bytes]) -> bytes:
    return chr(int(escape[1] or escape[2], 16)).encode("utf-8", "surrogatepass")
