"""
How the network counts the characters of a text, and where a long text may be cut.

A text travels as GSM-7 if every character is in that alphabet, else as UCS-2. A text that does not
fit in one segment is sent in several, each shortened by the header that joins them.
"""

import itertools
import re
import unicodedata
from enum import StrEnum

from msgspec import Struct

from notifier.errors import Fault, InvalidMessage
from notifier.messages import Long, Sms

# 3GPP TS 23.038, section 6.2.1. Escape (0x1B) is no character of a text.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"  # section 6.2.1.1; each is an escape and a septet
_COSTS = dict.fromkeys(_BASIC, 1) | dict.fromkeys(_EXTENSION, 2)  # in septets
_NOT_GSM = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")

SMALLEST = 20  # units; no limit is made smaller than this by what a gateway adds

# Replacements that readers do not notice: typography, unusual spaces, marks without width.
_PLAIN = str.maketrans(
    dict.fromkeys("‘’‚‛′`´ʼ", "'")  # noqa: RUF001  these are the characters meant
    | dict.fromkeys("“”„‟″«»", '"')
    | dict.fromkeys("‹", "<")  # noqa: RUF001 - look-alikes are the point
    | dict.fromkeys("›", ">")  # noqa: RUF001 - look-alikes are the point
    | dict.fromkeys("‐‑‒–—―−", "-")  # noqa: RUF001 - look-alikes are the point
    | dict.fromkeys("•·", "-")
    | {"…": "...", "⁄": "/"}  # noqa: RUF001 - look-alikes are the point
    | dict.fromkeys(map(chr, (0x09, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F)), " ")
    | {"\u3000": " ", "\u2028": "\n", "\u2029": "\n", "\x85": "\n"}
    | dict.fromkeys(map(chr, (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F))), "")
    | dict.fromkeys(map(chr, (0x2060, 0xFEFF, 0xFE0E, 0xFE0F)), "")
)
_JOINER = "\u200d"


class Encoding(StrEnum):
    """The encoding in which a text travels."""

    GSM7 = "gsm-7"
    UCS2 = "ucs-2"


LIMITS = {Encoding.GSM7: (160, 153), Encoding.UCS2: (70, 67)}  # units: alone, joined


class Segments(Struct, frozen=True):
    """What a text costs. A unit is a septet in GSM-7, and 16 bits in UCS-2."""

    encoding: Encoding
    segments: int
    units: int


class Limit(Struct, frozen=True):
    """How many units go into one text of either encoding."""

    gsm: int = 160
    ucs: int = 70

    @classmethod
    def within(cls, limit: int, *, spare: int = 0) -> "Limit":
        """The limit of a gateway that takes `limit` septets and adds `spare` characters."""
        return cls(max(limit - spare, SMALLEST), max(limit * 7 // 16 - spare, SMALLEST))


def text_of(sms: Sms) -> str:
    """The text as it is counted and sent: lines end in LF, and it is downgraded if asked."""
    text = (sms.text or "").replace("\r\n", "\n").replace("\r", "\n")
    return downgrade(text) if sms.downgrade else text


def count(text: str) -> Segments:
    """Count as the network does: no escape and no surrogate pair is ever cut in two."""
    encoding = Encoding.UCS2 if _NOT_GSM.search(text) else Encoding.GSM7
    cost = _COSTS.__getitem__ if encoding is Encoding.GSM7 else _code_units
    alone, joined = LIMITS[encoding]
    units = sum(map(cost, text))
    if units <= alone:
        return Segments(encoding, 1, units)
    segments, left = 1, joined
    for each in map(cost, text):
        if each > left:
            segments, left = segments + 1, joined
        left -= each
    return Segments(encoding, segments, units)


def split(text: str, *, long: Long = Long.SPLIT, limit: Limit = Limit()) -> list[str]:  # noqa: B008  it is a frozen value
    """
    The texts to send. Each fits in one text, and several are numbered, `(2/3)`. Without these marks
    they are the original text, character for character. A text is cut behind a space if one is
    near. Raises InvalidMessage if it is too long and must not be cut.
    """
    if long is Long.SEND or _reach(text, 0, limit) == len(text):
        return [text]
    if long is Long.REFUSE:
        raise InvalidMessage(Fault("/text", _too_long(text, limit)))
    for digits in itertools.count(1):
        mark = len(" (/)") + 2 * digits
        chunks = _chunks(text, Limit(limit.gsm - mark, limit.ucs - mark))
        if len(str(len(chunks))) <= digits:
            break
    return [_marked(chunk, place, len(chunks)) for place, chunk in enumerate(chunks, start=1)]


def downgrade(text: str) -> str:
    """
    The text with plain quotes, dashes and spaces in place of typographic ones, if that makes it
    GSM-7. Otherwise the text is unchanged.
    """
    plain = unicodedata.normalize("NFC", text).translate(_PLAIN)
    return text if _NOT_GSM.search(plain) else plain


def _code_units(char: str) -> int:
    """In UTF-16, which is what networks send as UCS-2."""
    return 2 if char > "\uffff" else 1


def _too_long(text: str, limit: Limit) -> str:
    counted = count(text)
    most = limit.gsm if counted.encoding is Encoding.GSM7 else limit.ucs
    return (
        f"needs {counted.units} units in {counted.encoding.upper()}, and one text takes {most}; "
        'shorten it, or ask for "long": "split"'
    )


def _marked(chunk: str, place: int, places: int) -> str:
    gap = "" if chunk[-1].isspace() else " "
    return f"{chunk}{gap}({place}/{places})"


def _chunks(text: str, limit: Limit) -> list[str]:
    chunks, start = [], 0
    while start < len(text):
        end = _cut(text, start, _reach(text, start, limit))
        chunks.append(text[start:end])
        start = end
    return chunks


def _reach(text: str, start: int, limit: Limit) -> int:
    """The end of the longest piece from `start` that fits in one text, in either encoding."""
    septets, code_units, gsm = 0, 0, True
    for end in range(start, len(text)):
        cost = _COSTS.get(text[end])
        gsm = gsm and cost is not None
        septets += cost or 0
        code_units += _code_units(text[end])
        if code_units > limit.ucs and not (gsm and septets <= limit.gsm):
            return end
    return len(text)


def _cut(text: str, start: int, reach: int) -> int:
    """The best place for a cut, no later than `reach`."""
    if reach == len(text) or text[reach].isspace():
        return reach
    half = start + (reach - start) // 2
    for end in range(reach, half, -1):
        if text[end - 1].isspace():
            return end
    for end in range(reach, start, -1):
        if not _clings(text[end - 1], text[end]):
            return end
    return reach


def _clings(before: str, after: str) -> bool:
    """
    Whether the second character belongs to the first: a combining mark, or part of an emoji. It
    does not know every case.
    """
    return (
        before == _JOINER
        or after == _JOINER
        or unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # a skin tone
        or (before == "\r" and after == "\n")
    )
