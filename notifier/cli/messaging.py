"""The commands of `notifier messages`; what they do is in `messages.py`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from notifier.cli.options import config_option, json_option, key_option, server_url, url_option
from notifier.settings import Settings

if TYPE_CHECKING:  # a healthcheck must not load it
    from notifier.cli.messages import Source


@click.group()
def messages() -> None:
    """Look at messages, try them again, call them off; also while no server runs."""


@messages.command("list")
@config_option
@url_option
@key_option
@json_option
@click.option("--status", multiple=True, help="Such as failed; may be repeated.")
@click.option("--to", help="A recipient's whole address.")
@click.option("--reference", help="As the caller gave it.")
@click.option("--tag", help="One of its tags.")
@click.option("--relay", help="The relay of the last attempt.")
@click.option("--q", help="Words in subject, addresses, tags, reason.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="`next_cursor` of the page before.")
def list_messages(
    config: Path | None, url: str | None, api_key: str | None, as_json: bool, **query: Any
) -> None:
    """Print messages, the newest first."""
    from notifier.cli.messages import listed

    source = _messages(config, url, api_key)
    click.echo(listed(source, {k: v for k, v in query.items() if v}, as_json=as_json))


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
    @click.argument("ids", nargs=-1, required=True)
    def act(
        config: Path | None, url: str | None, api_key: str | None, as_json: bool, ids: Sequence[str]
    ) -> None:
        from notifier.cli.messages import acted

        for line in acted(_messages(config, url, api_key), verb, ids, as_json=as_json):
            click.echo(line)


_acting("retry", "Send again what failed or was held, to those who do not have it.")
_acting("cancel", "Call off messages that wait.")


def _messages(config: Path | None, url: str | None, api_key: str | None) -> "Source":
    """Wherever messages can be seen; said on stderr, so that stdout is what was asked for."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.client import Client
    from notifier.cli.messages import source_of

    client = Client(url or server_url(settings), api_key=api_key)
    source = source_of(settings, client, named=url is not None)
    click.echo(f"notifier: {source.said}", err=True)
    return source
