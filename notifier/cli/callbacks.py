"""`notifier callbacks`: how applications are told what came of their messages."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from notifier.cli.display import json_text, printable, table
from notifier.cli.options import config_option, json_option, key_option, server_url, url_option
from notifier.settings import Settings

if TYPE_CHECKING:
    from notifier.cli.client import Client

TEST_SECONDS = 30.0  # longer than the server waits for an application
COLUMNS = ("KEY", "STATE", "WAITING", "OLDEST", "LAST ANSWER", "URL")


@click.group()
def callbacks() -> None:
    """Tell applications what came of their messages; asks a running server."""


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say which server is asked."""
    for option in (json_option, key_option, url_option, config_option):
        command = option(command)
    return command


def _client(config: Path | None, url: str | None, api_key: str | None) -> "Client":
    from notifier.cli.client import Client

    return Client(url or server_url(Settings.read(os.environ, config=config)), api_key=api_key)


def _path(key: str, verb: str) -> str:
    return f"/v1/callbacks/{quote(key, safe='')}/{verb}"


@callbacks.command("list")
@_asking
def list_callbacks(
    config: Path | None, url: str | None, api_key: str | None, *, as_json: bool
) -> None:
    """Print the state of each callback, what waits, and the last answer."""
    items = _client(config, url, api_key).get("/v1/callbacks")["items"]
    if as_json:
        click.echo(json_text(items))
    elif items:
        click.echo(table([COLUMNS, *map(_row, items)]))
    else:
        click.echo("no key has a callback; write a table [keys.NAME.callback] into the keys file")


@callbacks.command()
@click.argument("key")
@_asking
def test(
    key: str, config: Path | None, url: str | None, api_key: str | None, *, as_json: bool
) -> None:
    """Send a test to the application of KEY. The exit code is 1 if it does not answer with 2xx."""
    client = _client(config, url, api_key)
    answer = client.post(_path(key, "test"), timeout=TEST_SECONDS)
    said = f"{answer['code'] or 'no answer'}: {answer['reply']}".rstrip(": ")
    click.echo(json_text(answer) if as_json else printable(f"{said} ({answer['seconds']:.3f} s)"))
    if not answer["ok"]:
        raise click.exceptions.Exit(1)


@callbacks.command()
@click.argument("key")
@click.option("--since", required=True, help="2026-12-24T18:00:00Z")
@_asking
def replay(
    key: str,
    since: str,
    config: Path | None,
    url: str | None,
    api_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Tell the application of KEY again what happened since then."""
    path = f"{_path(key, 'replay')}?{urlencode({'since': since})}"
    answer = _client(config, url, api_key).post(path)
    click.echo(json_text(answer) if as_json else f"{answer['count']} callbacks are sent again")


@callbacks.command()
@click.argument("key")
@_asking
def resume(
    key: str, config: Path | None, url: str | None, api_key: str | None, *, as_json: bool
) -> None:
    """Send again what waits for the application of KEY."""
    answer = _client(config, url, api_key).post(_path(key, "resume"))
    click.echo(json_text(answer) if as_json else f"{key}: {answer['waiting']} callbacks are sent")


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    last = item["last_answers"][:1]
    said = "".join(f"{each['code'] or ''} {each['reply']}".strip()[:40] for each in last)
    return (
        item["key"],
        item["state"],
        str(item["waiting"]),
        (item["oldest_waiting_at"] or "-")[:19],
        said or "-",
        item["url"],
    )
