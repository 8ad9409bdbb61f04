"""
The command line. A command imports what it needs when it runs: a healthcheck every few seconds
must not load a web framework.

`audit`, `callbacks`, `check`, `keys`, `messages`, `recipients`, `reports`, `send` and
`suppressions` are commands of these names; `journal` holds `backup` and `prune`, and `key_messages`
cancels for `keys revoke`. `message_sources` is where `messages` finds messages,
`suppression_sources` where `suppressions` finds the list, `audit_sources` where `audit` finds the
records, `recipient_sources` where `recipients` finds what is held of a person; `sources` chooses
between the server and the journal for all of them, and has the options of several commands.
`client` calls a running server. `display` and `progress` write to the terminal.
"""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from notifier import __version__
from notifier.characters import printable
from notifier.cli.audit import audit
from notifier.cli.callbacks import callbacks
from notifier.cli.messages import messages
from notifier.cli.recipients import recipients
from notifier.cli.reports import NotTaken, reports
from notifier.cli.sources import config_option, json_option, key_option, server_url, url_option
from notifier.cli.suppressions import suppressions
from notifier.errors import (
    ConfigurationError,
    JournalFailure,
    JournalInUse,
    NotifierError,
)
from notifier.settings import Settings

# 74 is EX_IOERR and 75 EX_TEMPFAIL of sysexits.h.
EXIT_CODES = {ConfigurationError: 2, JournalFailure: 74, JournalInUse: 75, NotTaken: 75}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="notifier", message="%(prog)s %(version)s")
def cli() -> None:
    """Accept messages over HTTP and deliver them by mail. `notifier config` prints the settings."""


@cli.command()
@config_option
@click.option("--host", help="Address to listen on, instead of NOTIFIER_HOST.")
@click.option("--port", help="Port to listen on, instead of NOTIFIER_PORT.")
def serve(config: Path | None, host: str | None, port: str | None) -> None:
    """Run the service until SIGTERM."""
    # Until the service has its own handler there is nothing to finish. An exception would not do:
    # a module that is being imported might swallow it.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    given = {"NOTIFIER_HOST": host, "NOTIFIER_PORT": port}
    environ = {**os.environ, **{name: text for name, text in given.items() if text is not None}}
    gc.disable()  # nearly all that imports make stays; `process` enables it again
    from notifier.server.imports import hidden, postponed

    # structlog and Litestar load it for tracebacks in colour, which we do not write: 4 MB, 40 ms.
    # Litestar writes OpenAPI documents with yaml, and ours is not Litestar's: 1 MB, 12 ms.
    with hidden("rich"), postponed("yaml"):
        settings = Settings.read(environ, config=config, further=_further_faults)
        from notifier.server.process import serve

    serve(settings)


def _further_faults(settings: Settings) -> Sequence[str]:
    """What else keeps these settings from being served, so that one start names every fault."""
    from notifier.server.process import faults_of

    return faults_of(settings)


@cli.command()
@config_option
def config(config: Path | None) -> None:
    """Print the settings in force, without secrets."""
    for name, text in Settings.read(os.environ, config=config).describe():
        click.echo(f"{name}={text}")


@cli.command()
@config_option
@url_option
@click.option("--timeout", default=3.0, show_default=True, help="Seconds.")
def healthcheck(config: Path | None, url: str | None, timeout: float) -> None:
    """Exit with 0 if a running server accepts messages. For containers without curl."""
    from notifier.cli.client import Client

    client = Client(url or server_url(Settings.read(os.environ, config=config)), timeout=timeout)
    client.require_ready()
    click.echo("ready")


@cli.command()
@config_option
@click.option("--to", multiple=True, required=True, help="Address of a recipient; may be repeated.")
@click.option("--cc", multiple=True, help="Address of a recipient of a copy; may be repeated.")
@click.option("--from", "sender", help="Sender. Default: NOTIFIER_DEFAULT_FROM of the server.")
@click.option("--subject", default="", help="Subject.")
@click.option("--text", help="Plain text; `-` reads standard input.")
@click.option("--html", type=click.File(encoding="utf-8"), help="File with the HTML.")
@click.option(
    "--attach", multiple=True, type=click.File("rb"), help="File to attach; may be repeated."
)
@click.option("--wait", type=click.IntRange(min=1), help="Seconds to wait for the outcome.")
@url_option
@key_option
def send(config: Path | None, url: str | None, api_key: str | None, **given: Any) -> None:
    """Send a message through a running server."""
    from notifier.cli.client import Client
    from notifier.cli.send import send

    client = Client(url or server_url(Settings.read(os.environ, config=config)), api_key=api_key)
    click.echo(printable(send(client, **given)))


