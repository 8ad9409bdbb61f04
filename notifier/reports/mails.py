"""
Parses a mail in bounded time. The mail is first cut to a size, a number of lines and a number of
parts, because the time of the standard library's parser grows faster than its input. A report has
its data in front.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesParser, Parser
from email.policy import Compat32
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeAlias

LARGEST = 256 * 1024  # octets that are read
MOST_LINES = 10_000
LONGEST_LINE = 2_000  # octets; RFC 5322 allows 998
LONGEST_FIELD = 4_000  # characters
_RETURNED = frozenset(
    {"message/rfc822", "message/global", "message/rfc822-headers", "message/global-headers"}
)
_PLAIN = ("7bit", "8bit", "binary")
MOST_NESTS = 20  # mentions of a type that may hold others

if TYPE_CHECKING:  # to Python it is not generic
    Mail: TypeAlias = Message[str, str]
else:
    Mail = Message

_NESTS = re.compile(rb"multipart/|message/", re.IGNORECASE)


class _Bounded(Compat32):
    """Fields are text, and none is longer than LONGEST_FIELD."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines[:100])
        return name, value[:LONGEST_FIELD]

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002  it overrides
        return readable(value)


_POLICY = _Bounded()
_parse = BytesParser(policy=_POLICY).parsebytes
_parse_fields = Parser(policy=_POLICY).parsestr


def parse(source: bytes) -> Mail:
    """A mail. What the parser raises for a damaged one is unknown."""
    source = source[:LARGEST]
    for number, nest in enumerate(_NESTS.finditer(source)):
        if number == MOST_NESTS:
            source = source[: nest.start()]
            break
    lines = source.splitlines()[:MOST_LINES]
    return _parse(b"\n".join([line[:LONGEST_LINE] for line in lines]))


def parts(mail: Mail) -> Iterator[Mail]:
    """The parts of a mail, but not those of a mail within it."""
    if mail.get_content_maintype() == "multipart" and mail.is_multipart():
        for part in mail.get_payload():
            if isinstance(part, Message):
                yield from parts(part)
    else:
        yield mail


def blocks(part: Mail) -> list[Mail]:
    """The groups of fields in a part that consists of such groups. RFC 3464, section 2.1."""
    if part.is_multipart() and part.get("Content-Transfer-Encoding", "7bit").lower() in _PLAIN:
        found = [each for each in part.get_payload() if isinstance(each, Message)]
        if part.get_content_subtype() == "delivery-status" or found[0].is_multipart():
            return found
        # The parser took the first group for the header of a mail, and the others for its text.
        return [*found, *_groups(text(found[0]))]
    return _groups(text(part))


def _groups(text: str) -> list[Mail]:
    return [_parse_fields(group) for group in re.split(r"\n[ \t]*\n", text.strip())]


def returned(part: Mail) -> Mail | None:
    """The header of the mail that a report brings back. None: this part is something else."""
    kind = part.get_content_type()
    if kind in _RETURNED and part.is_multipart():
        found = part.get_payload(0)
        return found if isinstance(found, Message) else None
    return _parse_fields(text(part).lstrip()) if kind == "text/rfc822-headers" else None


def text(part: Mail) -> str:
    """The text of a part, decoded."""
    if part.is_multipart():  # a type that is not multipart, taken for one by the parser
        inner = [text(each) for each in part.get_payload() if isinstance(each, Message)]
        whole = Message(policy=_POLICY)
        whole["Content-Transfer-Encoding"] = part.get("Content-Transfer-Encoding", "7bit")
        whole.set_payload("\n\n".join(inner))
        return text(whole)
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def all_of(mail: Mail, names: Sequence[str]) -> tuple[str, ...]:
    """The values of all these fields."""
    return tuple(value for name in names for value in mail.get_all(name, []))


def date(value: str) -> datetime | None:
    """A date, RFC 5322, section 3.3. None where it cannot be read."""
    try:
        found = parsedate_to_datetime(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def readable(value: str) -> str:
    """A value in which octets beyond ASCII stand as UTF-8."""
    if value.isascii():
        return value
    return value.encode("ascii", "surrogateescape").decode("utf-8", "replace")
