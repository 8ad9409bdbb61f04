"""The commands of `notifier messages`; what they do is in `messages.py`."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from notifier.cli.options import config_option, json_option, key_option, server_url, url_option
from notifier.deliveries import Status
from notifier.settings import Settings

if TYPE_CHECKING:  # a healthcheck must not load it
    from notifier.cli.messages import Source


@click.group()
def messages() -> None:
    """Look at messages, try them again, call them off; also while no server runs."""


def _filters(command: Callable[..., None]) -> Callable[..., None]:
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
        click.option("--created-after", help="2026-12-24T18:00:00Z"),
        click.option("--created-before", help="2026-12-24T18:00:00Z"),
        click.option("--q", help="Words in subject, addresses, tags, reason."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@messages.command("list")
@config_option
@url_option
@key_option
@json_option
@_filters
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="`next_cursor` of the page before.")
def list_messages(
    config: Path | None, url: str | None, api_key: str | None, as_json: bool, **query: Any
) -> None:
    """Print messages, the newest first."""
    from notifier.cli.messages import listed

    source = _messages(config, url, api_key)
    click.echo(listed(source, _given(query), as_json=as_json))


@messages.command("show")
@config_option
@url_option
@key_option
@json_option
@click.argument("id")
def show_message(
    config: Path | None, url: str | None, api_key: str | None, as_json: bool, id: str
) -> None:
    """Print one message: its state, its recipients, what has happened."""
    from notifier.cli.messages import shown

    click.echo(shown(_messages(config, url, api_key).show(id), as_json=as_json))


def _acting(verb: str, help: str) -> None:
    @messages.command(verb, help=help)
    @config_option
    @url_option
    @key_option
    @json_option
    @_filters
    @click.option("--yes", is_flag=True, help="Do not ask whether all that match are meant.")
    @click.argument("ids", nargs=-1)
    def act(
        config: Path | None,
        url: str | None,
        api_key: str | None,
        as_json: bool,
        ids: Sequence[str],
        yes: bool,
        **query: Any,
    ) -> None:
        from notifier.cli.messages import acted, acted_on_all

        which = _given(query)
        if bool(ids) == bool(which):
            raise click.UsageError("Say which messages: by their ids, or by what they match.")
        if which and not yes and not sys.stdin.isatty():
            raise click.UsageError(
                "Nobody can be asked whether all that match are meant: say --yes."
            )
        source = _messages(config, url, api_key)
        if ids:
            for line in acted(source, verb, ids, as_json=as_json):
                click.echo(line)
        else:
            count = source.count(which)
            if count and not yes:
                _ask(verb, count)
            click.echo(acted_on_all(source, verb, which, count, as_json=as_json))


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


def _messages(config: Path | None, url: str | None, api_key: str | None) -> "Source":
    """Wherever messages can be seen; said on stderr, so that stdout is what was asked for."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.client import Client
    from notifier.cli.messages import source_of

    client = Client(url or server_url(settings), api_key=api_key)
    source = source_of(settings, client, named=url is not None)
    click.echo(f"notifier: {source.said}", err=True)
    return source
