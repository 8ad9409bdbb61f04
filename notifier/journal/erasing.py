"""What a journal must offer so that a person can be erased."""

from collections.abc import Callable
from typing import Protocol

from notifier.deliveries import Delivery
from notifier.journal.statements import Also


class Erasing(Protocol):
    """Erases. Each call may raise JournalUnavailable."""

    async def erase(
        self, id: str, change: Callable[[Delivery], Delivery], *, also: Also | None = None
    ) -> Delivery:
        """
        Change one delivery as `amend` does, and delete what was said in its attempts, what it was
        found by before, and, if it has ended then, its content. A record that cannot be read is
        changed as far as it can be. Where the status stays, nothing accompanies the change.
        """
        ...

    async def overwrite(self) -> str:
        """
        Overwrite what was deleted. Returns in words what of it cannot be reached; empty: nothing.
        Raises JournalUnavailable where that is not possible now.
        """
        ...

    async def replicas(self) -> int:
        """How many processes use the journal now."""
        ...
