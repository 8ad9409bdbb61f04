"""
What a caught mail says. Any bytes can be read: what is broken is shown as far as it can be,
never raised.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from email import message_from_bytes, policy
from email.message import Message
from email.parser import BytesParser
from email.utils import format_datetime
from functools import partial
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")

# The standard library takes quadratic time over long headers, and over parts within parts
# within parts. What exceeds these limits is shown as it came.
LONGEST_PARSED_HEADER = 4000  # characters
MOST_CONTAINERS = 50
# Codecs that are no charset of text, or that take quadratic time over what they are given.
REFUSED_CHARSETS = frozenset(
    {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}
)
UNNAMED = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\Z")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What we put on top: Return-Path, each Delivered-To, and our own Received to end it.
_TRACE = re.compile(
    rb"Return-Path: <([^\r\n]*)>\r\n((?:Delivered-To: [^\r\n]*\r\n)*)Received: [^\r\n]*\r\n"
)


class _Policy(policy.EmailPolicy):
    """The default one, within limits."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        if len(value) > LONGEST_PARSED_HEADER:
            return value[:LONGEST_PARSED_HEADER]
        return str(super().header_fetch_parse(name, value))


POLICY = _Policy()


class CaughtAttachment(Struct, frozen=True, kw_only=True):
    """One attachment, by its number in the mail."""

    number: int
    name: str
    type: str
    size: int  # octets
    content_id: str = ""  # what `cid:` links in the HTML name it by; RFC 2392


class Caught(Struct, frozen=True, kw_only=True):
    """A mail that reached the mailbox."""

    id: str
    at: datetime
    sender: str  # of the envelope, as the recipients are
    recipients: tuple[str, ...]
    subject: str
    size: int  # octets, without what we put on top
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[CaughtAttachment, ...]


class Part(Struct, frozen=True):
    """An attachment with what is in it."""

    about: CaughtAttachment
    content: bytes


def stamped(
    source: bytes, *, id: str, at: datetime, sender: str, recipients: Sequence[str], client: str
) -> bytes:
    """The mail with its envelope on top, as a last relay writes it. RFC 5321, section 4.4."""
    lines = [
        f"Return-Path: <{_line(sender)}>",
        *(f"Delivered-To: {_line(recipient)}" for recipient in recipients),
        f"Received: from {_line(client)} by localhost with ESMTP id {id}; {format_datetime(at)}",
        "",
    ]
    return "\r\n".join(lines).encode() + source


def unstamped(kept: bytes) -> tuple[str, tuple[str, ...], bytes]:
    """Sender, recipients and the mail as it came. The opposite of `stamped`."""
    found = _TRACE.match(kept)
    if found is None:
        return "", (), kept
    recipients = found[2].decode("utf-8", "replace").split("\r\n")[:-1]
    return (
        found[1].decode("utf-8", "replace"),
        tuple(line.removeprefix("Delivered-To: ") for line in recipients),
        kept[found.end() :],
    )


def read(kept: bytes, *, id: str, at: datetime) -> Caught:
    """What a kept mail says."""
    sender, recipients, source = unstamped(kept)
    apart = _taken_apart(source)
    subjects = [value for name, value in apart.headers if name.lower() == "subject"]
    return Caught(
        id=id,
        at=at,
        sender=sender,
        recipients=recipients,
        subject=subjects[0] if subjects else "",
        size=len(source),
        text=apart.text,
        html=apart.html,
        headers=apart.headers,
        attachments=tuple(part.about for part in apart.parts),
    )


def attachment(kept: bytes, number: int) -> Part | None:
    """One attachment of a kept mail."""
    parts = _taken_apart(unstamped(kept)[2]).parts
    return parts[number] if 0 <= number < len(parts) else None


class _Apart(Struct, frozen=True):
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    parts: list[Part]


def _taken_apart(source: bytes) -> _Apart:
    message = _or(None, partial(_parsed, source))
    if message is None:
        return _Apart((), source.decode("utf-8", "replace"), "", [])
    text: str | None = None
    html: str | None = None
    parts: list[Part] = []
    for leaf in _leaves(message):
        kind = _kind(leaf)
        if text is None and kind != "text/html" and _is_text(leaf, kind):
            text = _text(leaf)
        elif html is None and kind == "text/html" and _is_text(leaf, kind):
            html = _text(leaf)
        else:
            parts.append(_part(leaf, kind, len(parts)))
    return _Apart(tuple(_headers(message)), text or "", html or "", parts)


def _parsed(source: bytes) -> Message:
    lowered = source.lower()
    containers = lowered.count(b"multipart/") + lowered.count(b"message/")
    if containers > MOST_CONTAINERS:
        return BytesParser(policy=POLICY).parsebytes(source, headersonly=True)
    return message_from_bytes(source, policy=POLICY)


def _or(otherwise: T, ask: Callable[[], T]) -> T:
    """
    The answer, or something else where there is none: on broken mail the standard library
    raises whatever comes, IndexError, LookupError and RecursionError among them.
    """
    try:
        return ask()
    except Exception:  # noqa: BLE001  see above
        return otherwise


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that have content, in order. A mail within the mail is one."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        if part.is_multipart() and not _kind(part).startswith("message/"):
            inner = part.get_payload()
            assert isinstance(inner, list)  # noqa: S101  what is_multipart says
            waiting.extend(each for each in reversed(inner) if isinstance(each, Message))
        else:
            yield part


def _kind(part: Message) -> str:
    kind = _or("text/plain", part.get_content_type)
    return kind if _MEDIA_TYPE.match(kind) else UNNAMED


def _is_text(part: Message, kind: str) -> bool:
    """Whether it is to be shown, rather than offered as a file."""
    if not kind.startswith(("text/", "multipart/")):  # a multipart in which no part was found
        return False
    return _or(None, part.get_content_disposition) != "attachment" and not _name(part)


def _name(part: Message) -> str:
    """The file's name, without a way to anywhere."""
    name = _or(None, part.get_filename) or ""
    return _line(re.split(r"[/\\]", name)[-1])[:255].strip(". ")


def _part(part: Message, kind: str, number: int) -> Part:
    content = _content(part)
    about = CaughtAttachment(
        number=number,
        name=_name(part) or f"part-{number}",
        type=kind,
        size=len(content),
        content_id=_line(_or("", lambda: str(part["content-id"] or ""))).strip().strip("<>"),
    )
    return Part(about, content)


def _content(part: Message) -> bytes:
    if part.is_multipart():
        return _or(b"", part.as_bytes)
    content = _or(None, lambda: part.get_payload(decode=True))
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    content = _content(part)
    charset = _or(None, part.get_content_charset) or "utf-8"
    if charset in REFUSED_CHARSETS:
        charset = "utf-8"
    readable = content.decode("utf-8", "replace")
    text = _or(readable, lambda: content.decode(charset, "replace"))
    return _whole(text).replace("\r\n", "\n")


def _headers(message: Message) -> Iterator[tuple[str, str]]:
    for name, value in message.raw_items():
        shown = str(value)
        if len(shown) <= LONGEST_PARSED_HEADER:
            shown = _or(shown, partial(POLICY.header_fetch_parse, name, value))
        yield _line(name), _line(shown)


def _whole(text: str) -> str:
    """Without half characters, which neither JSON nor UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", _whole(text))
