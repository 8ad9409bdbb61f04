"""
Write header fields, folded and in ASCII: RFC 5322, section 2.2, and RFC 2047.

Text that is not plain ASCII, or that could be taken for an encoded word, becomes encoded words. So
readers see exactly what the caller wrote.
"""

import re
from binascii import b2a_base64
from collections.abc import Sequence

from notifier.characters import CONTROLS

LINE = 76  # a line with an encoded word on it: RFC 2047, section 2
ADDRESS_COLUMN = len("Reply-To: ")  # the longest name of a field that holds addresses
_WORD_OCTETS = 45  # of UTF-8 in one encoded word: 72 octets when written
_WORD_FRAME = len("=?utf-8?B??=")
_FORBIDDEN = re.compile(rf"[{CONTROLS}\ud800-\udfff]")
_FOLD = re.compile(r"(?<=\S) (?=\S)")


def require_text(text: str) -> None:
    """Raises ValueError if the text cannot be in a header: controls, lone surrogates."""
    if found := _FORBIDDEN.search(text):
        raise ValueError(f"the character U+{ord(found[0]):04X} is not allowed here")


def text_field(name: str, text: str, *, longest: int = 60) -> bytes:
    """
    A field of free text. If a word has more than `longest` octets, the whole text becomes encoded
    words, so that it can be folded. Raises what `require_text` raises.
    """
    if not text.isprintable():
        require_text(text)
    if text.isascii() and "=?" not in text and text.strip(" ") == text:
        if len(name) + len(text) < LINE:
            return f"{name}: {text}\r\n".encode() if text else f"{name}:\r\n".encode()
        words = _FOLD.split(text)
        if max(map(len, words)) <= longest:
            return folded(name, words)
    words_ = encoded_words(text, column=len(name) + 2)
    return b"%b: %b\r\n" % (name.encode(), words_)


def address_field(name: bytes, addresses: Sequence[bytes]) -> bytes:
    """A field of addresses, each as it is written there, all on a line or each on its own."""
    line = b", ".join(addresses)
    if len(addresses) > 1 and len(line) > LINE - ADDRESS_COLUMN:
        line = b",\r\n ".join(addresses)
    return b"%b: %b\r\n" % (name, line)


def folded(name: str, words: Sequence[str]) -> bytes:
    """A field of words, broken between words before a line becomes too long."""
    lines = [f"{name}:"]
    for place, word in enumerate(words):
        if place and len(lines[-1]) + len(word) + 1 > LINE:
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines).encode() + b"\r\n"


def encoded_words(text: str, *, column: int) -> bytes:
    """
    Text as encoded words, each on a line of its own, the first beginning at `column`, which
    is at most 56. They are in base64 alone, which suits phrases as well as free text. No
    character is divided.
    """
    octets = text.encode()
    words: list[bytes] = []
    start = 0
    room = min((LINE - column - _WORD_FRAME) // 4 * 3, _WORD_OCTETS)
    while start < len(octets):
        end = start + room
        while end < len(octets) and octets[end] & 0xC0 == 0x80:
            end -= 1
        words.append(b"=?utf-8?B?%b?=" % b2a_base64(octets[start:end], newline=False))
        start, room = end, _WORD_OCTETS
    return b"\r\n ".join(words)
