"""Rows of short cells, aligned in columns."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

MOST_COLUMNS = 20
MOST_ROWS = 1000  # that are aligned with one another
MOST_LINES = 4  # of a cell
SHORT = 40  # characters of the cells before the last, where that is long
LONGEST = 400  # characters of the last cell
WIDEST = 78  # characters of a line
_GAP = "  "


class Cell(Struct):
    """The text of a cell, and the columns that it spans."""

    lines: list[str]
    column: int
    span: int
    right: bool


class Row(Struct):
    """The cells of a row that have text."""

    cells: list[Cell]

    @property
    def fits(self) -> bool:
        """Whether the row reads well as a line: short cells, of which all but one have one line."""
        if sum(len(each.lines) > 1 for each in self.cells) > 1:
            return False
        if any("" in each.lines or len(each.lines) > MOST_LINES for each in self.cells):
            return False
        widths = [max(map(len, each.lines)) for each in self.cells]
        before = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
        if before + widths[-1] <= WIDEST:
            return len(widths) > 1 or len(self.cells[0].lines) == 1
        return len(widths) > 1 and before <= SHORT and widths[-1] <= LONGEST


class Grid:
    """Consecutive rows of one table, with the columns that cells from above occupy."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._taken: dict[int, int] = {}  # column: rows to come in which it is taken

    def begin_row(self) -> "Place":
        """The columns that are free for the cells of a row."""
        return Place(self._taken)

    def add(self, row: Row) -> bool:
        """Add a row. Returns whether the rows must be flushed before another one."""
        self._rows.append(row)
        return len(self._rows) >= MOST_ROWS

    def flush(self) -> Iterator[tuple[bool, str]]:
        """
        The rows so far as lines, and whether each is a paragraph. A cell that is alone in its row
        is one, too, unless it is between rows of several cells.
        """
        rows, self._rows = self._rows, []
        several = [place for place, row in enumerate(rows) if len(row.cells) > 1]
        first, end = (several[0], several[-1] + 1) if several else (len(rows), len(rows))
        while end < len(rows) and rows[end].cells[0].column:  # under others, beside one from above
            end += 1
        yield from ((True, row.cells[0].lines[0]) for row in rows[:first])
        widths = _widths(rows[first:end])
        paragraph = True
        for row in rows[first:end]:
            for line in _laid_out(row, widths):
                yield paragraph, line
                paragraph = False
        yield from ((True, row.cells[0].lines[0]) for row in rows[end:])


class Place:
    """The free columns of one row, from the left."""

    def __init__(self, taken: dict[int, int]) -> None:
        self._above = {column for column, rows in taken.items() if rows > 0}
        for column in list(taken):
            taken[column] -= 1
            if taken[column] <= 0:
                del taken[column]
        self._taken = taken
        self._column = 0

    def take(self, span: int, rows: int) -> int | None:
        """The first column of the next cell. None: there are too many cells."""
        while self._column in self._above:
            self._column += 1
        column = self._column
        if column >= MOST_COLUMNS:
            return None
        self._column += span
        if rows > 1:
            self._taken.update(dict.fromkeys(range(column, column + span), rows - 1))
        return column


def _widths(rows: Sequence[Row]) -> list[int]:
    """The width of each column; all 0 if the lines would be too wide to be aligned."""
    widths = [0] * (2 * MOST_COLUMNS)
    cells = [cell for row in rows for cell in row.cells]
    for cell in cells:
        if cell.span == 1:
            widths[cell.column] = max(widths[cell.column], max(map(len, cell.lines)))
    for cell in cells:
        last = cell.column + cell.span - 1
        lacking = max(map(len, cell.lines)) - _width(widths[cell.column : last + 1])
        if cell.span > 1 and lacking > 0 and any(widths[last + 1 :]):
            widths[last] += lacking
    used = [place for place, width in enumerate(widths) if width]
    before = [min(widths[place], LONGEST) for place in used[:-1]]
    if _width(before) > WIDEST:
        return [0] * len(widths)
    return widths


def _width(widths: Sequence[int]) -> int:
    used = [width for width in widths if width]
    return sum(used) + len(_GAP) * max(len(used) - 1, 0)


def _laid_out(row: Row, widths: Sequence[int]) -> Iterator[str]:
    for number in range(max(len(cell.lines) for cell in row.cells)):
        line = ""
        for cell in row.cells:
            said = cell.lines[number] if number < len(cell.lines) else ""
            if not said:
                continue
            begins = _width([*widths[: cell.column], 1]) - 1 if any(widths) else 0
            line = f"{line}{_GAP}" if line else line
            line = line.ljust(begins)
            if cell.right:
                said = said.rjust(_width(widths[cell.column : cell.column + cell.span]))
            line += said
        yield line.rstrip()
