"""
The places where an address may be. Each knows how to export what it holds of a person, and how to
wipe that. The journal's places are wiped once; those on this machine by each process.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeAlias

from notifier.erasure.person import Person

# Called with the name of a figure and how much more of it there is: `("messages", 500)`.
Count: TypeAlias = Callable[[str, int], None]


class Place(Protocol):
    """Something that may hold an address."""

    @property
    def name(self) -> str:
        """As in answers: `messages`, `captured_mails`."""
        ...

    @property
    def local(self) -> bool:
        """Whether each process has one of its own, in memory or on its disk."""
        ...

    def held(self, person: Person) -> AsyncIterator[dict[str, Any]]:
        """What it holds of the person, item by item, as objects of JSON."""
        ...

    async def wipe(self, person: Person, count: Count) -> None:
        """
        Wipe the person, in portions that delay no other work. It may be called again after it broke
        off, and then goes on. Raises NotifierError; OSError where a disk fails.
        """
        ...
