"""
Read a caught mail. Any bytes can be read: a broken mail is shown as far as possible, and nothing is
raised.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.message import Message
from email.utils import format_datetime
from functools import partial

from msgspec import Struct

from notifier.capture.parts import LONGEST_PARSED_HEADER, POLICY, Part, or_else, parts_of
from notifier.characters import CONTROL

# Codecs that are not charsets, or that take quadratic time.
REFUSED_CHARSETS = frozenset(
    {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}
)
LONGEST_TEXT = 1_000_000  # characters that are shown of a text or of HTML; the source has all
GIST = 200  # characters of the text in a list
MOST_LISTED = 50  # recipients in a list, as many as a message of ours has

# The lines that this mailbox puts in front: Return-Path, each Delivered-To, and one Received.
_TRACE = re.compile(
    rb"Return-Path: <([^\r\n]*)>\r\n((?:Delivered-To: [^\r\n]*\r\n)*)Received: [^\r\n]*\r\n"
)


class CaughtAttachment(Struct, frozen=True, kw_only=True):
    """One attachment, by its number in the mail."""

    number: int
    name: str
    type: str
    size: int  # octets
    content_id: str = ""  # what `cid:` links in the HTML name it by; RFC 2392


class Caught(Struct, frozen=True, kw_only=True):
    """A mail in the mailbox."""

    id: str
    at: datetime
    sender: str  # of the envelope, as the recipients are
    recipients: tuple[str, ...]
    subject: str
    size: int  # octets, without the lines in front
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[CaughtAttachment, ...]


class Summary(Struct, frozen=True, kw_only=True):
    """A mail as a list shows it."""

    id: str
    at: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    size: int  # octets
    gist: str  # how its text begins, on one line
    files: int  # attachments


class File(Struct, frozen=True):
    """An attachment with its content."""

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


def _envelope(kept: bytes) -> tuple[str, tuple[str, ...], int]:
    """Sender, recipients, and where the mail begins."""
    found = _TRACE.match(kept)
    if found is None:
        return "", (), 0
    recipients = found[2].decode("utf-8", "replace").split("\r\n")[:-1]
    return (
        found[1].decode("utf-8", "replace"),
        tuple(line.removeprefix("Delivered-To: ") for line in recipients),
        found.end(),
    )


class OpenedMail:
    """A kept mail whose parts were found. Each is decoded when it is asked for."""

    def __init__(self, kept: bytes) -> None:
        self.sender, self.recipients, start = _envelope(kept)
        self.size = len(kept) - start  # octets, without the lines in front
        self._header, parts = parts_of(kept, start)
        self._text: Part | None = None
        self._html: Part | None = None
        self._files: list[Part] = []
        for part in parts:
            if self._text is None and part.kind != "text/html" and _is_text(part):
                self._text = part
            elif self._html is None and part.kind == "text/html" and _is_text(part):
                self._html = part
            else:
                self._files.append(part)

    @property
    def subject(self) -> str:
        return next((text for name, text in self.headers() if name.lower() == "subject"), "")

    @property
    def text(self) -> str:
        return _text(self._text)

    @property
    def html(self) -> str:
        return _text(self._html)

    def headers(self) -> Iterator[tuple[str, str]]:
        for name, value in self._header.raw_items():
            shown = str(value)
            if len(shown) <= LONGEST_PARSED_HEADER:
                shown = or_else(shown, partial(POLICY.header_fetch_parse, name, value))
            yield _line(name), _line(shown)

    def attachment(self, number: int) -> File | None:
        if not 0 <= number < len(self._files):
            return None
        content = self._files[number].content()
        return File(_about(self._files[number], number, len(content)), content)

    def pictures(self, kinds: frozenset[str], *, largest: int, most: int) -> Iterator[File]:
        """Attachments of these types that the HTML can name, each decoded once."""
        for number, part in enumerate(self._files):
            fits = part.kind in kinds and part.encoded_size <= 2 * largest
            if not (most and fits and _content_id(part)):
                continue
            file = self.attachment(number)
            if file is not None and 0 < len(file.content) <= largest:
                yield file
                most -= 1

    def caught(self, *, id: str, at: datetime) -> "Caught":
        headers = tuple(self.headers())
        return Caught(
            id=id,
            at=at,
            sender=self.sender,
            recipients=self.recipients,
            subject=next((text for name, text in headers if name.lower() == "subject"), ""),
            size=self.size,
            text=self.text,
            html=self.html,
            headers=headers,
            attachments=tuple(
                _about(part, number, len(part.content())) for number, part in enumerate(self._files)
            ),
        )

    def summary(self, *, id: str, at: datetime) -> Summary:
        return Summary(
            id=id,
            at=at,
            sender=self.sender,
            recipients=self.recipients[:MOST_LISTED],
            subject=self.subject[:998],
            size=self.size,
            gist=" ".join(_text(self._text, most=4 * GIST).split())[:GIST],
            files=len(self._files),
        )

    def mentions(self, word: str) -> bool:
        """Whether the words occur in what the list and the mail's page show, in either case."""
        texts = (self.subject, self.sender, *self.recipients, self.text, self.html)
        return any(word in text.casefold() for text in texts)


def _is_text(part: Part) -> bool:
    """Whether a part is shown as text and not offered as a file."""
    if not part.kind.startswith(("text/", "multipart/")):  # a multipart without a part in it
        return False
    header = part.header
    return or_else(None, header.get_content_disposition) != "attachment" and not _name(header)


def _name(header: Message) -> str:
    """The file's name, without a path."""
    name = or_else(None, header.get_filename) or ""
    return _line(re.split(r"[/\\]", name)[-1])[:255].strip(". ")


def _content_id(part: Part) -> str:
    return _line(or_else("", lambda: str(part.header["content-id"] or ""))).strip().strip("<>")


def _about(part: Part, number: int, size: int) -> CaughtAttachment:
    return CaughtAttachment(
        number=number,
        name=_name(part.header) or f"part-{number}",
        type=part.kind,
        size=size,
        content_id=_content_id(part),
    )


def _text(part: Part | None, *, most: int = LONGEST_TEXT) -> str:
    if part is None:
        return ""
    # Quoted-printable takes three octets for one, and a character has up to four.
    content = part.content(12 * most)[: 4 * most]
    charset = or_else(None, part.header.get_content_charset) or "utf-8"
    if charset in REFUSED_CHARSETS:
        charset = "utf-8"
    readable = content.decode("utf-8", "replace")
    text = or_else(readable, lambda: content.decode(charset, "replace"))
    return _whole(text[:most]).replace("\r\n", "\n")


def _whole(text: str) -> str:
    """The text without lone surrogates, which neither JSON nor UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _line(text: str) -> str:
    return CONTROL.sub(" ", _whole(text))
