"""How much of callers' bodies may be in memory at a time."""

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from litestar.handlers import HTTPRouteHandler

from notifier.errors import Unavailable
from notifier.web.bodies import AnyRequest

Handler = Callable[[AnyRequest], Awaitable[Any]]

SMALL = 256 * 1024  # octets: a body up to this needs no place, so that no large one holds it up
BODIES = 4  # of the largest size that one may have, at a time
WAIT_SECONDS = 10.0


class Room:
    """
    Large bodies get in one after the other as there is room, first come, first served, and
    keep their place until they are answered for. Whoever waits is not read from meanwhile.
    """

    def __init__(self, *, largest: int) -> None:
        self._largest = largest
        self._left = BODIES * largest
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def around(self, handlers: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
        """The handlers, with each that takes a body behind the room."""
        found = list(handlers)
        for handler in found:
            if "POST" in handler.http_methods:
                handler(self._behind(handler.fn))  # which takes the other's place
        return found

    def _behind(self, handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def admitted(request: AnyRequest) -> Any:
            size = self._size(request.scope["headers"])
            if size <= SMALL:
                return await handler(request)
            await self._take(size)
            try:
                return await handler(request)
            finally:
                self._give_back(size)

        return admitted

    def _size(self, headers: Iterable[tuple[bytes, bytes]]) -> int:
        """What to expect of a body; at most the largest, past which nothing is kept of it."""
        for name, value in headers:
            if name == b"content-length" and value.isdigit():
                return min(int(value), self._largest)
            if name == b"transfer-encoding":
                return self._largest
        return 0

    async def _take(self, size: int) -> None:
        """Raises Unavailable."""
        if not self._waiting and size <= self._left:
            self._left -= size
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, place))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._give_back(size)
            elif (size, place) in self._waiting:
                self._waiting.remove((size, place))
                self._let_in()
            if isinstance(error, TimeoutError):
                raise Unavailable("too many large requests at a time", retry_after=5) from None
            raise

    def _give_back(self, size: int) -> None:
        self._left += size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._left:
            size, place = self._waiting.popleft()
            if not place.done():
                self._left -= size
                place.set_result(None)
