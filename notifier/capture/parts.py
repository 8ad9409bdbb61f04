"""
Find the parts of a mail. RFC 2045 and RFC 2046, for any bytes.

The standard library's parser makes an object for every line and every part, and takes quadratic
time for nested parts. This one searches the mail in place, so its time follows from the mail's
size. A part is decoded only when it is asked for.
"""

import binascii
import re
from collections.abc import Callable, Iterator
from email import policy
from email.message import Message
from email.parser import BytesParser
from functools import partial
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")

# Header fields above these limits are shown undecoded.
LONGEST_PARSED_HEADER = 4000  # characters; the standard library takes quadratic time over them
LARGEST_HEAD = 64 * 1024  # octets
MOST_PARTS = 1000
DEEPEST = 20
UNNAMED = "application/octet-stream"

_PORTION = 256 * 1024  # octets that are searched at a time: other threads get a turn between them

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\Z")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class _Policy(policy.EmailPolicy):
    """The default policy with limits."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        if len(value) > LONGEST_PARSED_HEADER:
            return value[:LONGEST_PARSED_HEADER]
        return str(super().header_fetch_parse(name, value))


POLICY = _Policy()


class Part(Struct, frozen=True):
    """A part that has content: its header fields, and where in the mail its body is."""

    header: Message
    kind: str  # media type
    source: bytes  # the whole mail
    start: int
    end: int

    @property
    def encoded_size(self) -> int:
        return self.end - self.start

    def content(self, most: int | None = None) -> bytes:
        """Decoded; with `most`, from the first so many octets of what is encoded."""
        end = self.end if most is None else min(self.end, self.start + most)
        body = memoryview(self.source)[self.start : end]
        encoding = or_else("", lambda: str(self.header["content-transfer-encoding"] or ""))
        match encoding.strip().lower():
            case "base64":
                return _base64(body)
            case "quoted-printable":
                return or_else(bytes(body), partial(binascii.a2b_qp, body))
            case _:
                return bytes(body)


def parts_of(source: bytes, start: int) -> tuple[Message, list[Part]]:
    """
    The mail's own header, and its parts that have content, in order. A mail within the mail is
    one part. `start`: where in the source the mail begins.
    """
    header, body = _head(source, start, len(source))
    found: list[Part] = []
    waiting = [(header, body, len(source), 0)]
    while waiting:
        header_of_part, begin, end, depth = waiting.pop()
        kind = _kind(header_of_part)
        inner: list[tuple[int, int]] = []
        if kind.startswith("multipart/") and depth < DEEPEST:
            room = MOST_PARTS - len(found) - len(waiting)
            boundary = or_else(None, header_of_part.get_boundary)
            if boundary:
                line = b"--" + boundary.encode("utf-8", "surrogateescape")
                inner = [*_between(source, line, begin, end, room)]
        if not inner:
            found.append(Part(header_of_part, kind, source, begin, end))
        for part_begin, part_end in reversed(inner):
            waiting.append((*_head(source, part_begin, part_end), part_end, depth + 1))
    return header, found


def or_else(otherwise: T, ask: Callable[[], T]) -> T:
    """
    The result of a call, or `other` if it raises. On broken mail the standard library raises many
    kinds of exceptions, IndexError, LookupError and RecursionError among them.
    """
    try:
        return ask()
    except Exception:  # noqa: BLE001  see above
        return otherwise


def _head(source: bytes, start: int, end: int) -> tuple[Message, int]:
    """Header fields, and where the body begins."""
    if source[start : start + 1] == b"\n" or source[start : start + 2] == b"\r\n":
        return Message(policy=POLICY), source.index(b"\n", start) + 1
    head_end, body = _blank_line(source, start, end)
    head = source[start : min(head_end, start + LARGEST_HEAD)]
    header = or_else(
        Message(policy=POLICY),
        lambda: BytesParser(policy=POLICY).parsebytes(head + b"\r\n\r\n", headersonly=True),
    )
    rest = or_else("", lambda: str(header.get_payload())).strip("\r\n")
    if rest and len(head) == head_end - start:  # a line that is no field ends the fields
        body = head_end - len(rest.encode("utf-8", "surrogateescape"))
    return header, max(body, start)


def _blank_line(source: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the line before the first empty one ends, and where the line after that begins."""
    for begin in range(start, end, _PORTION):
        if found := _HEAD_END.search(source, begin, min(begin + _PORTION + 4, end)):
            return found.span()
    return end, end


def _between(
    source: bytes, line: bytes, begin: int, end: int, room: int
) -> Iterator[tuple[int, int]]:
    """Where the parts between the lines of a boundary begin and end; at most `most` parts."""
    opened: int | None = None
    place, hits = begin - 1, 0
    while room > 0 and hits < 10 * MOST_PARTS:
        place = _next_line(source, line, place, end)
        if place < 0:
            break
        hits += 1
        after = place + len(line)
        line_end = source.find(b"\n", after, end)
        line_end = end if line_end < 0 else line_end + 1
        trail = source[after : min(line_end, after + 100)].rstrip(b" \t\r\n")
        if trail in (b"", b"--"):
            if opened is not None:
                room -= 1
                yield opened, _before(source, opened, place)
            opened = line_end if not trail else None
            if trail:
                return
        place = max(line_end - 1, place + 1)
    if opened is not None and room > 0:
        yield opened, end


def _next_line(source: bytes, line: bytes, place: int, end: int) -> int:
    """Where the next line with this beginning starts, among those that end at `place` or later."""
    if place < 0 or source.startswith(line, place + 1, end):
        return place + 1 if source.startswith(line, place + 1, end) else -1
    found = source.find(b"\n" + line, place, end)
    return found + 1 if found >= 0 else -1


def _before(source: bytes, begin: int, place: int) -> int:
    """Where the content before a boundary ends: the line break belongs to the boundary."""
    end = place
    if end > begin and source[end - 1 : end] == b"\n":
        end -= 1
        if end > begin and source[end - 1 : end] == b"\r":
            end -= 1
    return end


def _kind(header: Message) -> str:
    kind = or_else("text/plain", header.get_content_type)
    return kind if _MEDIA_TYPE.match(kind) else UNNAMED


def _base64(body: memoryview) -> bytes:
    for attempt in (body, bytes(body) + b"=="):
        try:
            return binascii.a2b_base64(attempt)
        except binascii.Error:
            continue
    return bytes(body)
