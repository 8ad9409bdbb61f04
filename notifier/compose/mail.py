"""Compose a message: addresses, headers, parts."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from notifier.attempts import Envelope
from notifier.compose.addresses import address
from notifier.compose.custom_headers import custom_field
from notifier.compose.html import CID_URL, content_id_of
from notifier.compose.mime import (
    Part,
    address_field,
    attachment_part,
    content_id,
    content_type,
    multipart,
    require_content_id,
    require_filename,
    require_text,
    text_field,
    text_part,
)
from notifier.compose.plaintext import HTML_CHARACTERS, text_of
from notifier.dates import date
from notifier.errors import Fault, InvalidMessage, pointer_step
from notifier.messages import Attachment, Email

MOST_RECIPIENTS = 50
MOST_ATTACHMENTS = 20
MOST_HEADERS = 20
# What a mail, and a recipient of it, costs whatever it holds, as so many octets.
MAIL_WEIGHT, RECIPIENT_WEIGHT = 4096, 512
HTML_WEIGHT = 20  # times as long as to send it takes to make text of it, where it is all tags

_ALTERNATIVE = b"multipart/alternative"
_GENERATED = b"Auto-Submitted: auto-generated\r\n"  # RFC 3834
# RFC 3834, section 5: to say `no` and to leave it out are the same, and some look for the name.
_NOT_SUBMITTED = re.compile(rb"auto-submitted: no\r\n", re.IGNORECASE)


class Composed(Struct, frozen=True):
    """
    A message ready to be sent: its line ends CRLF, the last line ended. What we compose is 7-bit,
    but for the addresses of an `smtputf8` envelope, which stand in their headers in UTF-8 (RFC
    6532); a source that was handed in is as it came.
    """

    envelope: Envelope
    content: bytes
    subject: str = ""
    warnings: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()  # whom readers see, where that may be others than the sender


def compose(
    email: Email, *, id: str, sender: str | None, at: datetime, restricted: bool = False
) -> Composed:
    """
    The message as it is sent on every attempt: its Message-ID, Date and boundaries follow from `id`
    and `at`.

    `sender` is the author if the message names none. The headers of a `restricted` caller may not
    be commands to providers. Raises InvalidMessage with a fault for each wrong field.
    """
    faults: list[Fault] = []
    addressed = _addressed(email, sender, faults)
    subject = b""
    try:
        subject = text_field("Subject", email.subject)
    except ValueError as error:
        faults.append(Fault("/subject", str(error)))
    custom = _custom(email.headers, restricted, faults) if email.headers else _GENERATED
    text, html = _bodies(email, faults)
    if email.attachments:
        faults.extend(_attachment_faults(email.attachments))
    if faults or addressed is None:
        raise InvalidMessage(*faults)
    envelope, fields = addressed
    boundary = id.encode()
    warnings: tuple[str, ...] = ()
    if html is None:  # text alone stays alone, because an HTML made from it would add nothing
        parts = text or []
    else:
        parts, warnings = _with_html(email, text, html, boundary)
    if email.attachments:
        parts, unused = _with_files(email, parts, html=html is not None, boundary=boundary)
        warnings = (*warnings, *unused)
    domain = envelope.sender.rpartition("@")[2]
    content = b"".join(
        (
            fields,
            subject,
            f"Date: {date(int(at.timestamp()))}\r\nMessage-ID: <{id}@{domain}>\r\n".encode(),
            custom,
            b"MIME-Version: 1.0\r\n",
            *parts,
        )
    )
    return Composed(envelope, content, email.subject, warnings)


def weight(email: Email) -> int:
    """An estimate of the cost of composing a message, in octets to go through."""
    size = len(email.text or "") + len(email.html or "")
    if email.headers:
        size += sum(map(len, email.headers.values()))
    if email.html and not email.text:
        size += min(len(email.html), HTML_CHARACTERS) * HTML_WEIGHT
    if email.attachments:
        size += sum(len(each.content) for each in email.attachments)
    recipients = len(email.to) + len(email.cc) + len(email.bcc)
    return MAIL_WEIGHT + recipients * RECIPIENT_WEIGHT + size


def _addressed(
    email: Email, sender: str | None, faults: list[Fault]
) -> tuple[Envelope, bytes] | None:
    """The envelope, and the header fields with addresses. None: some are wrong."""
    given = sender if email.sender is None else email.sender
    count = len(email.to) + len(email.cc) + len(email.bcc)
    try:
        author = address(given or "")
        to, cc = [*map(address, email.to)], [*map(address, email.cc)]
        recipients = [*to, *cc, *map(address, email.bcc)]
        reply_to = [] if email.reply_to is None else [address(email.reply_to)]
    except ValueError:
        author = None
    if author is None or not 0 < count <= MOST_RECIPIENTS:
        faults.extend(_address_faults(email, given))
        return None
    envelope = Envelope(
        author.spec,
        tuple(dict.fromkeys([each.spec for each in recipients])),
        True in [each.smtputf8 for each in (author, *reply_to, *recipients)],
    )
    fields = b"From: %b\r\n" % author.header + address_field(b"To", [each.header for each in to])
    if cc:
        fields += address_field(b"Cc", [each.header for each in cc])
    if reply_to:
        fields += b"Reply-To: %b\r\n" % reply_to[0].header
    return envelope, fields


def _address_faults(email: Email, sender: str | None) -> Iterator[Fault]:
    """What is wrong with the addresses, field by field."""
    if sender is None:
        yield Fault("/from", "a sender is needed, because NOTIFIER_DEFAULT_FROM is not set")
    else:
        whose = "" if email.sender is not None else f"NOTIFIER_DEFAULT_FROM, {sender!r}: "
        yield from _faults_of({"/from": sender}, whose)
    for name, given in (("to", email.to), ("cc", email.cc), ("bcc", email.bcc)):
        yield from _faults_of({f"/{name}/{place}": text for place, text in enumerate(given)})
    if email.reply_to is not None:
        yield from _faults_of({"/reply_to": email.reply_to})
    count = len(email.to) + len(email.cc) + len(email.bcc)
    if not 0 < count <= MOST_RECIPIENTS:
        yield Fault("/to", f"1 to {MOST_RECIPIENTS} recipients in all, not {count}")


def _faults_of(given: dict[str, str], whose: str = "") -> Iterator[Fault]:
    """The faults of addresses, by where they stand."""
    for pointer, text in given.items():
        try:
            address(text)
        except ValueError as error:
            yield Fault(pointer, f"{whose}{error}")


def _custom(headers: dict[str, str], restricted: bool, faults: list[Fault]) -> bytes:
    fields: list[bytes] = []
    seen: set[str] = set()
    if len(headers) > MOST_HEADERS:
        faults.append(Fault("/headers", f"at most {MOST_HEADERS} headers are allowed"))
    for name, value in headers.items():
        if name.lower() in seen:
            faults.append(Fault(f"/headers/{pointer_step(name)}", "this header is given twice"))
        seen.add(name.lower())
        try:
            fields.append(custom_field(name, value, restricted=restricted))
        except ValueError as error:
            faults.append(Fault(f"/headers/{pointer_step(name)}", str(error)))
    if "auto-submitted" not in seen:
        fields.insert(0, _GENERATED)
    return b"".join(each for each in fields if not _NOT_SUBMITTED.match(each))


def _bodies(email: Email, faults: list[Fault]) -> tuple[Part | None, Part | None]:
    """Text and HTML as parts. An empty one counts only if it is alone; of two, the HTML."""
    text = html = None
    try:
        if email.text or (email.text is not None and email.html is None):
            text = text_part(b"plain", email.text)
        elif email.html is None:
            faults.append(Fault("/text", "text or html is required"))
    except ValueError as error:
        faults.append(Fault("/text", str(error)))
    try:
        if email.html or (email.html is not None and not email.text):
            html = text_part(b"html", email.html)
    except ValueError as error:
        faults.append(Fault("/html", str(error)))
    return text, html


def _attachment_faults(attachments: Sequence[Attachment]) -> Iterator[Fault]:
    if len(attachments) > MOST_ATTACHMENTS:
        yield Fault("/attachments", f"at most {MOST_ATTACHMENTS} attachments are allowed")
    ids: set[str] = set()
    for place, attachment in enumerate(attachments):
        for field, error in _wrong(attachment):
            yield Fault(f"/attachments/{place}/{field}", error)
        if id := content_id(attachment):
            if id in ids:
                yield Fault(
                    f"/attachments/{place}/content_id", "another attachment has the same content_id"
                )
            ids.add(id)


def _wrong(attachment: Attachment) -> Iterator[tuple[str, str]]:
    try:
        require_text(attachment.filename)
        require_filename(attachment.filename)
    except ValueError as error:
        yield "filename", str(error)
    try:
        content_type(attachment.content_type)
    except ValueError as error:
        yield "content_type", str(error)
    try:
        require_content_id(attachment.content_id or "none")
    except ValueError as error:
        yield "content_id", str(error)


def _with_html(
    email: Email, text: Part | None, html: Part, boundary: bytes
) -> tuple[Part, tuple[str, ...]]:
    """The HTML, and the text in front of it, which is made of it if there is none."""
    warnings: tuple[str, ...] = ()
    if text is None:
        derived, warnings = text_of(email.html or "")
        if not derived.strip():
            return html, warnings
        text = text_part(b"plain", derived)
    return multipart(b"alternative", b"=_a" + boundary, (text, html)), warnings


def _with_files(
    email: Email, part: Part, *, html: bool, boundary: bytes
) -> tuple[Part, Iterable[str]]:
    """
    mixed(related(alternative(text, html), inline files), files), as much of it as is needed. The
    boundaries differ in their first letter, so that none begins another.
    """
    shown = [each for each in email.attachments if html and each.content_id]
    warnings: Iterable[str] = ()
    if shown:
        inline = (attachment_part(each, inline=True) for each in shown)
        # The parameter `type` is required: RFC 2387, section 3.1.
        root = b"text/html" if part[0].startswith(b"Content-Type: text/html") else _ALTERNATIVE
        kind = b'related; type="%b"' % root
        part = multipart(kind, b"=_r" + boundary, (part, *inline))
        warnings = _unused(shown, email.html or "")
    if len(shown) < len(email.attachments):
        files = (
            attachment_part(each, inline=False)
            for each in email.attachments
            if not html or not each.content_id
        )
        part = multipart(b"mixed", b"=_m" + boundary, (part, *files))
    return part, warnings


def _unused(inline: Iterable[Attachment], html: str) -> Iterator[str]:
    shown = {content_id_of(found[1]) for found in CID_URL.finditer(html)}
    for each in inline:
        if (id := content_id(each)) not in shown:
            yield f"the html does not show the attachment with the content_id {id}"
