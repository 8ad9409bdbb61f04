"""
Write header fields and MIME parts: RFC 5322, section 2.2; RFC 2045 to 2049, 2183, 2231, 2387.

All is 7-bit, its line ends CRLF. In a header, text that is not plain ASCII, or that could be taken
for an encoded word, becomes encoded words; so readers see exactly what the caller wrote. A boundary
begins with `=_`, which occurs in no part: neither base64 nor quoted-printable can have it, and text
that has it is encoded.
"""

import re
import unicodedata
from binascii import b2a_base64, b2a_qp
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import TypeAlias
from urllib.parse import quote

import msgspec

from notifier.characters import CONTROLS
from notifier.messages import Attachment

# A part in pieces, which are joined once: a large file is not copied at each level.
Part: TypeAlias = list[bytes]

LINE = 76  # a line with an encoded word on it: RFC 2047, section 2
ADDRESS_COLUMN = len("Reply-To: ")  # the longest name of a field that holds addresses
_WORD_OCTETS = 45  # of UTF-8 in one encoded word: 72 octets when written
_WORD_FRAME = len("=?utf-8?B??=")
_FORBIDDEN = re.compile(rf"[{CONTROLS}\ud800-\udfff]")
_FOLD = re.compile(r"(?<=\S) (?=\S)")
_LINE = 78  # RFC 5322, section 2.1.1
_COLUMNS = 76  # of base64: RFC 2045, section 6.8
_LINES = Struct(f"{_COLUMNS}s" * 1024)
# Octets that make so many lines. They are encoded at a time: other threads get a turn between them.
_CHUNK = _LINES.size // 4 * 3
_PORTION = 256 * 1024  # of text, likewise
# What b2a_qp makes of some lines that end in a space: 77 columns, where 76 are allowed.
_ONE_TOO_MANY = re.compile(rb"^([^\r\n]{74})(=20|=09)(?=\r\n)", re.MULTILINE)
_LONG_LINE = re.compile(rb"^[^\n]{%d}" % (_LINE + 2), re.MULTILINE)
_VISIBLE = bytes((*range(0x20, 0x7F), 0x09, 0x0D, 0x0A))
_ASCII = bytes(range(0x80))
_FALLBACK_CHARACTERS = 60
_PIECE_OCTETS = 60  # of a percent-encoded file name on one line
_METHOD = re.compile(rb"^METHOD:([A-Z-]{1,40})\r?$", re.MULTILINE | re.IGNORECASE)
_CALENDAR_HEAD = 16 * 1024  # octets in which a calendar says what it is for
_CONTENT_ID = re.compile(r"<?[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,255}>?")
_UNSAFE = re.compile(r"[^A-Za-z0-9._ -]")
_QUOTABLE = re.compile(r'[^"\\\x00-\x1f\x7f-\U0010ffff]{1,60}')


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


def text_part(kind: bytes, text: str) -> Part:
    """
    A part of text, readable in the source if possible: UTF-8 with CRLF line ends, ending with one,
    without a byte order mark. Raises ValueError.
    """
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise ValueError("it must not contain the character NUL")
    try:
        octets = text.encode()  # first: a text with one rare character takes four octets for each
    except UnicodeEncodeError:
        raise ValueError("it must not contain lone surrogates") from None
    if b"\r" in octets:
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not octets.endswith(b"\n"):
        octets += b"\n"
    octets = octets.replace(b"\n", b"\r\n")
    if (
        not octets.translate(None, _VISIBLE)
        and b"=_" not in octets
        and not (_LONG_LINE.search(octets) if len(octets) <= _PORTION else _has_long_line(octets))
    ):
        encoding, body = b"7bit", [octets]
    elif len(octets.translate(None, _ASCII)) * 6 > len(octets):
        encoding, body = b"base64", base64_lines(octets)
    else:
        encoding, body = b"quoted-printable", [quoted_printable(octets)]
    head = b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n"
    return [head % (kind, encoding), *body]


def multipart(kind: bytes, boundary: bytes, parts: Iterable[Part]) -> Part:
    """Several parts as one. Each part ends with its own CRLF; the delimiter adds another."""
    whole = [b'Content-Type: multipart/%b;\r\n boundary="%b"\r\n' % (kind, boundary)]
    delimiter = b"\r\n--%b\r\n" % boundary
    for part in parts:
        whole += (delimiter, *part)
    whole.append(b"\r\n--%b--\r\n" % boundary)
    return whole


def base64_lines(octets: bytes) -> Part:
    """Octets in base64, in complete lines."""
    pieces: Part = []
    for start in range(0, len(octets), _CHUNK):
        # In quotes, as JSON has it; `binascii` takes twice as long.
        quoted = msgspec.json.encode(octets[start : start + _CHUNK])
        lines: Sequence[bytes]
        if len(quoted) > _LINES.size:
            lines = _LINES.unpack_from(quoted, 1)
        else:
            encoded = quoted[1:-1]
            lines = [encoded[at : at + _COLUMNS] for at in range(0, len(encoded), _COLUMNS)]
        pieces += (b"\r\n".join(lines), b"\r\n")
    return pieces


def quoted_printable(octets: bytes) -> bytes:
    """Octets whose lines end in CRLF in quoted-printable, RFC 2045, section 6.7."""
    pieces: list[bytes] = []
    start = 0
    while start < len(octets):
        end = octets.rfind(b"\n", start, start + _PORTION) + 1
        if end:
            pieces.append(b2a_qp(octets[start:end]))
        else:  # within a line: it goes on behind a soft line break
            end = min(start + _PORTION, len(octets))
            if octets[end - 1 : end + 1] == b"\r\n":
                end -= 1
            # By the line end in front it knows which ones to use; in place of the hyphen behind
            # there is room for the `=`.
            pieces += [b2a_qp(b"\r\n%b-" % octets[start:end])[2:-1], b"=\r\n"]
        start = end
    return b"".join(_ONE_TOO_MANY.sub(rb"\1=\r\n\2", piece) for piece in pieces)


