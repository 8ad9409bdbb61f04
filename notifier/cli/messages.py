"""`notifier messages`: list, show, retry, cancel, settle and copy messages."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from notifier.cli.display import json_line, json_text, message_details, message_table, page_text
from notifier.cli.sources import asking, json_option, options, sourced
from notifier.deliveries import Status
from notifier.errors import NotifierError, Rejected

if TYPE_CHECKING:  # they load half the service, and other commands must not
    from notifier.cli.client import Client
    from notifier.cli.message_sources import Act, Source

PAST = {"retry": "retried", "cancel": "cancelled", "settle": "settled"}

Opening: TypeAlias = "Callable[[], Source]"


@click.group()
def messages() -> None:
    """List, show, retry, cancel, settle and copy messages; works without a running server, too."""


_filters = options(
    click.option(
        "--status",
        type=click.Choice([status.value for status in Status]),
        multiple=True,
        help="May be repeated.",
    ),
    click.option("--to", help="The whole address of a recipient."),
    click.option("--reference", help="The `reference` that the caller gave."),
    click.option("--tag", help="One of the message's tags."),
    click.option("--relay", help="The relay of the last attempt."),
    click.option("--key", help="The name of the API key that sent the message."),
    click.option("--reason", help="The whole reason of the status, such as storm."),
    click.option(
        "--bounced",
        flag_value="true",
        help="Only messages that a recipient's server returned after a relay took them.",
    ),
    click.option("--created-after", help="2026-12-24T18:00:00Z"),
    click.option("--created-before", help="2026-12-24T18:00:00Z"),
    click.option("--q", help="Words that all occur in subject, addresses, tags or reason."),
)


@messages.command("list")
@sourced("message_sources")
@json_option
@_filters
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="The cursor at the end of the previous page.")
def list_messages(source: Opening, as_json: bool, **query: Any) -> None:
    """Print messages, newest first."""
    page = source().list(_given(query))
    click.echo(json_text(page) if as_json else page_text(page, message_table, "messages"))


@messages.command("show")
@sourced("message_sources")
@json_option
@click.argument("id")
def show_message(source: Opening, as_json: bool, id: str) -> None:
    """Print one message: its status, its recipients, its history."""
    message = source().show(id)
    click.echo(json_text(message) if as_json else message_details(message))


class NotDone(NotifierError):
    """Some messages could not be changed; says which, and why."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("\n".join(f"{id}: {reason}" for id, reason in reasons.items()))


# To act on messages: those of these ids, or all that the options select.
_selected = options(
    sourced("message_sources"),
    json_option,
    _filters,
    click.option("--yes", is_flag=True, help="Do not ask for confirmation."),
    click.argument("ids", nargs=-1),
)


def _changing(verb: str, help: str) -> None:
    @messages.command(verb, help=help)
    @_selected
    def change(**given: Any) -> None:
        from notifier.cli.message_sources import Act

        _act(Act(verb), **given)


def _act(
    act: "Act", *, source: Opening, as_json: bool, ids: Sequence[str], yes: bool, **query: Any
) -> None:
    which = _given(query)
    if bool(ids) == bool(which):
        raise click.UsageError("Give either the ids of messages or options that select them.")
    if which and not yes and not sys.stdin.isatty():
        raise click.UsageError(
            "There is no terminal to confirm at; give --yes to act without confirmation."
        )
    if ids:
        _change(source(), act, ids, as_json=as_json)
    else:
        _change_all(source(), act, which, yes=yes, as_json=as_json)


def _change(source: "Source", act: "Act", ids: Sequence[str], *, as_json: bool) -> None:
    """Prints each message in a line of its own. Raises NotDone once all have been tried."""
    from notifier.cli.client import Refused

    failed = {}
    for id in ids:
        try:
            message = source.act(act, id)
        except (Refused, Rejected) as error:
            failed[id] = str(error)
        else:
            click.echo(json_line(message) if as_json else f"{message['id']} {message['status']}")
    if failed:
        raise NotDone(failed)


def _change_all(
    source: "Source", act: "Act", which: dict[str, Any], *, yes: bool, as_json: bool
) -> None:
    """Asks first, unless `yes`. Raises Abort if the answer is no."""
    from notifier.cli.message_sources import MOST_COUNTED

    count = source.count(which)
    if count and not yes:
        many = f"{count:,}" if count <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"
        click.confirm(f"{many} messages match. {act.verb.capitalize()} them?", abort=True, err=True)
    changed = source.act_all(act, which, count)
    click.echo(json_line({"count": changed}) if as_json else f"{changed} {PAST[act.verb]}")


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value}


_changing(
    "retry",
    "Send failed or held messages again to the recipients that do not have them. Select by IDS or"
    " options.",
)
_changing("cancel", "Cancel waiting messages. Select by IDS or options.")


@messages.command("settle")
@_selected
@click.option(
    "--as",
    "outcome",
    type=click.Choice(["sent", "failed"]),
    required=True,
    help="sent: a relay has it. failed: it never arrived.",
)
@click.option("--why", default="", help="How it is known; kept in the message's timeline.")
def settle_messages(outcome: str, why: str, **given: Any) -> None:
    """Say whether held or uncertain messages were sent or failed. Select by IDS or options."""
    from notifier.cli.message_sources import Act
    from notifier.settling import SettledAs, Settlement

    _act(Act("settle", Settlement(SettledAs(outcome), why)), **given)


@messages.command("copy")
@asking
@json_option
@click.argument("id")
@click.option("--to", multiple=True, required=True, help="Address; may be repeated.")
def copy_message(server: "Callable[[], Client]", as_json: bool, id: str, to: Sequence[str]) -> None:
    """Send the same content to other recipients, through a running server."""
    copy = server().post(f"/v1/messages/{id}/copies", {"to": list(to)})
    click.echo(json_line(copy) if as_json else f"{copy['id']} {copy['status']}")
