"""
Sends by chains: to each recipient by the relays that take it. A delivery waits in the queue of its
chain, and each queue has a share of its own, so a chain that is down or slow delays no other. A
delivery whose recipients have different chains waits in a queue of its own kind. It is offered to
all its chains that have room, at the same time; its other recipients go on in the queue of the
chain that has yet to take them.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from notifier.attempts import Attempt, Envelope, Transport
from notifier.chains import CHAINED, SEVERAL, Chains, chain_of
from notifier.deliveries import Delivery, Status

# Between two looks whether a chain has room for a delivery with recipients of several chains: the
# longer it has waited, the longer it waits again, so that an outage does not rewrite a backlog.
BUSY, LONGEST_BUSY = timedelta(seconds=5), timedelta(minutes=1)


class Chained:
    """
    Gives each chain's queue its transport, and each delivery its chain. If the settings have
    changed since a delivery was accepted, the chain that they give now takes it.
    """

    def __init__(self, chains: Chains, transport: Callable[[str], Transport]) -> None:
        """`transport`: gives that of a queue."""
        self._open = transport
        self._transports: dict[str, Transport] = {}
        self._chains = chains
        self.conditional = chains.conditional

    def transport(self, queue: str) -> Transport:
        """The transport of a queue. It is made once, because it listens to its relays for good."""
        if (found := self._transports.get(queue)) is None:
            found = self._transports[queue] = self._open(queue)
        return found

    def abort_all(self) -> None:
        """Abort every send under way, also by a chain that this process has not claimed from."""
        for transport in self._transports.values():
            transport.abort_all()

    def parts(self, delivery: Delivery) -> Mapping[str | None, Envelope] | None:
        """
        By the names of their chains, the envelopes of a delivery that does not go by the queue in
        which it waited. None: it does.
        """
        if delivery.route not in CHAINED or not (self.conditional or delivery.chain):
            return None
        parts = self._chains.parts_of(delivery)
        if set(parts) == {delivery.chain}:
            return None
        whole = delivery.pending
        return {name: replace(whole, recipients=some) for name, some in parts.items()}

    async def send(
        self, delivery: Delivery, parts: Mapping[str | None, Envelope], content: bytes
    ) -> list[Attempt]:
        """Offer the parts to all chains that have room; none may have."""
        offers = []
        for name, envelope in parts.items():
            if name is not None:
                transport = self.transport(replace(delivery, chain=name).queue)
                # Its own queue has claimed it, so it waits there for its turn like any other.
                if name == delivery.chain or transport.room() > 0:
                    offers.append(transport.send(envelope, content))
        attempts = await asyncio.gather(*offers)
        return [attempt for attempt in attempts if not attempt.unoffered]

    def placed(self, delivery: Delivery, *, now: datetime) -> Delivery:
        """
        A delivery that waits, in the queue of the chain for those recipients who are left. It is
        held if no relay takes any of them.
        """
        if delivery.route not in CHAINED or not (self.conditional or delivery.chain):
            return delivery
        parts = self._chains.parts_of(delivery)
        if set(parts) == {None}:
            return delivery.held(self._chains.refusal(delivery.sender, parts[None]))
        name = chain_of(parts)
        if name == SEVERAL == delivery.chain and delivery.due_at <= now:
            wait = min(max(BUSY, (now - delivery.created_at) / 8), LONGEST_BUSY)
            return replace(delivery, status=Status.DEFERRED, due_at=now + wait)
        return replace(delivery, chain=name)
