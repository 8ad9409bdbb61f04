"""The signs before a list's items: bullets, or numbers as in HTML."""

from msgspec import Struct
from turbohtml import Element

from notifier.compose.plaintext.nodes import children, integer

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"),
    (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_MOST_ROMAN = 3999


class Numbering(Struct):
    """The state of a list. An unordered list has no next number."""

    next: int | None = None
    step: int = 1
    kind: str = "1"

    def sign(self, value: int | None) -> str:
        """The sign of the next item, which may set its number."""
        if self.next is None:
            return "*"
        number = self.next if value is None else value
        self.next = number + self.step
        return f"{marker(number, self.kind)}."


def numbered(ordered: Element) -> Numbering:
    """The numbers from the start to the end, or backwards."""
    start = integer(ordered.attr("start"))
    if "reversed" not in ordered.attrs:
        step = 1
    else:
        step = -1
        if start is None:
            start = sum(getattr(each, "tag", "") == "li" for each in children(ordered))
    return Numbering(1 if start is None else start, step, ordered.attr("type") or "1")


def marker(number: int, kind: str) -> str:
    """A number as the list's `type` writes it: `1`, `a`, `A`, `i` or `I`."""
    written = str(number)
    if kind in {"a", "A"} and number > 0:
        written = _letters(number)
    elif kind in {"i", "I"} and 0 < number <= _MOST_ROMAN:
        written = _roman(number)
    return written.upper() if kind.isupper() else written


def _letters(number: int) -> str:
    written = ""
    while number:
        number, digit = divmod(number - 1, 26)
        written = chr(ord("a") + digit) + written
    return written


def _roman(number: int) -> str:
    written = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        written += letters * count
    return written
