"""Who may call while there is no API key: everybody, or people whom a proxy signs in."""

from typing import TYPE_CHECKING

from notifier.errors import ConfigurationError
from notifier.relayspec import is_loopback
from notifier.settings.sources import variable

if TYPE_CHECKING:  # which knows this module
    from notifier.settings import Settings


def check_access(settings: "Settings", *, keys_exist: bool) -> None:
    """Refuse to serve everybody unless the settings say so. Raises ConfigurationError."""
    if keys_exist or settings.sign_in_header or settings.anonymous == "anywhere":
        return
    remedy = f"make a key with `notifier keys add` ({variable('api_keys')}: {settings.keys_file})"
    if settings.anonymous == "never":
        raise ConfigurationError(
            f"{variable('anonymous')} is never, and there is no key, so nobody could call; {remedy}"
        )
    if not is_loopback(settings.host):
        raise ConfigurationError(
            f"{variable('host')}={settings.host} is not a loopback address, and there is no key; "
            f"{remedy}, or set {variable('anonymous')}=anywhere"
        )


def may_be_anonymous(settings: "Settings") -> bool:
    """
    Whether anybody may call while there is no API key. Where a proxy signs people in, nobody may:
    all that comes through the proxy comes from its address.
    """
    if settings.sign_in_header:
        return False
    try:
        check_access(settings, keys_exist=False)
    except ConfigurationError:
        return False
    return True
