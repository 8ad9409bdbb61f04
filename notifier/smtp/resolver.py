"""Look up host names, each in a thread of its own."""

import asyncio
import contextlib
import socket
from functools import partial
from typing import TypeAlias

from notifier.threads import in_daemon_thread

# A family, and what `connect` of a socket of that family takes.
Address: TypeAlias = tuple[int, tuple[str | int | bytes, ...]]


class Resolver:
    """
    Each lookup has a thread of its own, which the process does not wait for when it ends. So a
    lookup that hangs holds up no other. Callers that ask for the same name at the same time share
    one lookup.
    """

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """In order of preference, RFC 6724. Raises OSError, in time or never."""
        with contextlib.suppress(OSError, UnicodeError):
            return _look_up(host, port, socket.AI_NUMERICHOST)
        answer = self._under_way.get((host, port))
        if answer is None:
            answer = self._ask(host, port)
        # The lookup goes on for the others when one of them gives up.
        return await asyncio.shield(answer)

    def _ask(self, host: str, port: int) -> asyncio.Future[list[Address]]:
        def tell(answer: asyncio.Future[list[Address]]) -> None:
            self._under_way.pop((host, port), None)
            answer.exception()  # every caller may have given up

        answer = in_daemon_thread(f"lookup-{host}", partial(_find, host, port))
        answer.add_done_callback(tell)
        self._under_way[host, port] = answer
        return answer


def _find(host: str, port: int) -> list[Address]:
    try:
        return _look_up(host, port)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "this is not a host name") from None


def _look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]
