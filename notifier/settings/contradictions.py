"""Settings that are each right and do not go together."""

from typing import Any

import msgspec

from notifier.relayspec import RelaySpec
from notifier.settings.sources import variable


def contradictions(values: dict[str, Any]) -> list[str]:
    """What is wrong; passwords that stand apart are put to their relays."""
    faults = []
    relays: tuple[RelaySpec, ...] = values.get("relays", ())
    password = values.get("relay_password")
    bare = [relay for relay in relays if relay.username and not relay.password]
    if bare and password is None:
        names = ", ".join(relay.name for relay in bare)
        faults.append(
            f"{variable('relays')}: {names} has a user but no password; write user:password@host, "
            f"or set {variable('relay_password')} or {variable('relay_password')}_FILE"
        )
    values["relays"] = tuple(
        msgspec.structs.replace(relay, password=password) if relay in bare else relay
        for relay in relays
    )
    if values.get("body_retention", 0.0) > values.get("retention", float("inf")):
        faults.append(
            f"{variable('body_retention')} is longer than {variable('retention')}; "
            "contents go with their messages"
        )
    return faults
