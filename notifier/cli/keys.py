"""`notifier keys`: make, list and revoke API keys, in the file that a server reads."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from notifier.audit.records import actor
from notifier.cli.display import json_text, table
from notifier.cli.sources import open_source
from notifier.errors import ConfigurationError
from notifier.keys import Key, Keys, KeyScope, expiry, new_key
from notifier.settings import Settings

if TYPE_CHECKING:  # it loads half the service, and other commands must not
    from notifier.cli.key_messages import KeyMessages

COLUMNS = ("NAME", "ID", "STATE", "KIND", "SCOPES", "LIMITS", "SENDERS", "RECIPIENTS")


def add(
    settings: Settings,
    *,
    name: str,
    scopes: Sequence[str],
    expires: str | None,
    **terms: object,
) -> tuple[Key, str]:
    """
    Put a new key with these terms into the file. Returns the key and its secret. Raises
    ConfigurationError.
    """
    now = datetime.now(UTC)
    ends = expiry(expires) if expires else None
    if ends is not None and ends <= now:
        raise ConfigurationError(f"--expires: {expires} is in the past")
    key, secret = new_key(
        name,
        now=now,
        scopes=scopes or (KeyScope.SEND,),
        expires=ends,
        by=actor(),
        **terms,
    )
    if settings.api_keys is None:  # the first key is often made before the first start
        _make_folder(Path(settings.data_dir))
    Keys.read(settings.keys_file).add(key)
    return key, secret


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"NOTIFIER_DATA_DIR: {path}: {error.strerror}") from error


def messages_of(
    settings: Settings, name: str, url: str | None, api_key: str | None, *, offline: bool
) -> "KeyMessages":
    """Where the messages of the key are cancelled. Raises RequestFailed."""
    from notifier.cli.key_messages import KeyMessages
    from notifier.cli.message_sources import ByHttp, ByJournal

    source = open_source(ByHttp, ByJournal, settings, url, api_key, offline=offline)
    return KeyMessages(source, name, offline=isinstance(source, ByJournal))


def revoke(
    settings: Settings, name: str, *, as_json: bool, waiting: "KeyMessages | None" = None
) -> str:
    """
    Revoke a key, and cancel its messages. Returns what to print. Raises ConfigurationError,
    NotCancelled; RequestFailed before anything is done.
    """
    now = datetime.now(UTC)
    if waiting is not None:
        waiting.require()
    key = Keys.read(settings.keys_file).revoke(name, now, by=actor())
    if waiting is None:
        return json_text(_shown(key, now)) if as_json else key.lapsed(now)
    cancelled = waiting.cancel()
    if sending := waiting.sending():
        click.echo(f"notifier: {sending} messages of the key are still being sent", err=True)
    if as_json:
        return json_text({**_shown(key, now), "cancelled": cancelled})
    return f"{key.lapsed(now)}\n{cancelled} cancelled"


def made(key: Key, secret: str) -> str:
    """A new key, as JSON, with its secret."""
    return json_text({**_shown(key, key.created), "key": secret})


def listed(settings: Settings) -> str:
    """Every key, as JSON."""
    now = datetime.now(UTC)
    return json_text([_shown(key, now) for key in Keys.read(settings.keys_file).all()])


def key_table(settings: Settings) -> str:
    """Every key, one line each."""
    now = datetime.now(UTC)
    keys = Keys.read(settings.keys_file).all()
    if not keys:
        return f"{settings.keys_file}: there are no keys; make one with `notifier keys add NAME`"
    return table([COLUMNS, *(_row(key, now) for key in keys)])


def _row(key: Key, now: datetime) -> tuple[str, ...]:
    limits = [
        f"{quota}/{window}" for quota, window in ((key.rate, "min"), (key.daily, "day")) if quota
    ]
    limits += [f"{key.per_recipient} each"] if key.per_recipient else []
    domains = (f"@{domain}" for domain in key.recipient_domains)
    recipients = (*key.recipients, *domains, *(f"+{country}" for country in key.countries))
    return (
        key.name,
        key.id,
        _state(key, now),
        key.kind.value,
        _scopes(key, ","),
        ",".join(limits) or "none",
        ",".join(key.senders) or "any",
        ",".join(recipients) or "any",
    )


def _state(key: Key, now: datetime) -> str:
    if key.revoked is not None:
        return f"revoked {key.revoked:%Y-%m-%d}"
    if key.expires is None:
        return "valid"
    return f"{'expired' if key.lapsed(now) else 'until'} {key.expires:%Y-%m-%d %H:%M}"


def _scopes(key: Key, between: str) -> str:
    return between.join(scope.value for scope in KeyScope if scope in key.scopes)


def _shown(key: Key, now: datetime) -> dict[str, Any]:
    """The fields of a key without its hash."""
    shown: dict[str, Any] = msgspec.to_builtins(key)
    del shown["sha256"]
    if key.callback is not None:
        events = sorted(key.callback.events)
        shown["callback"] = {"url": key.callback.place, "events": events}
    scopes = [scope.value for scope in KeyScope if scope in key.scopes]
    return shown | {"scopes": scopes, "valid": not key.lapsed(now)}
