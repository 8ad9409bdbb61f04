"""
Commands that work with a running server, and without one in the journal itself: the options that
say where, and which of the two it is.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import click

from notifier.cli.options import config_option, key_option, server_url, url_option
from notifier.settings import Settings

if TYPE_CHECKING:  # it loads the HTTP client, and other commands must not
    from notifier.cli.client import Client

Command: TypeAlias = Callable[..., None]


class Named(Protocol):
    """A source, and its name for people."""

    @property
    def name(self) -> str: ...


class Place(Protocol):
    """Opens a source: `named` with a server's URL by the caller, or `offline` by its wish."""

    def __call__(
        self, settings: Settings, client: "Client", *, named: bool, offline: bool
    ) -> Named: ...


def sourced(opened: Place) -> Callable[[Command], Command]:
    """Adds the options that say where things are; the command calls `source` to open it."""

    def decorated(command: Command) -> Command:
        @config_option
        @url_option
        @key_option
        @click.option(
            "--offline",
            is_flag=True,
            help="Use the journal that the settings name; do not ask a server.",
        )
        @functools.wraps(command)
        def with_source(
            config: Path | None, url: str | None, api_key: str | None, offline: bool, **given: Any
        ) -> None:
            if offline and url is not None:
                raise click.UsageError("--offline and --url exclude each other.")
            command(source=lambda: _open(opened, config, url, api_key, offline=offline), **given)

        return with_source

    return decorated


def _open(
    opened: Place, config: Path | None, url: str | None, api_key: str | None, *, offline: bool
) -> Named:
    """The source, named on stderr: stdout holds the result alone."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.client import Client

    client = Client(url or server_url(settings), api_key=api_key)
    source = opened(settings, client, named=url is not None, offline=offline)
    click.echo(f"notifier: {source.name}", err=True)
    return source


def why_journal(settings: Settings, client: "Client", *, named: bool, offline: bool) -> str | None:
    """
    Why the journal is to be asked; None: the server is, because it runs or its URL was given.
    Raises RequestFailed where there is neither.
    """
    from notifier.cli.client import RequestFailed
    from notifier.journal import journal_exists

    if named or (not offline and client.is_alive()):
        return None
    why = "--offline was given" if offline else f"no server answers at {client.url}"
    if not journal_exists(settings.journal, data_dir=settings.data_dir):
        raise RequestFailed(f"{why}, and there is no journal in {settings.data_dir}")
    return why
