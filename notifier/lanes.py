"""The ways that deliveries can go, and how much of the window each may have."""

import asyncio
from typing import Protocol

from notifier.attempts import Attempt, Envelope


class Transport(Protocol):
    """Whatever can offer an envelope to somebody, and say what came of it."""

    def room(self) -> int:
        """How many more sends may start now. 0: all places are taken, or it rests."""
        ...

    async def wait_for_room(self) -> None: ...

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        """Offer it once. Trouble is told in the attempt, not raised."""
        ...

    def abort_all(self) -> None:
        """Cut off every send under way, so that it returns what is known of it."""
        ...


class Lane:
    """What is claimed for one route: waiting in the window, and under way."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.ahead = 0
        self.busy = 0
        self.full = False  # it waits for places to be free again
        self.stir = asyncio.Event()  # something has changed: look again

    async def wait_for_places(self) -> None:
        """Until some that were claimed have begun or are done, or something else has changed."""
        self.full = True
        await self.stir.wait()
        self.full = False

    def appetite(self, free: int) -> int:
        """How many to claim, given so many free places in the window."""
        room = self.transport.room()
        capacity = room + self.busy
        if capacity <= 1:  # resting, or probing with one message
            return min(free, room - self.ahead)
        if self.ahead > capacity // 2:  # claim in portions, not one by one
            return 0
        return min(free, 2 * capacity - self.busy - self.ahead)
