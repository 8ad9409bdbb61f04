"""Options that several commands share, and the server's URL that follows from the settings."""

from pathlib import Path

import click

from notifier.settings import Settings

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
