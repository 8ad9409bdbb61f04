"""`notifier recipients`: what is held of a person."""

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import click

from notifier.cli.sources import sourced
from notifier.settings import Settings

if TYPE_CHECKING:  # it loads half the service, and other commands must not
    from notifier.cli.client import Client
    from notifier.cli.recipient_sources import Source

Opening: TypeAlias = "Callable[[], Source]"


@click.group()
def recipients() -> None:
    """What is held of a person; works without a running server, too."""


def _source(settings: Settings, client: "Client", *, named: bool, offline: bool) -> "Source":
    from notifier.cli.recipient_sources import source_of

    return source_of(settings, client, named=named, offline=offline)


@recipients.command("export")
@sourced(_source)
@click.argument("address")
@click.argument("file", type=click.File("wb"), default="-")
def export(source: Opening, address: str, file: BinaryIO) -> None:
    """
    Write all that is held of the person with this ADDRESS or phone number to FILE, as JSON lines.
    Default: standard output.
    """
    source().export(address, file)