@cli.command()
@config_option
@json_option
def check(config: Path | None, as_json: bool) -> None:
    """Connect to each relay; print what is wrong and what to do about it."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.check import check

    check(settings, say=click.echo, as_json=as_json)


@cli.group()
def keys() -> None:
    """Make, list and revoke API keys. A running server applies changes within a second."""


@keys.command("add")
@config_option
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["send", "sms", "read", "manage", "report"]),
    help="What the key may do; may be repeated. `send` includes `sms` (text messages) unless there"
    " is a --sender. Default: send.",
)
@click.option(
    "--sender",
    "senders",
    multiple=True,
    help="Address it may send from: a@x.org or @x.org; may be repeated. Default: any.",
)
@click.option(
    "--recipient-domain",
    "recipient_domains",
    multiple=True,
    help="Domain it may send to; may be repeated. Default: any.",
)
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    help="Address a team key may send to: a@x.org or @x.org; may be repeated.",
)
@click.option(
    "--country",
    "countries",
    multiple=True,
    help="Country it may text to, such as US; may be repeated. Default: any.",
)
@click.option(
    "--kind",
    type=click.Choice(["live", "team", "test"]),
    default="live",
    show_default=True,
    help="team: sends to --recipient only; test: sends to the simulator only, nothing leaves.",
)
@click.option("--rate", type=int, help="Recipients (of texts: segments) a minute.")
@click.option("--daily", type=int, help="Recipients (of texts: segments) a day.")
@click.option(
    "--per-recipient",
    help="Most messages to one recipient, such as 20/h. Default: NOTIFIER_PER_RECIPIENT.",
)
@click.option(
    "--return-path",
    help=(
        "Address to which its mail is reported, such as bounces+*@example.org. Default: "
        "NOTIFIER_RETURN_PATH."
    ),
)
@click.option("--expires", help="When the key expires: 2027-01-31 or 2027-01-31T12:00:00Z.")
@json_option
def add_key(config: Path | None, as_json: bool, **terms: Any) -> None:
    """Make a key called NAME and print it. It is shown only this once."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.keys import add, made

    key, secret = add(settings, **terms)
    click.echo(made(key, secret) if as_json else secret)
    if not as_json:  # on stderr: stdout holds the key alone
        click.echo(
            f"notifier: made the key {key.name}; store it now, because it is not shown again",
            err=True,
        )


@keys.command("list")
@config_option
@json_option
def list_keys(config: Path | None, as_json: bool) -> None:
    """Print what each key may do. The secrets of the keys are not stored."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.keys import key_table, listed

    click.echo(listed(settings) if as_json else key_table(settings))


@keys.command("revoke")
@config_option
@click.argument("name")
@json_option
@click.option("--cancel", is_flag=True, help="Cancel the messages of the key that wait, too.")
@url_option
@key_option
@click.option("--offline", is_flag=True, help="Cancel in the journal; do not ask a server.")
def revoke_key(
    config: Path | None,
    as_json: bool,
    name: str,
    cancel: bool,
    url: str | None,
    api_key: str | None,
    offline: bool,
) -> None:
    """Revoke the key called NAME."""
    if offline and url is not None:
        raise click.UsageError("--offline and --url exclude each other.")
    if (offline or url is not None) and not cancel:
        raise click.UsageError("--offline and --url need --cancel.")
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.keys import messages_of, revoke

    waiting = messages_of(settings, name, url, api_key, offline=offline) if cancel else None
    click.echo(revoke(settings, name, as_json=as_json, waiting=waiting))


@cli.command()
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(config: Path | None, file: Path) -> None:
    """Copy the journal to a new FILE; works while the server runs."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.journal import backup

    click.echo(backup(settings, file))


@cli.command()
@config_option
def prune(config: Path | None) -> None:
    """Delete what is past its retention. A running server does this by itself."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.journal import prune

    click.echo(prune(settings))


@cli.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sendmail(arguments: tuple[str, ...]) -> None:
    """Submit a mail from standard input, as /usr/sbin/sendmail does: -t -i -f ADDRESS -F NAME."""
    from notifier.sendmail import main

    sys.exit(main(arguments))


cli.add_command(audit)
cli.add_command(messages)
cli.add_command(callbacks)
cli.add_command(reports)
cli.add_command(suppressions)
cli.add_command(recipients)


def main() -> None:
    """Run one command. A failure is printed and sets the exit code."""
    try:
        code = cli(standalone_mode=False)
    except NotifierError as error:
        for fault in str(error).splitlines():
            click.echo(printable(f"notifier: {fault}"), err=True)
        code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
