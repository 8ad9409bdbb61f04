"""
The text of an HTML, by a walk over its tree: what is shown, block by block, links as footnotes.

The walk takes as many steps as the tree has nodes, twice where they stand in tables: no element
is looked into that has been looked into for the same reason before. It does not recurse.
"""

from collections.abc import Callable
from typing import ClassVar, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from turbohtml import Document, Element, Node, Text

from notifier.compose.plaintext.lines import MOST_CHUNKS, Full, Lines
from notifier.compose.plaintext.links import Links, says, target_of
from notifier.compose.plaintext.nodes import children, first, integer
from notifier.compose.plaintext.numbering import Numbering, numbered
from notifier.compose.plaintext.styles import PLAIN, Sheet, Style, style_of
from notifier.compose.plaintext.tables import MOST_COLUMNS, Cell, Grid, Row


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# How many line ends separate an element. All others stay in the line.
_LINES = _names(
    "address article aside body center dd details dialog dir div dt fieldset figcaption footer"
    " form header hgroup html legend li main nav optgroup option search section"
    " summary tbody tfoot thead"
)
_PARAGRAPHS = _names(
    "blockquote caption dl figure h1 h2 h3 h4 h5 h6 hr listing menu ol p plaintext pre table td th"
    " tr ul xmp"
)
_BREAKS = dict.fromkeys(_LINES, 1) | dict.fromkeys(_PARAGRAPHS, 2)
_UNSEEN = _names(
    "datalist embed frameset head iframe input noembed noframes script select style svg template"
    " title"
)
_LISTS = _names("dir menu ol ul")
_LITERAL = _names("listing plaintext pre textarea xmp")
# A cell with one of these elements is not short.
_TALL = _LISTS | _LITERAL | _names("blockquote dl hr table")
_KEPT = {"pre": "all", "pre-wrap": "all", "break-spaces": "all", "pre-line": "lines"}
_RULE = "-" * 40
_CELL_CHARACTERS = 600
_RAISED = str.maketrans("0123456789+-\u2212=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_LOWERED = str.maketrans("0123456789+-\u2212=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
_SIGNS = frozenset("+-\u2212")
_LONGEST_SCRIPT = 12  # characters that are raised or lowered


class _State(Struct, frozen=True):
    """The state that an element hands down to its children."""

    kept: str = ""  # of white space: all, or the line ends
    legible: bool = True
    letters: dict[int, int] | None = None  # how they are raised or lowered
    lists: int = 0


class _Frame(Struct):
    """An element that is being walked through, and what to do at its end."""

    node: Node | None  # in it, the next one
    breaks: int
    state: _State
    leave: Callable[[], None] | None


class _TooTall(Exception):
    """A row that cannot be laid out in one line."""


_Leave: TypeAlias = Callable[[], None] | None


def _no_more() -> None:
    """Stands for the end of an element that is not to be walked through."""


class Walk:
    """The walk over one document."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._out = Lines(most)
        self._state = _State()
        self._links = Links()
        self._sheet = Sheet(())
        self._styles: dict[str, Style] = {}
        self._grids: list[Grid] = []
        self._lists: list[Numbering] = []
        self._in_cell = False
        self._nameless = 0  # pictures of which nothing can be said

    def text(self, document: Document) -> tuple[str, bool]:
        """The text, and whether it is complete."""
        self._sheet = Sheet(
            each.text
            for each in document.find_all("style")
            if (each.attr("media") or "all").strip().lower() in {"all", "screen"}
        )
        whole = True
        try:
            self._through(document)
        except Full:
            whole = False
        lines = self._out.lines()
        notes = [f"[{number}] {target}" for number, target in enumerate(self._links.targets, 1)]
        if notes:
            lines += ["", *notes]
        lines.append("")
        return "\n".join(lines), whole

    def _through(self, outer: Node) -> None:
        stack = [_Frame(first(outer), 0, self._state, None)]
        while stack:
            frame = stack[-1]
            node = frame.node
            if node is None:
                stack.pop()
                self._leave(frame)
                continue
            frame.node = node.next_sibling
            if isinstance(node, Text):
                self._say(node.data)
            elif isinstance(node, Element) and (inner := self._enter(node)):
                stack.append(inner)

    def _leave(self, frame: _Frame) -> None:
        self._state = frame.state
        if frame.leave:
            frame.leave()
        if frame.breaks:
            self._out.end_block(frame.breaks)

    def _say(self, data: str) -> None:
        state = self._state
        if not state.legible:
            self._out.text(" ")
        elif state.kept == "all":
            self._out.literal(data)
        elif state.kept == "lines":
            for place, line in enumerate(data.split("\n")):
                if place:
                    self._out.end_line()
                self._out.text(line)
        else:
            self._out.text(data.translate(state.letters) if state.letters else data)

    def _enter(self, element: Element) -> _Frame | None:
        """A frame for an element that is to be walked through."""
        tag = element.tag
        if tag in _UNSEEN:
            return None
        style = self._style(element, tag)
        if style is None:
            return None
        if self._in_cell and tag in _TALL:
            raise _TooTall
        breaks = self._breaks(tag, style)
        state = self._state
        if breaks:
            self._out.end_block(breaks)
        if style is not PLAIN:
            self._hand_down(style)
        act = self._acts.get(tag)
        if act is None:
            return _Frame(first(element), breaks, state, None)
        leave = act(self, element, breaks)
        if leave is _no_more:
            self._state = state
            if breaks:
                self._out.end_block(breaks)
            return None
        return _Frame(first(element), breaks, state, leave)

    def _style(self, element: Element, tag: str) -> Style | None:
        """The element's style. None: the element is hidden."""
        if "hidden" in element.attrs:
            return None
        css = element.attr("style")
        style = PLAIN
        if css:
            known = self._styles.get(css)
            style = self._styles[css] = style_of(css) if known is None else known
        if style.hidden:
            return None
        if self._sheet and not style.display:
            classes = (element.attr("class") or "").split()
            id = element.attr("id") or ""
            if (classes or id) and self._sheet.hides(tag, classes, id):
                return None
        return style

    def _breaks(self, tag: str, style: Style) -> int:
        breaks = _BREAKS.get(tag, 0)
        if style.display == "inline" or (style.display == "inline-block" and tag == "li"):
            return 0 if breaks == 1 else breaks
        if breaks == 2 and tag in _LISTS and self._state.lists:
            return 1
        return 1 if not breaks and style.display in {"block", "flex"} else breaks

    def _hand_down(self, style: Style) -> None:
        state = self._state
        if style.legible is not None and style.legible is not state.legible:
            state = replace(state, legible=style.legible)
        if style.white_space:
            kept = _KEPT.get(style.white_space, "")
            if kept != state.kept:
                state = replace(state, kept=kept)
        self._state = state

    # What elements do besides holding text: each returns what is to be done at their end.

    def _break(self, _: Element, __: int) -> _Leave:
        self._out.end_line()
        return _no_more

    def _rule(self, _: Element, __: int) -> _Leave:
        self._out.row(_RULE)
        return _no_more

    def _picture(self, element: Element, _: int) -> _Leave:
        alt = element.attr("alt")
        self._nameless += alt is None
        self._out.text(alt or "")
        return _no_more

    def _verbatim(self, _: Element, __: int) -> _Leave:
        self._state = replace(self._state, kept="all")
        return None

    def _quote(self, _: Element, __: int) -> _Leave:
        self._out.push("> ", "> ")
        return self._out.pop

    def _definition(self, _: Element, __: int) -> _Leave:
        self._out.push("  ", "  ")
        return self._out.pop

    def _deletion(self, _: Element, __: int) -> _Leave:
        self._out.text("~~")
        return lambda: self._out.close("~~")

    def _quotation(self, _: Element, __: int) -> _Leave:
        self._out.text('"')
        return lambda: self._out.close('"')

    def _script(self, element: Element, _: int) -> _Leave:
        """
        Mark superscripts and subscripts of digits, because 10<sup>2</sup> is not 102. Letters, as
        in 1st, stay.
        """
        if self._state.letters is not None:
            return None
        letters = _RAISED if element.tag == "sup" else _LOWERED
        said = "".join(element.text.split())
        if 0 < len(said) <= _LONGEST_SCRIPT and all(ord(each) in letters for each in said):
            self._state = replace(self._state, letters=letters)
        else:
            self._state = replace(self._state, letters={})
            if said[:1].isdigit() or said[:1] in _SIGNS:
                self._out.text("^" if element.tag == "sup" else "_")
        return None

    def _list(self, element: Element, _: int) -> _Leave:
        self._state = replace(self._state, lists=self._state.lists + 1)
        ordered = element.tag == "ol"
        self._lists.append(numbered(element) if ordered else Numbering())
        return self._leave_list

    def _leave_list(self) -> None:
        self._lists.pop()

    def _item(self, element: Element, breaks: int) -> _Leave:
        if not breaks:
            self._out.text(" ")
            return lambda: self._out.text(" ")
        place = self._lists[-1] if self._lists else Numbering()
        sign = place.sign(integer(element.attr("value")))
        self._out.push(f"{sign} ", " " * (len(sign) + 1))
        return self._out.pop

    def _link(self, element: Element, _: int) -> _Leave:
        target = target_of(element.attr("href") or "")
        if not target:
            return None
        out, outer = self._out, self._out.trace
        said: list[str] = []
        out.trace, nameless = said, self._nameless
        out.begin_link()

        def leave() -> None:
            out.trace = outer
            text = "".join(said).strip()
            if outer is not None:
                outer.extend(said[: MOST_CHUNKS - len(outer)])
            if text and not says(text, target):
                out.note(self._links.mark(target))
            elif not text and self._nameless > nameless:
                out.text(target)
            out.end_link()

        return leave

    def _area(self, element: Element, _: int) -> _Leave:
        text, target = element.attr("alt") or "", target_of(element.attr("href") or "")
        if text.strip():
            self._out.text(f" {text}")
            if target and not says(text, target):
                self._out.note(self._links.mark(target))
        return _no_more

    # Tables: a row of short cells is a line, every other cell a block.

    def _table(self, _: Element, __: int) -> _Leave:
        self._grids.append(Grid())
        return self._leave_table

    def _leave_table(self) -> None:
        self._flush()
        self._grids.pop()

    def _flush(self) -> None:
        for paragraph, line in self._grids[-1].flush():
            self._out.end_block(2 if paragraph else 1)
            self._out.row(line)
        self._out.end_block(2)

    def _row(self, element: Element, _: int) -> _Leave:
        if not self._grids:
            return None
        row = self._tried(element)
        if row is not None and (not row.cells or row.fits):
            if row.cells and self._grids[-1].add(row):
                self._flush()
            return _no_more
        self._flush()
        return None

    def _tried(self, row: Element) -> Row | None:
        """The row as part of a grid. None: a cell has blocks, or too much text."""
        cells: list[Cell] = []
        place = self._grids[-1].begin_row()
        for node in children(row):
            if not isinstance(node, Element) or node.tag not in {"td", "th"}:
                continue
            style = self._style(node, node.tag)
            if style is None:
                continue
            span = min(max(integer(node.attr("colspan")) or 1, 1), MOST_COLUMNS)
            rows = min(max(integer(node.attr("rowspan")) or 1, 1), 1000)
            column = place.take(span, rows)
            lines = None if column is None else self._cell(node, style)
            if column is None or lines is None:
                return None
            if lines:
                right = style.right or (node.attr("align") or "").lower() == "right"
                cells.append(Cell(lines, column, span, right))
        return Row(cells)

    def _cell(self, cell: Element, style: Style) -> list[str] | None:
        """The text of a cell. None: it is too long, or has more than short text."""
        out, state = self._out, self._state
        self._out, self._in_cell = Lines(_CELL_CHARACTERS), True
        self._hand_down(style)
        try:
            self._through(cell)
            return self._out.lines()
        except (Full, _TooTall):
            return None
        finally:
            self._out, self._state, self._in_cell = out, state, False

    _acts: ClassVar[dict[str, Callable[["Walk", Element, int], _Leave]]] = {
        "a": _link,
        "area": _area,
        "blockquote": _quote,
        "br": _break,
        "dd": _definition,
        **dict.fromkeys(("del", "s", "strike"), _deletion),
        "hr": _rule,
        "img": _picture,
        "li": _item,
        "q": _quotation,
        "sub": _script,
        "sup": _script,
        "table": _table,
        "tr": _row,
        **dict.fromkeys(_LISTS, _list),
        **dict.fromkeys(_LITERAL, _verbatim),
    }
