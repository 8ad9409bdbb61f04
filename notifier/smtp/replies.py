"""Read a relay's replies from its octets. RFC 5321, section 4.2."""

import re

from msgspec import Struct

MAX_LINE = 8 * 1024  # octets, far over the 512 of RFC 5321, section 4.5.3.1.5
MAX_REPLY = 32 * 1024  # octets of a reply of several lines
KEPT = 500  # characters of a reply that are kept

REMEMBERED = 16  # replies of one line of a connection: most messages get the same ones

CLOSING = 421  # the relay is about to close the connection

# The first digit is 2 to 5: no command here gets a reply that begins with 1.
_CODES = {b"%d" % code: code for code in range(200, 600)}
_ENHANCED = re.compile(r"\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b")


class Reply(Struct, frozen=True):
    """A relay's reply: the code, and the whole as one line, the code included."""

    code: int
    line: str
    lines: tuple[str, ...] = ()  # without their codes, where there is more than one

    @property
    def transcript(self) -> list[str]:
        """The lines of the reply, as in a conversation."""
        return [f"{self.code} {each}" for each in self.lines] or [self.line]

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def enhanced(self) -> str:
        """The enhanced status code, `5.1.1`; empty: there is none. RFC 3463."""
        found = _ENHANCED.match(self.line)
        return found[1] if found else ""


class ReplyReader:
    """
    Takes octets in any pieces, and returns whole replies.

    Once something is not a reply, `malformed` says what, and nothing more is read, because the two
    ends may be out of step.
    """

    def __init__(self) -> None:
        self.malformed = ""
        self.between = True  # all that arrived has been returned
        self._known: dict[bytes, Reply] = {}
        self._rest = b""  # the begin of a line
        self._lines: list[bytes] = []  # of a reply that goes on
        self._size = 0  # of those

    def feed(self, data: bytes) -> list[Reply]:
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        replies: list[Reply] = []
        for line in lines:
            reply = None if self._lines else self._known.get(line)
            if reply is not None or (reply := self._line(line)) is not None:
                replies.append(reply)
            elif self.malformed:
                break
        else:
            if len(self._rest) > MAX_LINE:
                self.malformed = "a line without an end"
        self.between = not self._rest and not self._lines and not self.malformed
        return replies

    def _line(self, line: bytes) -> Reply | None:
        code = _CODES.get(line[:3])
        mark = line[3:4]
        if code is None or mark not in b" -\r" or len(line) > MAX_LINE:
            self.malformed = f"not an SMTP reply: {text(line)!r}"
            return None
        if mark == b"-" or self._lines:
            return self._one_of_several(code, mark, line)
        reply = Reply(code, text(line))
        if len(self._known) < REMEMBERED and len(line) <= KEPT:
            self._known[line] = reply
        return reply

    def _one_of_several(self, code: int, mark: bytes, line: bytes) -> Reply | None:
        if self._lines and self._lines[0][:3] != line[:3]:
            self.malformed = f"a reply with two codes: {text(line)!r}"
            return None
        self._lines.append(line)
        self._size += len(line)
        if self._size > MAX_REPLY:
            self.malformed = "a reply without an end"
            return None
        if mark == b"-":
            return None
        words = [each[4:].strip() for each in self._lines]
        self._lines, self._size = [], 0
        return Reply(code, text(b"%d %s" % (code, b" ".join(words))), tuple(map(text, words)))


def text(octets: bytes) -> str:
    """A relay's text, made fit to be kept, logged and shown."""
    said = octets[: 4 * KEPT].decode("utf-8", "replace").rstrip()[:KEPT]
    if said.isprintable():
        return said
    return "".join(each if each.isprintable() else " " for each in said)
