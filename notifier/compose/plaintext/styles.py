"""CSS that matters without looks: mostly whether an element is shown at all."""

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

LONGEST_SHEET = 256 * 1024  # characters of all style elements that are read

# A style is parsed only if it has one of these.
_TELLING = re.compile(
    r"display|visibility|font|height|opacity|white-space|text-align", re.IGNORECASE
)
_LENGTH = re.compile(r"([0-9.]+)(px|pt|em|rem|%)?(?:/|\s|$)")
_SELECTOR = re.compile(r"([a-z][a-z0-9]*)?([.#])(-?[A-Za-z_][\w-]*)")
_SMALLEST = 1.0  # px: smaller text is meant to be invisible


class Style(Struct, frozen=True):
    """The declarations that matter. None or empty: not declared."""

    hidden: bool = False
    display: str = ""
    legible: bool | None = None  # whether the font has a size
    white_space: str = ""
    right: bool = False  # whether it is aligned to the right


PLAIN = Style()


def style_of(css: str) -> Style:
    """The declarations of a `style` attribute, or of one rule."""
    if not _TELLING.search(css):
        return PLAIN
    found: dict[str, str] = {}
    for declaration in css.lower().split(";"):
        name, _, value = declaration.partition(":")
        found[name.strip()] = value.partition("!")[0].strip()
    flat = any(_is_zero(found.get(name, "")) for name in ("height", "max-height"))
    hidden = (
        found.get("display") == "none"
        or found.get("visibility") in {"hidden", "collapse"}
        or _is_zero(found.get("opacity", ""))
        # `mso-hide:all` alone hides nothing: buttons have it, because Outlook draws them otherwise.
        or (flat and found.get("overflow") == "hidden")
    )
    return Style(
        hidden,
        found.get("display", ""),
        _legible(found),
        found.get("white-space", ""),
        found.get("text-align") in {"right", "end"},
    )


def _legible(found: dict[str, str]) -> bool | None:
    size = found.get("font-size")
    if size is None:
        shorthand = found.get("font", "")
        sizes = (
            word for word in shorthand.split() if word[0].isdigit() and word[:3] not in _WEIGHTS
        )
        size = next(sizes, "")
    length = _LENGTH.match(size)
    if length is None:
        return True if size in _SIZES else None
    number = _number(length[1])
    if length[2] in {"em", "rem", "%"}:
        return False if number == 0 else None if length[2] != "rem" else True
    return number > _SMALLEST


_WEIGHTS = {f"{hundreds}00" for hundreds in range(1, 10)}
_SIZES = {"xx-small", "x-small", "small", "medium", "large", "x-large", "xx-large"}


def _is_zero(value: str) -> bool:
    length = _LENGTH.match(value)
    return length is not None and _number(length[1]) == 0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


class Sheet:
    """The classes and ids that style elements hide, whatever the screen is."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._hiding: set[str] = set()
        left = LONGEST_SHEET
        for text in texts:
            for selectors, declarations in _rules(text[:left]):
                self._read(selectors, style_of(declarations))
            left -= len(text)
            if left <= 0:
                break

    def __bool__(self) -> bool:
        return bool(self._hiding)

    def hides(self, tag: str, classes: Iterable[str], id: str) -> bool:
        names = [f".{each}" for each in classes]
        if id:
            names.append(f"#{id}")
        return any(name in self._hiding or f"{tag}{name}" in self._hiding for name in names)

    def _read(self, selectors: str, style: Style) -> None:
        if not style.hidden and not style.display:
            return
        for selector in selectors.split(","):
            if _SELECTOR.fullmatch(selector := selector.strip()):
                if style.hidden:
                    self._hiding.add(selector)
                else:
                    self._hiding.discard(selector)


def _rules(css: str) -> Iterator[tuple[str, str]]:
    """Selectors and declarations of all rules but nested ones, such as those in `@media`."""
    first, *commented = css.split("/*")
    css = first + "".join(each.partition("*/")[2] for each in commented)
    css = css.replace("<!--", "").replace("-->", "")  # for old browsers
    depth, selectors, last = 0, "", ""
    for piece in re.split("([{}])", css):
        if piece == "{":
            depth += 1
            if depth == 1:
                selectors = last.rpartition(";")[2].strip()
        elif piece == "}":
            depth = max(depth - 1, 0)
        elif depth == 1:
            yield selectors, piece
        else:
            last = piece
