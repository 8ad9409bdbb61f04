"""Plain text, written block by block."""

import re
import sys

from msgspec import Struct

MOST_PREFIXES = 10  # levels of lists and quotes; deeper ones are not indented further
MOST_CHUNKS = 20  # characters of a trace: enough to recognize an address

# Characters without width pad preheaders and say where a word may be broken: text needs none.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u034f\u200b\u2060\ufeff"))
# The joiners do, within words and emoji.
_LOOSE_JOINER = re.compile(
    r"[\u200c\u200d](?=[\s\u200c\u200d]|\Z)|(?:(?<=[\s\u200c\u200d])|\A)[\u200c\u200d]"
)


class Full(Exception):
    """There is no room for more text."""


class Prefix(Struct):
    """
    What is written before the lines of a list's item or a quote: before the first one, and before
    the others.
    """

    first: str
    rest: str
    used: bool = False


class Lines:
    """
    Lines of text without wrapping. White space is collapsed, and adjacent breaks are merged, so
    that two blank lines never follow one another. Raises Full above `most` characters.
    """

    def __init__(self, most: int) -> None:
        self.trace: list[str] | None = None  # where a copy of each chunk goes
        self._room = most
        self._done: list[str] = []
        self._line: list[str] | None = None  # the parts of the one that is being written
        self._prefixes: list[Prefix] = []
        self._too_deep = 0
        self._breaks = 0  # line ends that are due before whatever comes next
        self._space = False  # so is a space
        self._noted = False  # whether a mark was the last
        self._linked = False  # and whether a link

    def text(self, data: str) -> None:
        """Add words to the current line."""
        words = visible(data).split()
        if words:
            self._space = self._space or data[0].isspace()
            self._put(" ".join(words))
            self._space = data[-1].isspace()
        elif data:
            self._space = True

    def literal(self, data: str) -> None:
        """Add text whose spaces and line ends are kept."""
        for place, line in enumerate(data.replace("\r", "").split("\n")):
            if place and not self._breaks:  # blank lines are not needed where a block begins
                self._finish()
            if line:
                self._space = False
                self._put(line)

    def row(self, line: str) -> None:
        """Add a line that is already laid out."""
        self.end_block(1)
        self._put(line)
        self.end_block(1)

    def end_line(self) -> None:
        """Begin a new line; called twice, after a blank one."""
        self._breaks += 1
        self._space = False

    def end_block(self, breaks: int) -> None:
        """Separate the following text by this many line ends."""
        self._breaks = max(self._breaks, breaks)
        self._space = False

    def note(self, mark: str) -> None:
        """Add a footnote's mark after the last word, whatever breaks are due."""
        self.close(f" {mark}")
        self._noted = True

    def close(self, sign: str) -> None:
        """Add a sign at the end of the last word, whatever breaks are due."""
        if self._line is None:
            self._begin()
        self._append(sign)

    def begin_link(self) -> None:
        """The following text is a link, separated from a link right before it."""
        self._space = self._space or self._linked

    def end_link(self) -> None:
        """The link ends here."""
        self._linked = True

    def push(self, first: str, rest: str) -> None:
        """Write these prefixes before lines from here on."""
        if len(self._prefixes) < MOST_PREFIXES:
            self._prefixes.append(Prefix(first, rest))
        else:
            self._too_deep += 1

    def pop(self) -> None:
        """Undo the last `push`."""
        if self._too_deep:
            self._too_deep -= 1
        else:
            self._prefixes.pop()

    def lines(self) -> list[str]:
        """All lines. Breaks that are due at the end are left out."""
        self._room = sys.maxsize
        if self._line is not None:
            self._finish()
        while self._done and not self._done[-1]:
            self._done.pop()
        return self._done

    def _put(self, chunk: str) -> None:
        if self._breaks:
            if self._line is not None:
                self._finish()
            if self._breaks > 1:
                while self._done and not self._done[-1].strip(" >"):
                    self._done.pop()
                if self._done:
                    self._finish()
            self._breaks = 0
        if self._line is None:
            self._begin()
        elif self._space or (self._noted and (chunk[0].isalnum() or chunk[0] in "([<")):
            chunk = f" {chunk}"
        self._space = self._noted = self._linked = False
        self._append(chunk)
        if self.trace is not None and len(self.trace) < MOST_CHUNKS:
            self.trace.append(chunk)

    def _begin(self) -> None:
        self._line = []
        for prefix in self._prefixes:
            self._append(prefix.rest if prefix.used else prefix.first)
            prefix.used = True
        if self.trace:
            self.trace.append(" ")

    def _finish(self) -> None:
        """End the line, or add a blank one if no line was begun."""
        parts = self._line
        if parts is None:
            # Between two lines of a quote the quote goes on.
            parts = [each.rest for each in self._prefixes if each.used]
            self._spend(sum(map(len, parts)))
        self._done.append("".join(parts).rstrip())
        self._line = None
        self._spend(1)

    def _append(self, chunk: str) -> None:
        assert self._line is not None  # noqa: S101  it was begun
        self._line.append(chunk)
        self._spend(len(chunk))

    def _spend(self, characters: int) -> None:
        self._room -= characters
        if self._room < 0:
            raise Full


def visible(text: str) -> str:
    """Text without characters of no width, except joiners that join."""
    if text.isascii():
        return text
    text = text.translate(_INVISIBLE)
    if "\u200c" in text or "\u200d" in text:
        text = _LOOSE_JOINER.sub("", text)
    return text
