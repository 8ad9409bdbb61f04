"""`notifier suppressions`: the list of recipients to whom nothing is sent."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import click

from notifier.characters import printable
from notifier.cli.display import (
    Resource,
    confirm,
    json_line,
    json_text,
    page_text,
    table,
)
from notifier.cli.sources import json_option, options, sourced
from notifier.errors import ConfigurationError, NotifierError

if TYPE_CHECKING:  # it loads half the service, and other commands must not
    from notifier.cli.suppression_sources import Source

Opening: TypeAlias = "Callable[[], Source]"
REASONS = ("bounce", "complaint", "manual")
COLUMNS = ("ADDRESS", "REASON", "KEY", "SINCE", "UNTIL", "SOURCE")


@click.group()
def suppressions() -> None:
    """List, add and remove suppressed recipients; works without a running server, too."""


_filters = options(
    click.option("--address", help="How the address begins."),
    click.option("--domain", help="The domain of the address."),
    click.option("--reason", type=click.Choice(REASONS)),
    click.option("--key", help="The name of the API key; - : the entries of all keys."),
)


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


@suppressions.command("list")
@sourced("suppression_sources")
@json_option
@_filters
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="The cursor at the end of the previous page.")
def list_suppressions(source: Opening, as_json: bool, **query: Any) -> None:
    """Print the entries, by address."""
    page = source().list(_given(query))
    click.echo(json_text(page) if as_json else page_text(page, _table, "suppressions"))


def _table(entries: Sequence[Resource]) -> str:
    return table([COLUMNS, *map(_row, entries)])


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    until = (entry["until"] or "")[:10]
    cells = entry["address"], entry["reason"], entry["key"] or "", entry["since"][:10], until
    return *map(printable, cells), printable(entry["source"])


@suppressions.command("add")
@sourced("suppression_sources")
@json_option
@click.argument("addresses", nargs=-1, required=True)
@click.option("--reason", type=click.Choice(REASONS), default="manual", show_default=True)
@click.option("--key", help="Only for messages of this API key. Default: of all.")
@click.option("--until", help="When it ends: 2027-01-31 or 2027-01-31T12:00:00Z. Default: never.")
@click.option("--source", "wanted_by", help="Who or what asked for it.")
def add(
    source: Opening,
    as_json: bool,
    addresses: Sequence[str],
    until: str | None,
    wanted_by: str | None,
    **given: Any,
) -> None:
    """Suppress ADDRESSES: a@x.org, @x.org for a whole domain, or +12025550123."""
    ends = None if until is None else _ending(until)
    place = source()
    for address in addresses:
        body = _given({"address": address, "until": ends, "source": wanted_by, **given})
        entry = place.add(body)
        click.echo(json_line(entry) if as_json else f"{entry['address']} suppressed")


def _ending(text: str) -> str:
    from notifier.keys import expiry

    try:
        return expiry(text).isoformat()
    except ConfigurationError as error:
        raise click.UsageError(f"--until: {str(error).removeprefix('expires: ')}") from None


@suppressions.command("remove")
@sourced("suppression_sources")
@json_option
@_filters
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("addresses", nargs=-1)
def remove(
    source: Opening, as_json: bool, addresses: Sequence[str], yes: bool, **query: Any
) -> None:
    """Delete the suppressions of ADDRESSES, or all that the options select."""
    which = _given(query)
    # The key of an address selects one of its entries; alone it selects all of the key's.
    if bool(addresses) == bool(which.keys() - ({"key"} if addresses else set())):
        raise click.UsageError("Give either addresses or options that select them.")
    if addresses:
        _remove(source(), addresses, which.get("key"), as_json=as_json)
        return
    if not yes:
        confirm("Delete all suppressions that match?")
    count = source().remove_all(which)
    click.echo(json_line({"count": count}) if as_json else f"{count} removed")


class NotDone(NotifierError):
    """Some addresses could not be taken off the list; says which, and why."""


def _remove(place: "Source", addresses: Sequence[str], key: str | None, *, as_json: bool) -> None:
    """Prints each address in a line of its own. Raises NotDone once all have been tried."""
    from notifier.cli.client import Refused
    from notifier.errors import Rejected

    failed = []
    for address in addresses:
        try:
            count = place.remove(address, key)
        except (Refused, Rejected) as error:
            failed.append(f"{address}: {error}")
        else:
            done = {"address": address, "count": count}
            click.echo(json_line(done) if as_json else f"{address} removed")
    if failed:
        raise NotDone("\n".join(failed))


@suppressions.command("import")
@sourced("suppression_sources")
@json_option
@click.argument("file", type=click.File("rb"))
def take_csv(source: Opening, as_json: bool, file: BinaryIO) -> None:
    """
    Import the addresses of a CSV FILE (`-` reads standard input): as `export` writes it, or one
    address a line. All lines are imported, or none if one is wrong.
    """
    content = file.read()
    count = source().take_csv(content)
    click.echo(json_line({"count": count}) if as_json else f"{count} imported")


@suppressions.command("export")
@sourced("suppression_sources")
@_filters
@click.argument("file", type=click.File("wb"), default="-")
def write_csv(source: Opening, file: BinaryIO, **query: Any) -> None:
    """Write the suppressions to a CSV FILE. Default: standard output."""
    source().write_csv(_given(query), file)
