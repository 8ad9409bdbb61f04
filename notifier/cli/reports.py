"""`notifier reports add`: submit a mail that reports about messages to a running server."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from notifier.characters import printable
from notifier.cli.display import json_text
from notifier.cli.sources import asking, json_option
from notifier.errors import NotifierError

if TYPE_CHECKING:
    from notifier.cli.client import Client

LARGEST = 512 * 1024  # octets that are sent: the server reads no more
TAKEN_SECONDS = 30.0


class NotTaken(NotifierError):
    """The server did not take the report; the same mail should be brought again."""


@click.group()
def reports() -> None:
    """Submit reports of mail servers about messages that a relay took."""


@reports.command("add")
@asking
@json_option
def add(server: "Callable[[], Client]", as_json: bool) -> None:
    """
    Submit the mail on standard input to a running server.

    For an alias of Postfix: `bounces: "|notifier reports add"`. The exit code is 0 once the server
    has the mail, even if it is not a report, and 75 where the mail should be submitted again.
    """
    from notifier.cli.client import RequestFailed

    mail = sys.stdin.buffer.read(LARGEST)
    while sys.stdin.buffer.read(LARGEST):  # or the mail server that writes it fails
        pass
    try:
        taken = server().send("/v1/reports", mail, "message/rfc822", timeout=TAKEN_SECONDS)
    except RequestFailed as error:
        raise NotTaken(str(error)) from error
    click.echo(json_text(taken) if as_json else "\n".join(map(_line, taken["reports"])))


def _line(report: dict[str, Any]) -> str:
    later = report["later"] or {}
    words = (
        report["result"],
        report["message"],
        report["recipient"],
        later.get("state"),
        later.get("code"),
        later.get("text") or report["why"],
    )
    return printable(" ".join(each for each in words if each))
