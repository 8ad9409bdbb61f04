"""
Options that several commands have. They say where a command works: with a running server, or
without one in the journal itself.
"""

import functools
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click
import msgspec

from notifier.cli.display import Resource
from notifier.errors import Rejected
from notifier.settings import Settings

if TYPE_CHECKING:  # it loads the HTTP client, and other commands must not
    from notifier.cli.client import Client


T = TypeVar("T")
S = TypeVar("S", bound="AtServer")
J = TypeVar("J", bound="InJournal")
Command: TypeAlias = Callable[..., None]


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of settings. Default: NOTIFIER_CONFIG.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
url_option = click.option("--url", help="URL of the server. Default: from the settings.")
key_option = click.option(
    "--api-key",
    envvar="NOTIFIER_API_KEY",
    help="API key, or @FILE that holds it. Default: NOTIFIER_API_KEY, which `ps` does not show.",
)


def server_url(settings: Settings) -> str:
    """Where a server with these settings can be reached from here."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on
    host = anywhere.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def asking(command: Command) -> Command:
    """Adds the options that say which server is asked; the command calls `server` to reach it."""

    @config_option
    @url_option
    @key_option
    @functools.wraps(command)
    def with_server(
        config: Path | None, url: str | None, api_key: str | None, **given: Any
    ) -> None:
        def server() -> "Client":
            from notifier.cli.client import Client

            settings = Settings.read(os.environ, config=config)
            return Client(url or server_url(settings), api_key=api_key)

        command(server=server, **given)

    return with_server


def options(*added: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Adds these options and arguments."""

    def decorated(command: Command) -> Command:
        for each in reversed(added):
            command = each(command)
        return command

    return decorated


class AtServer:
    """A source that asks a running server. Raises RequestFailed."""

    def __init__(self, client: "Client") -> None:
        self.name = f"from the server at {client.url}"
        self._client = client


class InJournal:
    """A source in a journal that no server has open. Raises JournalInUse, Rejected."""

    def __init__(self, settings: Settings, why: str) -> None:
        self.name = f"from the journal in {settings.data_dir}: {why}"
        self._settings = settings


def sourced(module: str) -> Callable[[Command], Command]:
    """
    Adds the options that say where things are; the command calls `source` to open it. The module
    of this package has both places: ByHttp and ByJournal. It loads half the service.
    """

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

            def source() -> AtServer | InJournal:
                settings = Settings.read(os.environ, config=config)
                places = import_module(f"notifier.cli.{module}")
                kinds: tuple[type[AtServer], type[InJournal]] = places.ByHttp, places.ByJournal
                return open_source(*kinds, settings, url, api_key, offline=offline)

            command(source=source, **given)

        return with_source

    return decorated


def open_source(
    by_http: type[S],
    by_journal: type[J],
    settings: Settings,
    url: str | None,
    api_key: str | None,
    *,
    offline: bool,
) -> S | J:
    """
    The server if it runs or its URL was given, else the journal. It is named on stderr: stdout
    holds the result alone. Raises RequestFailed.
    """
    from notifier.cli.client import Client

    client = Client(url or server_url(settings), api_key=api_key)
    why = _why_journal(settings, client, named=url is not None, offline=offline)
    source: S | J = by_http(client) if why is None else by_journal(settings, why)
    click.echo(f"notifier: {source.name}", err=True)
    return source


def converted(given: Mapping[str, Any], kind: type[T]) -> T:
    """What was given, as the API's queries and bodies have it. Raises Rejected."""
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Rejected(str(error)) from None


def builtins(value: msgspec.Struct) -> Resource:
    """A resource of the API as a server's answer has it."""
    found: Resource = msgspec.to_builtins(value)
    return found


def _why_journal(settings: Settings, client: "Client", *, named: bool, offline: bool) -> str | None:
    """
    Why the journal is used; None: the server is, because it runs or its URL was given. Raises
    RequestFailed if there is neither.
    """
    from notifier.cli.client import RequestFailed
    from notifier.journal import journal_exists

    if named or (not offline and client.is_alive()):
        return None
    why = "--offline was given" if offline else f"no server answers at {client.url}"
    if not journal_exists(settings.journal, data_dir=settings.data_dir):
        raise RequestFailed(f"{why}, and there is no journal in {settings.data_dir}")
    return why
