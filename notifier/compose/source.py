"""
Mails that callers hand in as a whole, RFC 5322: find the fields of the header, and make of it what
is sent. What is not named here goes out as it came, octet by octet.
"""

import contextlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from notifier.attempts import Envelope
from notifier.characters import CONTROLS
from notifier.compose.addresses import Address, address
from notifier.compose.custom_headers import objection_to_command
from notifier.compose.mail import Composed
from notifier.dates import date
from notifier.errors import Fault, InvalidMessage
from notifier.messages import MOST_SOURCE_RECIPIENTS, HeaderField, Source

LINE_OCTETS = 998  # without its CRLF: RFC 5322, section 2.1.1
HEADER_OCTETS = 256 * 1024
HIDDEN = frozenset({"bcc", "resent-bcc"})  # recipients whom the others must not see
OURS = "x-notifier-"  # fields that say how to treat the mail
_LONGEST = 998  # characters of an author, and of the subject that lists show

_FIELD = re.compile(rb"([!-9;-~]{1,998})[ \t]*:")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_COMMENT = re.compile(r"\([^()\\]*\)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
# A quoted text, a comment, a bracket, an end, or what stands between them.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)|<[^<>]*>|[,;:]|[^",;:(<]+')
_CONTROL = re.compile(rf"[{CONTROLS}\ud800-\udfff]")
_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[BbQq]\?[^?\s]*\?=")


class UnsafeSource(InvalidMessage):
    """The source has lines that servers read differently, so that one could hide another mail."""


def require_lines(content: bytes) -> None:
    """
    Raises UnsafeSource for a CR or LF that stands alone, NUL, or a line that is too long: RFC
    5321, section 2.3.8. Servers that end the content at other places than we do let a second mail
    in behind it (SMTP smuggling).
    """
    ends = content.count(b"\r\n")
    if content.count(b"\n") != ends:
        raise _unsafe("a line ends with LF alone; each must end with CRLF")
    if content.count(b"\r") != ends:
        raise _unsafe("a CR stands alone; each must be followed by LF")
    if b"\0" in content:
        raise _unsafe("it contains NUL")
    place, longest = 0, LINE_OCTETS + 2
    while len(content) - place > LINE_OCTETS:
        # The last end within one longest line: so few lines are looked at one by one.
        end = content.rfind(b"\n", place, place + longest)
        if end < 0:
            raise _unsafe(f"a line has more than {LINE_OCTETS} octets; encode the content")
        place = end + 1


def _unsafe(what: str) -> UnsafeSource:
    return UnsafeSource(Fault("/source", what))


def split(content: bytes) -> tuple[list[HeaderField], bytes]:
    """
    The fields of the header, each as it is written, and the rest, which begins with the empty line.
    Raises InvalidMessage.
    """
    require_lines(content)
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    end = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n") + 2
    if end == 1:  # there is no body
        header, body = content, b"\r\n"
    else:
        header, body = content[:end], content[end:]
    if len(header) > HEADER_OCTETS:
        raise InvalidMessage(Fault("/source", f"the header has more than {HEADER_OCTETS} octets"))
    begins: list[tuple[str, int]] = []  # of each field: its name, and where it begins
    place = 0
    for number, line in enumerate(header.splitlines(keepends=True), 1):
        if found := _FIELD.match(line):
            begins.append((found[1].decode().lower(), place))
        elif line[:1] not in (b" ", b"\t") or not begins:
            raise InvalidMessage(
                Fault("/source", f"line {number} of the header is not a field, `Name: value`")
            )
        place += len(line)
    ends = [begin for _, begin in begins[1:]] + [len(header)]
    spans = zip(begins, ends if begins else (), strict=True)
    return [(name, header[begin:end]) for (name, begin), end in spans], body


def values(fields: Iterable[HeaderField], name: str) -> list[str]:
    """The value of each field of this name, on one line."""
    return [text_of(field) for kind, field in fields if kind == name]


def text_of(field: bytes) -> str:
    value = _FOLD.sub(b"", field.partition(b":")[2])
    return value.decode(errors="replace").strip(" \t\r\n")


def compose_source(
    source: Source, *, id: str, sender: str | None, at: datetime, restricted: bool = False
) -> Composed:
    """
    The mail as it is sent. What is missing of From, Date and Message-ID is added: `sender` is the
    author if neither the header nor the envelope names one. The fields of a `restricted` caller may
    not be commands to providers. Raises InvalidMessage with a fault for each wrong field.
    """
    fields = [each for each in source.fields if each[0] not in HIDDEN]
    faults = [
        Fault("/source", objection)
        for name in dict.fromkeys([name for name, _ in fields])
        if (objection := objection_to_command(name, restricted=restricted))
    ]
    recipients = _recipients(source, faults)
    author, added = _author(source, fields, sender, faults)
    shown = _sender_field(fields, faults)
    envelope_sender = _envelope_sender(source, author, faults)
    if faults or author is None or envelope_sender is None:
        raise InvalidMessage(*faults)
    kinds = {name for name, _ in fields}
    if "date" not in kinds:
        added += f"Date: {date(int(at.timestamp()))}\r\n".encode()
    if "message-id" not in kinds:
        added += f"Message-ID: <{id}@{envelope_sender.domain}>\r\n".encode()
    header = b"".join([field for _, field in fields]) + added
    content = header + source.body
    addressed = (envelope_sender, author, *recipients)
    envelope = Envelope(
        envelope_sender.spec,
        tuple(dict.fromkeys([each.spec for each in recipients])),
        any(each.smtputf8 for each in addressed) or (source.smtputf8 and not header.isascii()),
        eight_bit=not content.isascii(),
    )
    subject = next(iter(values(fields, "subject")), "")
    return Composed(
        envelope,
        content,
        decoded(subject),
        authors=tuple(dict.fromkeys([each.spec for each in (author, *shown)])),
    )


def _recipients(source: Source, faults: list[Fault]) -> Sequence[Address]:
    found: list[Address] = []
    for place, text in enumerate(source.to):
        try:
            found.append(address(text))
        except ValueError as error:
            faults.append(Fault(f"/to/{place}", str(error)))
    if not source.to:
        faults.append(Fault("/to", "a recipient is needed"))
    elif len(source.to) > MOST_SOURCE_RECIPIENTS:
        count = len(source.to)
        faults.append(Fault("/to", f"1 to {MOST_SOURCE_RECIPIENTS} recipients, not {count}"))
    return found


def _author(
    source: Source, fields: Sequence[HeaderField], sender: str | None, faults: list[Fault]
) -> tuple[Address | None, bytes]:
    """Whom readers see as the author, and the field that says so if it has to be added."""
    written = values(fields, "from")
    given = written[0] if written else source.sender or sender
    if len(written) > 1:
        faults.append(Fault("/from", "the header has more than one From"))
    if given is None:
        needed = "the header has no From, and NOTIFIER_DEFAULT_FROM is not set"
        faults.append(Fault("/from", needed))
        return None, b""
    try:
        author = one_address(given)
    except ValueError as error:
        faults.append(Fault("/from", str(error)))
        return None, b""
    return author, b"" if written else b"From: %b\r\n" % author.header


def _sender_field(fields: Sequence[HeaderField], faults: list[Fault]) -> list[Address]:
    """Of the Sender field, which some programs show beside the author."""
    found = []
    for written in values(fields, "sender"):
        try:
            found.append(one_address(written))
        except ValueError as error:
            faults.append(Fault("/sender", str(error)))
    return found


def _envelope_sender(source: Source, author: Address | None, faults: list[Fault]) -> Address | None:
    if not source.sender:
        return author
    try:
        return address(source.sender)
    except ValueError as error:
        faults.append(Fault("/sender", str(error)))
    return None


def one_address(text: str) -> Address:
    """
    The one address of a From field, which is the one that every reader sees: comments are left
    out, and no name may look like another address. Raises ValueError.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST} characters")
    bare = " ".join(_COMMENT.sub(" ", text).split()) if "(" in text else text
    found = address(bare)
    named = _QUOTED.sub("", bare.rpartition("<")[0])
    if "@" in named and named.strip() != found.spec:
        raise ValueError("a name with an @ must be in double quotes")
    return found


def addresses(text: str) -> list[str]:
    """
    The addresses of a To field and the like, each as it is written; those in groups, too: RFC 5322,
    section 3.4. Raises ValueError.
    """
    found: list[str] = []
    current: list[str] = []
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(f"a {text[place]} is not closed")
        place = token.end()
        match token[0]:
            case "," | ";":
                found.append("".join(current).strip())
                current = []
            case ":":  # what stands before it names a group
                current = []
            case other if other.startswith("("):
                current.append(" ")
            case other:
                current.append(other)
    found.append("".join(current).strip())
    return [each for each in found if each]


def decoded(text: str) -> str:
    """A field's text as people read it: RFC 2047. For lists and logs, so a long one is cut."""
    text = text[:_LONGEST]
    if _ENCODED_WORD.search(text):
        with contextlib.suppress(HeaderParseError, LookupError, ValueError):
            text = str(make_header(decode_header(text)))
    return _CONTROL.sub(" ", text)
