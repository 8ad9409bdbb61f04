"""`notifier recipients`: export and erase the data of a person."""

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import click

from notifier.characters import printable
from notifier.cli.display import Resource, confirm, json_text
from notifier.cli.progress import with_spinner
from notifier.cli.sources import json_option, sourced

if TYPE_CHECKING:  # it loads half the service, and other commands must not
    from notifier.cli.recipient_sources import Source

Opening: TypeAlias = "Callable[[], Source]"


@click.group()
def recipients() -> None:
    """Export or erase the data of a person; works without a running server, too."""


@recipients.command("export")
@sourced("recipient_sources")
@click.argument("address")
@click.argument("file", type=click.File("wb"), default="-")
def export(source: Opening, address: str, file: BinaryIO) -> None:
    """
    Write all data of the person with this ADDRESS or phone number to FILE, as JSON lines. Default:
    standard output.
    """
    source().export(address, file)


@recipients.command("erase")
@sourced("recipient_sources")
@json_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("address")
def erase(source: Opening, as_json: bool, address: str, yes: bool) -> None:
    """
    Erase the person with this ADDRESS or phone number: contents of messages are deleted, waiting
    messages are cancelled, and a pseudonym replaces the address.
    """
    if not yes:
        confirm(f"Erase all that is held of {printable(address)}? This cannot be undone.")
    place = source()
    erasure = with_spinner("erasing", lambda: place.erase(address))
    click.echo(json_text(erasure) if as_json else _summary(erasure))


def _summary(erasure: Resource) -> str:
    counts = [f"{count} {name.replace('_', ' ')}" for name, count in erasure["counts"].items()]
    lines = [f"{erasure['erased']}  {erasure['state']}", ", ".join(counts) or "nothing was found"]
    if waits := erasure["waiting_for"]:
        lines.append(
            f"{waits} messages are still being sent, or go to other recipients; their "
            "content is wiped when they end"
        )
    lines.append("not reached:")
    lines += [f"  {each}" for each in erasure["not_reached"]]
    return "\n".join(lines)
