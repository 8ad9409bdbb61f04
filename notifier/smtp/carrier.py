"""The protocol by which a relay is reached: connections of SMTP, or another protocol."""

from typing import Protocol

from notifier.attempts import Attempt, Envelope


class Carrier(Protocol):
    """Speaks to a relay. Failures are in the outcome, never raised."""

    @property
    def busy(self) -> int:
        """Connections in use."""
        ...

    @property
    def idle(self) -> int:
        """Connections kept for the next messages."""
        ...

    async def send(self, envelope: Envelope, content: bytes) -> Attempt: ...

    def ease(self, most: int) -> None:
        """
        The relay wants less: keep no more than so many connections, those in use included, and
        offer nothing over one that is not open yet.
        """
        ...

    def abort_all(self) -> None:
        """Break what is under way: each send returns at once, with what is known of it."""
        ...

    async def close(self) -> None: ...
