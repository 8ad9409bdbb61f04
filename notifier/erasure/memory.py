"""What this process remembers of recipients besides the messages that it sends."""

from collections.abc import AsyncIterator
from typing import Any

from notifier.compose.addresses import address
from notifier.erasure.person import Person
from notifier.erasure.places import Count
from notifier.intake.storms import Brake


class Memory:
    """The addresses that were read last, and the recipient whom an alert names."""

    name = "memory"
    local = True

    def __init__(self, brake: Brake) -> None:
        self._brake = brake

    async def held(self, _person: Person) -> AsyncIterator[dict[str, Any]]:
        """Nothing that the messages would not tell."""
        nothing: tuple[dict[str, Any], ...] = ()
        for each in nothing:
            yield each

    async def wipe(self, person: Person, _count: Count) -> None:
        """Forget it; the counts of messages hold no address."""
        address.cache_clear()
        self._brake.forget(person.has, person.erased)
