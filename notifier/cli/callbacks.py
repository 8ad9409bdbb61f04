"""`notifier callbacks`: the callbacks to applications, on a running server."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlencode

import click

from notifier.characters import printable
from notifier.cli.display import json_text, table
from notifier.cli.sources import asking, json_option

if TYPE_CHECKING:
    from notifier.cli.client import Client

Opening: TypeAlias = "Callable[[], Client]"
TEST_SECONDS = 30.0  # longer than the server waits for an application
COLUMNS = ("KEY", "STATE", "WAITING", "OLDEST", "LAST ANSWER", "URL")


@click.group()
def callbacks() -> None:
    """List, test, replay and resume callbacks, on a running server."""


def _path(key: str, verb: str) -> str:
    return f"/v1/callbacks/{quote(key, safe='')}/{verb}"


@callbacks.command("list")
@asking
@json_option
def list_callbacks(server: Opening, *, as_json: bool) -> None:
    """Print the state of each callback, how many wait, and the last answer."""
    items = server().get("/v1/callbacks")["items"]
    if as_json:
        click.echo(json_text(items))
    elif items:
        click.echo(table([COLUMNS, *map(_row, items)]))
    else:
        click.echo("no key has a callback; write a table [keys.NAME.callback] into the keys file")


@callbacks.command()
@click.argument("key")
@asking
@json_option
def test(server: Opening, key: str, *, as_json: bool) -> None:
    """Send a test to the application of KEY. The exit code is 1 if it does not answer with 2xx."""
    answer = server().post(_path(key, "test"), timeout=TEST_SECONDS)
    said = f"{answer['code'] or 'no answer'}: {answer['reply']}".rstrip(": ")
    click.echo(json_text(answer) if as_json else printable(f"{said} ({answer['seconds']:.3f} s)"))
    if not answer["ok"]:
        raise click.exceptions.Exit(1)


@callbacks.command()
@click.argument("key")
@click.option("--since", required=True, help="2026-12-24T18:00:00Z")
@asking
@json_option
def replay(server: Opening, key: str, since: str, *, as_json: bool) -> None:
    """Send the newest event since that time of each message of KEY again."""
    path = f"{_path(key, 'replay')}?{urlencode({'since': since})}"
    answer = server().post(path)
    click.echo(json_text(answer) if as_json else f"{answer['count']} callbacks are sent again")


@callbacks.command()
@click.argument("key")
@asking
@json_option
def resume(server: Opening, key: str, *, as_json: bool) -> None:
    """Resume the callbacks of KEY; those that wait are sent now."""
    answer = server().post(_path(key, "resume"))
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
