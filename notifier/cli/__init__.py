"""
The command line. What a command needs is imported when it runs: a healthcheck every few
seconds must not load a web framework.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from notifier import __version__
from notifier.cli.display import printable
from notifier.cli.message_commands import messages
from notifier.cli.options import config_option, json_option, key_option, server_url
from notifier.errors import (
    ConfigurationError,
    JournalFailure,
    JournalInUse,
    NotifierError,
)
from notifier.settings import Settings

# sysexits.h has no name for the last one; it is free there.
EXIT_CODES = {ConfigurationError: 2, JournalFailure: 74, JournalInUse: 75}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="notifier", message="%(prog)s %(version)s")
def cli() -> None:
    """Take messages over HTTP and deliver them by mail. Settings: see `notifier config`."""


@cli.command()
@config_option
@click.option("--host", help="Instead of NOTIFIER_HOST.")
@click.option("--port", help="Instead of NOTIFIER_PORT.")
def serve(config: Path | None, host: str | None, port: str | None) -> None:
    """Run the service until SIGTERM."""
    # Until the service has a handler of its own: there is nothing yet to be finished. An
    # exception might be swallowed by whatever is being imported.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    given = {"NOTIFIER_HOST": host, "NOTIFIER_PORT": port}
    environ = {**os.environ, **{name: text for name, text in given.items() if text is not None}}
    settings = Settings.read(environ, config=config, further=_unfit_to_serve)
    from notifier.server.process import serve

    serve(settings)


def _unfit_to_serve(settings: Settings) -> Sequence[str]:
    """What else is wrong, where something is."""
    from notifier.server.process import faults_of

    return faults_of(settings)


@cli.command()
@config_option
def config(config: Path | None) -> None:
    """Print the settings in force, secrets struck out."""
    for name, text in Settings.read(os.environ, config=config).describe():
        click.echo(f"{name}={text}")


@cli.command()
@config_option
@click.option("--url", help="Of the server; else where the settings say that it listens.")
@click.option("--timeout", default=3.0, show_default=True, help="Seconds.")
def healthcheck(config: Path | None, url: str | None, timeout: float) -> None:
    """Exit with 0 if a running server can take messages. For containers without curl."""
    from notifier.cli.client import Client

    client = Client(url or server_url(Settings.read(os.environ, config=config)), timeout=timeout)
    click.echo(client.ready())


@cli.command()
@config_option
@click.option("--to", multiple=True, required=True, help="Recipient; may be repeated.")
@click.option("--cc", multiple=True, help="May be repeated.")
@click.option("--from", "sender", help="Sender; else the server's NOTIFIER_DEFAULT_FROM.")
@click.option("--subject", default="", help="Subject.")
@click.option("--text", help="Plain text; - reads it from standard input.")
@click.option("--html", type=click.File(encoding="utf-8"), help="File of the HTML body.")
@click.option("--attach", multiple=True, type=click.File("rb"), help="File; may be repeated.")
@click.option("--wait", type=click.IntRange(min=1), help="Wait so many seconds for the outcome.")
@click.option("--url", help="Of the server; else where the settings say that it listens.")
@key_option
def send(config: Path | None, url: str | None, api_key: str | None, **given: Any) -> None:
    """Send a message through a running server."""
    from notifier.cli.client import Client
    from notifier.cli.sending import send

    client = Client(url or server_url(Settings.read(os.environ, config=config)), api_key=api_key)
    click.echo(printable(send(client, **given)))


@cli.command()
@config_option
@json_option
def check(config: Path | None, as_json: bool) -> None:
    """Connect to each relay, and say what is wrong and what to do."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.check import check

    check(settings, say=click.echo, as_json=as_json)


@cli.group()
def keys() -> None:
    """Make, list and revoke API keys. A running server takes it up within a second."""


@keys.command("add")
@config_option
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["send", "sms", "read", "manage"]),
    help="What it opens; may be repeated. sms: text messages, which send includes unless there is"
    " a --sender. Default: send.",
)
@click.option(
    "--sender", "senders", multiple=True, help="a@x.org, or @x.org; may be repeated. Default: any."
)
@click.option(
    "--recipient-domain", "recipient_domains", multiple=True, help="May be repeated. Default: any."
)
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    help="Of a team key: a@x.org, or @x.org; may be repeated.",
)
@click.option(
    "--country",
    "countries",
    multiple=True,
    help="That text messages may go to, such as US; may be repeated. Default: any.",
)
@click.option(
    "--kind",
    type=click.Choice(["live", "team", "test"]),
    default="live",
    show_default=True,
    help="team: to --recipient only; test: to the simulator, nothing leaves.",
)
@click.option("--rate", type=int, help="Recipients, and segments of texts, a minute.")
@click.option("--daily", type=int, help="Recipients, and segments of texts, a day.")
@click.option("--expires", help="2027-01-31, or 2027-01-31T12:00:00Z.")
@json_option
def add_key(config: Path | None, as_json: bool, **terms: Any) -> None:
    """Make a key called NAME, and print it: it is shown this once only."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.keys import add, made

    key, secret = add(settings, **terms)
    click.echo(made(key, secret) if as_json else secret)
    if not as_json:  # beside it, so that what is printed can be taken as it is
        click.echo(f"notifier: {key.name} is made; keep it, it is not shown again", err=True)


@keys.command("list")
@config_option
@json_option
def list_keys(config: Path | None, as_json: bool) -> None:
    """Print what each key opens. The keys themselves are not known."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.keys import listed, table

    click.echo(listed(settings) if as_json else table(settings))


@keys.command("revoke")
@config_option
@click.argument("name")
@json_option
def revoke_key(config: Path | None, as_json: bool, name: str) -> None:
    """Make the key called NAME open nothing any more."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.keys import revoke

    click.echo(revoke(settings, name, as_json=as_json))


@cli.command()
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(config: Path | None, file: Path) -> None:
    """Copy the journal to a new FILE, also while the server runs."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.journal import backup

    click.echo(backup(settings, file))


@cli.command()
@config_option
def prune(config: Path | None) -> None:
    """Drop what is past its retention. A running server does it by itself."""
    settings = Settings.read(os.environ, config=config)
    from notifier.cli.journal import prune

    click.echo(prune(settings))


cli.add_command(messages)


def main() -> None:
    """Run one command; every failure is told in words, and by the exit code."""
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
