"""
The list of suppressions as CSV (RFC 4180): a line of names, then a line for each.

Only `address` is needed; a file without a line of names is a list of addresses.
"""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime

from notifier.errors import Fault, InvalidMessage
from notifier.suppressions.suppression import (
    Reason,
    Suppression,
    read_address,
    read_key,
    read_source,
    read_until,
)

COLUMNS = ("address", "reason", "key", "since", "until", "source")
MOST_FAULTS = 100  # faults that are listed
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def written(suppressions: Iterable[Suppression], *, head: bool = True) -> str:
    """The suppressions as CSV, after the line of names."""
    out = io.StringIO(newline="")
    write = csv.writer(out).writerow
    if head:
        write(COLUMNS)
    for each in suppressions:
        until = "" if each.until is None else _time(each.until)
        write((each.address, each.reason.value, each.key, _time(each.since), until, each.source))
    return out.getvalue()


def read(content: bytes, *, now: datetime, source: str) -> list[Suppression]:
    """
    The suppressions in a CSV file, without those that have ended. `source` is of those that name
    none. Raises InvalidMessage, which names each wrong line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidMessage(Fault("", f"the file is not UTF-8: {error.reason}")) from None
    faults: list[Fault] = []
    found: list[Suppression] = []
    columns: tuple[str, ...] | None = None
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns, is_head = _columns(cells)
                if is_head:
                    continue
            try:
                made = _suppression(dict(zip(columns, cells, strict=False)), now, source)
            except ValueError as error:
                faults.append(Fault("", f"line {lines.line_num}: {error}"))
            else:
                found += [made] if made is not None else []
    except csv.Error as error:
        faults.append(Fault("", f"line {lines.line_num}: {error}"))
    if faults:
        more = len(faults) - MOST_FAULTS
        listed = faults[:MOST_FAULTS]
        raise InvalidMessage(*listed, *([Fault("", f"and {more} faults more")] if more > 0 else []))
    return found


def _columns(cells: list[str]) -> tuple[tuple[str, ...], bool]:
    """The names of the columns, and whether this line is the line of names."""
    names = tuple(cell.strip().lower() for cell in cells)
    if "address" not in names:
        if len(cells) > 1:
            raise InvalidMessage(
                Fault("", f"line 1: name the columns: {','.join(COLUMNS)}; only address is needed")
            )
        return ("address",), False
    if unknown := [name for name in names if name not in COLUMNS]:
        raise InvalidMessage(
            Fault("", f"line 1: unknown column {unknown[0][:100]!r}; known: {', '.join(COLUMNS)}")
        )
    return names, True


def _suppression(cells: dict[str, str], now: datetime, source: str) -> Suppression | None:
    """One line; None: it has ended."""
    given = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    if (reason := given.get("reason", Reason.MANUAL.value).lower()) not in [*Reason]:
        raise ValueError(f"reason: {reason[:100]!r} is not one of {', '.join(Reason)}")
    since = _read_time("since", given["since"]) if "since" in given else now
    until = _read_time("until", given["until"]) if "until" in given else None
    if until is not None and until <= now:
        return None
    return Suppression(
        address=read_address(given.get("address", "")),
        reason=Reason(reason),
        key=read_key(given.get("key", "")),
        since=min(max(since, EARLIEST), now),
        until=None if until is None else read_until(until, now),
        source=read_source(given.get("source", source)),
    )


def _read_time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{name}: {text[:100]!r} is not a time; write 2027-01-31T12:00:00Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
