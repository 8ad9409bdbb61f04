"""Bound the memory of the mails that arrive at the same time."""

import asyncio
from collections import OrderedDict
from typing import Protocol

SMALL = 256 * 1024  # octets: a mail up to this size waits for no place
PLACES = 4  # for larger mails
GIVE_WAY_SECONDS = 5.0  # that another one waits, until a slow one is cut off
SLOW = 16 * 1024  # octets a second


class Large(Protocol):
    """A client whose mail is large."""

    @property
    def arrived(self) -> int:
        """Octets of it that are here."""
        ...

    def read_on(self) -> None:
        """There is a place for the rest of the mail."""
        ...

    def cut(self, reply: str = "") -> None:
        """Close the connection."""
        ...


class Memory:
    """
    Places for large mails. A client without one is not read from. A mail that holds a place and
    arrives slowly gives way to those that wait; one that has arrived does not.
    """

    def __init__(self) -> None:
        self._held: dict[Large, float] = {}  # since when
        self._waiting: OrderedDict[Large, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, client: Large) -> bool:
        """Whether the client has a place; else it learns it later, by `read_on`."""
        if client in self._held:
            return True
        loop = asyncio.get_running_loop()
        if len(self._held) < PLACES and not self._waiting:
            self._held[client] = loop.time()
            return True
        self._waiting[client] = None
        if self._timer is None:
            self._timer = loop.call_later(GIVE_WAY_SECONDS, self._make_way)
        return False

    def leave(self, client: Large) -> None:
        """The client's mail is done with, or the client has gone."""
        self._waiting.pop(client, None)
        self._held.pop(client, None)
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._held) < PLACES:
            first, _ = self._waiting.popitem(last=False)
            self._held[first] = loop.time()
            loop.call_soon(first.read_on)

    def _make_way(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for client, since in tuple(self._held.items()):
            late = now - since > GIVE_WAY_SECONDS and client.arrived < SLOW * (now - since)
            if self._waiting and late:
                self.leave(client)
                client.cut(
                    "421 4.4.2 the mail arrives too slowly, and other mail waits for the memory"
                )
        if self._waiting:
            self._timer = loop.call_later(GIVE_WAY_SECONDS, self._make_way)