def _has_long_line(octets: bytes) -> bool:
    return any(
        _LONG_LINE.search(octets, start, start + _PORTION + _LINE + 2)
        for start in range(0, len(octets), _PORTION)
    )


def attachment_part(attachment: Attachment, *, inline: bool) -> Part:
    """A part for a file. Its fields have been checked before."""
    kind, parameters = content_type(attachment.content_type)
    if kind.startswith("text/") and "charset" not in parameters:
        parameters |= _charset(attachment.content)
    if kind == "text/calendar" and "method" not in parameters:
        parameters |= _calendar_method(attachment.content)
    filename = attachment.filename.strip()  # readers do so too
    parameters.setdefault("name", _fallback(filename))
    lines = [
        f"Content-Type: {kind}",
        *(f' {name}="{value}"' for name, value in parameters.items()),
    ]
    described = ";\r\n".join(lines)
    how = "inline" if inline else "attachment"
    disposition = ";\r\n".join((f"Content-Disposition: {how}", *_filename(filename)))
    id = f"Content-ID: <{content_id(attachment)}>\r\n" if attachment.content_id else ""
    head = f"{described}\r\nContent-Transfer-Encoding: base64\r\n{disposition}\r\n{id}\r\n"
    return [head.encode(), *base64_lines(attachment.content)]


def content_id(attachment: Attachment) -> str:
    """The id that HTML refers to by `cid:`. RFC 2392."""
    return (attachment.content_id or "").removeprefix("<").removesuffix(">")


_WORD = r"[A-Za-z0-9!#$&^_.+-]{1,70}"
_TYPE = re.compile(rf"\s*({_WORD}/{_WORD})\s*((?:;.*)?)")
_PARAMETER = re.compile(rf'\s*;\s*({_WORD})=({_WORD}|"[^"\\\x00-\x1f\x7f-\U0010ffff]{{0,70}}")')


def content_type(text: str) -> tuple[str, dict[str, str]]:
    """A media type and its parameters. RFC 2045, section 5.1. Raises ValueError."""
    found = _TYPE.fullmatch(text)
    if found is None:
        raise ValueError("a content type looks like `application/pdf`")
    kind = found[1].lower()
    if kind.startswith(("multipart/", "message/")):
        raise ValueError(
            f"{kind} cannot be attached: it must not be encoded (RFC 2046); "
            "attach an email as application/octet-stream, named `.eml`"
        )
    parameters: dict[str, str] = {}
    rest, end = found[2].rstrip(), 0
    while parameter := _PARAMETER.match(rest, end):
        name = parameter[1].lower()
        if name in parameters:
            raise ValueError(f"the parameter {name} is given twice")
        parameters[name] = parameter[2].strip('"')
        end = parameter.end()
    if rest[end:].strip(" ;"):
        raise ValueError("write its parameters as `; name=value`, in plain ASCII")
    return kind, parameters


def require_filename(name: str) -> None:
    """Raises ValueError unless it is a plain file name."""
    if "/" in name or "\\" in name:
        raise ValueError("a file name has no `/` or `\\` in it")
    if name.strip() in {"", ".", ".."}:
        raise ValueError("this is not a file name; write it like report.pdf")


def require_content_id(id: str) -> None:
    """Raises ValueError if HTML could not refer to it. RFC 2392."""
    if not _CONTENT_ID.fullmatch(id):
        raise ValueError("a content id is ASCII without spaces, such as `logo` or `logo@shop`")


def _filename(name: str) -> list[str]:
    """The parameter for a file's name: plain, or in the pieces of RFC 2231, section 4.1."""
    if _QUOTABLE.fullmatch(name) and "=?" not in name:
        return [f' filename="{name}"']
    pieces = ["utf-8''"]
    for character in name:
        # Whole characters: not every reader joins the pieces before it decodes them.
        octets = quote(character, safe="")
        if len(pieces[-1]) + len(octets) > _PIECE_OCTETS:
            pieces.append("")
        pieces[-1] += octets
    if len(pieces) == 1:
        return [f" filename*={pieces[0]}"]
    return [f" filename*{place}*={piece}" for place, piece in enumerate(pieces)]


def _fallback(name: str) -> str:
    """A file's name in ASCII, for readers that know nothing of RFC 2231."""
    if _QUOTABLE.fullmatch(name) and "=?" not in name:
        return name
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    stem, dot, suffix = _UNSAFE.sub("_", plain).rpartition(".")
    if len(suffix) > 10 or not dot:
        stem, dot, suffix = f"{stem}{dot}{suffix}", "", ""
    return f"{stem[: _FALLBACK_CHARACTERS - 11]}{dot}{suffix}"


def _charset(octets: bytes) -> dict[str, str]:
    """
    The charset that a text part must name if it is not ASCII, if it is known. RFC 2046, section
    4.1.2.
    """
    if octets.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return {"charset": "utf-16"}
    try:
        octets.decode()
    except UnicodeDecodeError:
        return {}
    return {"charset": "utf-8"}


def _calendar_method(octets: bytes) -> dict[str, str]:
    """The method of an invitation, which its type must repeat. RFC 6047, section 2.4."""
    method = _METHOD.search(octets[:_CALENDAR_HEAD])
    return {"method": method[1].decode().upper()} if method else {}
