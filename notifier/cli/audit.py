"""`notifier audit`: who did what."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import click

from notifier.characters import printable
from notifier.cli.display import Resource, json_text, page_text, table
from notifier.cli.sources import json_option, sourced

if TYPE_CHECKING:  # it loads half the service, and other commands must not
    from notifier.cli.audit_sources import Source

Opening: TypeAlias = "Callable[[], Source]"
COLUMNS = ("AT (UTC)", "BY", "WHAT", "COUNT", "ON", "DETAIL")
WIDEST = 120  # characters of a detail; --json has all of it
A_DAY = len("2027-01-31")


@click.command()
@sourced("audit_sources")
@json_option
@click.option("--by", help="Who: key:NAME, monitor:NAME, cli:USER, anonymous.")
@click.option("--what", help="What was done: cancel, pause-queue, sign-in-refused ...")
@click.option("--since", help="2027-01-31 or 2027-01-31T12:00:00Z")
@click.option("--limit", type=click.IntRange(1, 200), help="Records of a page. Default: 50.")
@click.option("--cursor", help="The cursor at the end of the previous page.")
@click.option(
    "--export",
    type=click.File("wb"),
    help="Write all that match to this file as JSON lines; `-` is standard output.",
)
def audit(
    source: Opening, as_json: bool, since: str | None, export: BinaryIO | None, **given: Any
) -> None:
    """Print who did what, the newest first; works without a running server, too."""
    if since is not None and len(since) == A_DAY:
        since = f"{since}T00:00:00Z"
    query = {name: value for name, value in {**given, "since": since}.items() if value is not None}
    if export is not None:
        if as_json or query.keys() & {"limit", "cursor"}:
            raise click.UsageError(
                "--export writes all records that match; do not combine it with --json or pages."
            )
        source().export(query, export)
        return
    page = source().list(query)
    click.echo(json_text(page) if as_json else page_text(page, _table, "records"))


def _table(records: Sequence[Resource]) -> str:
    return table([COLUMNS, *map(_row, records)])


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    at = record["at"][:19].replace("T", " ")
    count = str(record["count"])
    detail = record["detail"]
    if len(detail) > WIDEST:
        detail = f"{detail[: WIDEST - 1]}…"
    said = at, record["by"], record["what"], count, record["on"], detail
    return tuple(map(printable, said))
