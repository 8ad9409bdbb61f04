"""Look up host names, each in a thread of its own."""

import asyncio
import contextlib
import socket
import threading
from typing import TypeAlias

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
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()

        def tell(found: list[Address] | Exception) -> None:
            self._under_way.pop((host, port), None)
            if answer.done():
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
                answer.exception()  # nobody may be waiting any more
            else:
                answer.set_result(found)

        def ask() -> None:
            try:
                found: list[Address] | Exception = _look_up(host, port)
            except UnicodeError:
                found = socket.gaierror(socket.EAI_NONAME, "this is not a host name")
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, found)

        self._under_way[host, port] = answer
        threading.Thread(target=ask, name=f"lookup-{host}", daemon=True).start()
        return answer


def _look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]
