"""Messages as a person at a terminal reads them: a table, and the story of one."""

from collections.abc import Sequence
from typing import Any

import click

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


def table(messages: Sequence[Resource]) -> str:
    """A line each; a terminal shows the state in colour."""
    rows = [COLUMNS, *map(_row, messages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


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


def printable(text: str) -> str:
    """Nobody's words may move the cursor, or begin a line of their own."""
    return "".join(each if each.isprintable() else " " for each in text)


def _time(at: str) -> str:
    return at[:19].replace("T", " ")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
    cells[1] = click.style(cells[1], fg=COLOURS.get(row[1]))
    return "  ".join(cells).rstrip()


def story(message: Resource) -> str:
    """One message in lines: where it is, for whom, and what has happened."""
    status = click.style(message["status"], fg=COLOURS.get(message["status"]))
    lines = [
        ("subject", message["subject"]),
        ("from", message["from"]),
        ("reason", message["reason"]),
        ("due", _time(message["due_at"]) if message["status"] in WAITING else ""),
        *(
            (each["status"], f"{each['address']}  {each['reply']}")
            for each in message["recipients"]
        ),
        *((_time(each["at"]), f"{each['what']}  {each['detail']}") for each in message["timeline"]),
    ]
    told = [f"{name:8}  {printable(text or '').rstrip()}" for name, text in lines if text]
    return "\n".join([f"{message['id']}  {status}", *told])
