"""What commands print: tables and details for a person, JSON for a program."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from notifier.characters import printable

Resource = dict[str, Any]

COLUMNS = ("ID", "STATUS", "TO", "CREATED (UTC)", "SUBJECT", "REASON")
WIDEST = 40  # characters of a column
COLOURS = {
    "sent": "green",
    "failed": "red",
    "expired": "red",
    "held": "magenta",
    "deferred": "yellow",
    "sending": "cyan",
}
WAITING = ("scheduled", "queued", "deferred")


def table(rows: Sequence[Sequence[str]], *, status_column: int | None = None) -> str:
    """Rows in aligned columns, statuses in colour."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        if status_column is not None:
            status = row[status_column]
            cells[status_column] = click.style(cells[status_column], fg=COLOURS.get(status))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def json_text(value: object) -> str:
    """JSON on several lines."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def json_line(value: object) -> str:
    """JSON on one line."""
    return msgspec.json.encode(value).decode()


def page_text(page: Resource, shown: Callable[[Sequence[Resource]], str], what: str) -> str:
    """One page of a list for a person, and where the next one begins. `what`: what it lists."""
    if not page["items"]:
        return f"no {what}"
    cursor = page["next_cursor"]
    return shown(page["items"]) + (f"\nmore: --cursor {cursor}" if cursor else "")


def confirm(question: str) -> None:
    """Ask a person. Raises Abort if the answer is no."""
    if not sys.stdin.isatty():
        raise click.UsageError(
            "There is no terminal to confirm at; give --yes to act without confirmation."
        )
    click.confirm(question, abort=True, err=True)


def message_table(messages: Sequence[Resource]) -> str:
    """One line for each message."""
    return table([COLUMNS, *map(_row, messages)], status_column=1)


def _row(message: Resource) -> tuple[str, ...]:
    to = [each["address"] for each in message["recipients"]]
    more = f" +{len(to) - 1}" if len(to) > 1 else ""
    cells = (
        f"{to[0] if to else ''}{more}",
        _time(message["created_at"]),
        message["subject"],
        message["reason"] or "",
    )
    return message["id"], message["status"], *map(_cell, cells)


def _cell(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= WIDEST else f"{shown[: WIDEST - 1]}…"


def _time(at: str) -> str:
    return at[:19].replace("T", " ")


def message_details(message: Resource) -> str:
    """One message: its status, its recipients, its history."""
    status = click.style(message["status"], fg=COLOURS.get(message["status"]))
    lines = [
        ("subject", message["subject"]),
        ("from", message["from"]),
        ("reason", message["reason"]),
        ("key", message["key"]),
        ("copy of", message["copy_of"]),
        ("due", _time(message["due_at"]) if message["status"] in WAITING else ""),
        *(
            (each["status"], f"{each['address']}  {each['reply']}")
            for each in message["recipients"]
        ),
        *((_time(each["at"]), f"{each['what']}  {each['detail']}") for each in message["timeline"]),
    ]
    shown = [f"{name:8}  {printable(text or '').rstrip()}" for name, text in lines if text]
    return "\n".join([f"{message['id']}  {status}", *shown])
