"""Check settings together: values that hold for all relays, and contradictions."""

from typing import Any

from msgspec.structs import replace

from notifier.relayspec import RelaySpec
from notifier.settings.relays import CAPTURE
from notifier.settings.sign_in import contradictions_of_sign_in
from notifier.settings.sources import variable


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
