"""The commands of `notifier messages`; what they do is in `messages.py`."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from notifier.cli.options import config_option, json_option, key_option, server_url, url_option
from notifier.deliveries import Status
from notifier.settings import Settings

if TYPE_CHECKING:  # nobody else must load it
    from notifier.cli.messages import Source

Command: TypeAlias = Callable[..., None]
Opening: TypeAlias = "Callable[[], Source]"


@click.group()
def messages() -> None:
    """Look at messages, try them again, call them off; also while no server runs."""


def _sourced(command: Command) -> Command:
    """With options that say where messages are; the command opens `source` when it wants them."""

    @config_option
    @url_option
    @key_option
    @click.option(
        "--offline",
        is_flag=True,
        help="Open the journal that the settings name, and ask no server.",
    )
    @functools.wraps(command)
    def sourced(
        config: Path | None, url: str | None, api_key: str | None, offline: bool, **given: Any
    ) -> None:
        if offline and url is not None:
            raise click.UsageError("--offline and --url contradict one another.")
        command(source=lambda: _source(config, url, api_key, offline=offline), **given)

    return sourced


def _source(
    config: Path | None, url: str | None, api_key: str | None, *, offline: bool
) -> "Source":
    """Wherever messages can be seen; said on stderr, so that stdout is what was asked for."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.client import Client
    from notifier.cli.messages import source_of

    client = Client(url or server_url(settings), api_key=api_key)
    source = source_of(settings, client, named=url is not None, offline=offline)
    click.echo(f"notifier: {source.said}", err=True)
    return source


def _filters(command: Command) -> Command:
    """Options that say which messages."""
    options = [
        click.option(
            "--status",
            type=click.Choice([status.value for status in Status]),
            multiple=True,
            help="May be repeated.",
        ),
        click.option("--to", help="A recipient's whole address."),
        click.option("--reference", help="As the caller gave it."),
        click.option("--tag", help="One of its tags."),
        click.option("--relay", help="The relay of the last attempt."),
        click.option("--key", help="The name of the API key that sent it."),
        click.option("--created-after", help="2026-12-24T18:00:00Z"),
        click.option("--created-before", help="2026-12-24T18:00:00Z"),
        click.option("--q", help="Words in subject, addresses, tags, reason."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@messages.command("list")
@_sourced
@json_option
@_filters
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="`next_cursor` of the page before.")
def list_messages(source: Opening, as_json: bool, **query: Any) -> None:
    """Print messages, the newest first."""
    from notifier.cli.messages import listed

    click.echo(listed(source(), _given(query), as_json=as_json))


@messages.command("show")
@_sourced
@json_option
@click.argument("id")
def show_message(source: Opening, as_json: bool, id: str) -> None:
    """Print one message: its state, its recipients, what has happened."""
    from notifier.cli.messages import shown

    click.echo(shown(source().show(id), as_json=as_json))


def _acting(verb: str, help: str) -> None:
    @messages.command(verb, help=help)
    @_sourced
    @json_option
    @_filters
    @click.option("--yes", is_flag=True, help="Do not ask whether all that match are meant.")
    @click.argument("ids", nargs=-1)
    def act(source: Opening, as_json: bool, ids: Sequence[str], yes: bool, **query: Any) -> None:
        from notifier.cli.messages import acted, acted_on_all

        which = _given(query)
        if bool(ids) == bool(which):
            raise click.UsageError("Say which messages: by their ids, or by what they match.")
        if which and not yes and not sys.stdin.isatty():
            raise click.UsageError(
                "Nobody can be asked whether all that match are meant: say --yes."
            )
        opened = source()
        if ids:
            for line in acted(opened, verb, ids, as_json=as_json):
                click.echo(line)
        else:
            count = opened.count(which)
            if count and not yes:
                _ask(verb, count)
            click.echo(acted_on_all(opened, verb, which, count, as_json=as_json))


def _ask(verb: str, count: int) -> None:
    """Raises Abort where they are not meant."""
    from notifier.cli.messages import MOST_COUNTED

    many = f"{count:,}" if count <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"
    click.confirm(f"{many} messages match. {verb.capitalize()} them?", abort=True, err=True)


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value}


_acting(
    "retry",
    "Send again what failed or was held, to those who do not have it. Say which by IDS or options.",
)
_acting("cancel", "Call off messages that wait. Say which by IDS or options.")
