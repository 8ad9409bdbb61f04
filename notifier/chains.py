"""
Which relays take a message.

The relays whose conditions all hold are its chain, in the order of the setting; those without
conditions come after them. Within a chain one relay stands in for another. Recipients of one
message may have different chains.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from notifier.address_rules import address_parts, covers, covers_parts
from notifier.deliveries import Delivery, Priority, Route
from notifier.recipients import RecipientStatus, part_of
from notifier.relayspec import RelaySpec

SEVERAL = "*"  # the chain of a message whose recipients have different ones
CHAINED = (Route.RELAY, Route.GATEWAY)  # the routes that lead to relays
_SEPARATOR = ","  # which no relay has in its name


class Chain(Struct, frozen=True):
    """
    The relays that take a message, by name. The name of the chain lists its relays that have
    conditions; the name of a chain without such relays is empty.
    """

    name: str
    relays: tuple[str, ...]


class Chains:
    """Finds the chain of each recipient. Without conditions there is one chain: all relays."""

    def __init__(self, relays: Sequence[RelaySpec]) -> None:
        self.conditional = any(relay.conditional for relay in relays)
        self._relays = tuple(relays)
        self._last = tuple(relay.name for relay in relays if not relay.conditional)
        self._names = {relay.name for relay in relays if relay.conditional}

    def parts(
        self, sender: str, recipients: Iterable[str], *, key: str, priority: Priority
    ) -> dict[str | None, tuple[str, ...]]:
        """The recipients by the names of their chains. None: those whom no relay takes."""
        found: dict[str | None, list[str]] = {}
        asked = [
            relay
            for relay in self._relays
            if relay.conditional
            and (not relay.senders or covers(relay.senders, sender))
            and (not relay.keys or key in relay.keys)
            and (not relay.priorities or priority.name.lower() in relay.priorities)
        ]
        for recipient in recipients:
            local, domain = address_parts(part_of(recipient)[0])
            names = [
                relay.name
                for relay in asked
                if not relay.recipients or covers_parts(relay.recipients, local, domain)
            ]
            name = _SEPARATOR.join(names) if names or self._last else None
            found.setdefault(name, []).append(recipient)
        return {name: tuple(some) for name, some in found.items()}

    def parts_of(self, delivery: Delivery) -> dict[str | None, tuple[str, ...]]:
        """The pending recipients by the names of their chains."""
        pending = [
            each.address for each in delivery.recipients if each.status is RecipientStatus.PENDING
        ]
        return self.parts(delivery.sender, pending, key=delivery.key, priority=delivery.priority)

    def named(self, name: str) -> Chain | None:
        """The chain of this name. None: it does not exist, or its relays are gone."""
        names = tuple(name.split(_SEPARATOR)) if name else ()
        if not self._names.issuperset(names) or not (names or self._last):
            return None
        return Chain(name, (*names, *self._last))

    def relays_of(self, delivery: Delivery) -> tuple[str, ...] | None:
        """
        The relays that take any of the pending recipients, in the order of the setting. None: all
        relays, or it does not go to relays.
        """
        if not self.conditional or delivery.route not in CHAINED:
            return None
        taking: set[str] = set()
        for name in self.parts_of(delivery):
            chain = None if name is None else self.named(name)
            taking.update(() if chain is None else chain.relays)
        return tuple(relay.name for relay in self._relays if relay.name in taking)

    def refusal(self, sender: str, recipients: Sequence[str]) -> str:
        """Why no relay accepts a message from this sender to these recipients."""
        others = f" and {len(recipients) - 1} more" if len(recipients) > 1 else ""
        who = f"{recipients[0]}{others}"
        return (
            f"no relay accepts a message from {sender or 'nobody'} to {who}: each has a "
            "condition that the message does not meet"
        )


def chain_of(parts: dict[str | None, tuple[str, ...]]) -> str:
    """The name of the chain of a message with these parts."""
    names = [name for name in parts if name is not None]
    return names[0] if len(names) == 1 else SEVERAL
