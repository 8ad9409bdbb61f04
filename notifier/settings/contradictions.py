"""Check settings together, and whether they let everybody call while there is no API key."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from notifier.errors import ConfigurationError
from notifier.relayspec import RelaySpec, is_loopback
from notifier.settings.relays import CAPTURE
from notifier.settings.sign_in import contradictions_of_sign_in
from notifier.settings.sources import variable

if TYPE_CHECKING:  # which knows this module
    from notifier.settings import Settings


def contradictions(values: dict[str, Any]) -> list[str]:
    """The contradictions. A separate password or EHLO name is also put into the relays."""
    faults = []
    relays: tuple[RelaySpec, ...] = values.get("relays", ())
    password = values.get("relay_password")
    bare = [relay for relay in relays if relay.username and not relay.password and not relay.oauth]
    if bare and password is None:
        names = ", ".join(relay.name for relay in bare)
        faults.append(
            f"{variable('relays')}: {names} has a user but no password; write user:password@host, "
            f"or set {variable('relay_password')} or {variable('relay_password')}_FILE"
        )
    values["relays"] = tuple(
        replace(relay, password=password) if relay in bare else relay for relay in relays
    )
    if (proxy := values.get("proxy")) is not None:
        values["relays"] = tuple(
            replace(relay, proxy=proxy) if relay.graph and relay.proxy is None else relay
            for relay in values["relays"]
        )
    if (name := values.get("ehlo_name")) is not None:
        values["relays"] = tuple(
            relay if relay == CAPTURE or relay.ehlo_name else replace(relay, ehlo_name=name)
            for relay in values["relays"]
        )
    if values.get("body_retention", 0.0) > values.get("retention", float("inf")):
        faults.append(
            f"{variable('body_retention')} is longer than {variable('retention')}; "
            "contents are deleted with their messages"
        )
    faults += contradictions_of_sign_in(values)
    return faults


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
