"""Options that several commands have."""

from pathlib import Path

import click

from notifier.settings import Settings

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of settings; instead of NOTIFIER_CONFIG.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
url_option = click.option("--url", help="Of the server; else where the settings say it listens.")
key_option = click.option(
    "--api-key",
    envvar="NOTIFIER_API_KEY",
    help="API key, or @FILE that holds it; else NOTIFIER_API_KEY, which does not show in `ps`.",
)


def server_url(settings: Settings) -> str:
    """Where a server with these settings can be reached from here."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on
    host = anywhere.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
