"""Bound the memory that the bodies of requests take at the same time."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Scope, Send

from notifier.errors import Unavailable
from notifier.web.auth import caller_of

Receive = Callable[[], Awaitable[Any]]

SMALL = (
    256 * 1024
)  # octets: a body up to this size is not counted, so that large bodies do not delay it
# So many bodies of the largest size at a time; one caller may have all but one. What is made of a
# body takes several times its size.
BODIES = 2
WAIT_SECONDS = 10.0
SILENT_SECONDS = 1.0  # a body that makes no progress for this long gives way to waiting ones
LOOK_SECONDS = 0.25


class Place:
    """The memory of one request: as much as has arrived of its body."""

    def __init__(self, memory: "BodyMemory", caller: str, receive: Receive) -> None:
        self.caller = caller
        self.held = 0
        self.wanted = 0
        self.let_in: asyncio.Future[None] | None = None  # octets that it waits for
        self._memory = memory
        self._receive = receive
        self._arrived = 0
        self._came_at = asyncio.get_running_loop().time()

    async def receive(self) -> Any:
        """ASGI's `receive`. Raises Unavailable if there is not enough memory; 408."""
        message = await self._next()
        if message["type"] == "http.request":
            self._arrived += len(message["body"])
            # Nothing beyond the largest size is kept.
            octets = min(self._arrived, self._memory.largest) - self.held
            if self._arrived > SMALL and octets > 0:
                await self._memory.take(self, octets)
            if not message["more_body"]:
                self._memory.complete(self)
        return message

    async def _next(self) -> Any:
        loop = asyncio.get_running_loop()
        while True:
            try:
                # While it waited for memory, more may have arrived: this returns it at once.
                late = max(self._came_at + SILENT_SECONDS, loop.time() + LOOK_SECONDS)
                async with asyncio.timeout_at(late):
                    message = await self._receive()
                self._came_at = loop.time()
            except TimeoutError:
                if self.held and self._memory.contended:
                    raise HTTPException(
                        status_code=408,
                        detail="the body stopped arriving while other requests wait",
                    ) from None
            else:
                return message


class BodyMemory:
    """
    ASGI middleware before every handler. A large body takes memory as it arrives, and gives it
    back once its request is answered; the length that a request claims takes none. While there
    is not enough, the body is not read on. Callers take turns, and none may take all. The body
    that began first never waits: so one at least arrives in full, and then gives memory back.
    """

    def __init__(self, *, largest: int) -> None:
        self.largest = largest
        self._left = BODIES * largest
        self._most = (BODIES - 1) * largest  # the most that one caller may take
        self._held: Counter[str] = Counter()  # by caller
        self._arriving: OrderedDict[Place, None] = OrderedDict()  # in the order in which they began
        self._waiting: OrderedDict[str, deque[Place]] = OrderedDict()  # the next caller is first

    @property
    def contended(self) -> bool:
        return bool(self._waiting)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Litestar calls it once for each route, and what it returns for each request."""

        def bounded(scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["method"] == "POST":
                for name, value in scope["headers"]:
                    if name == b"content-length" and value.isdigit() and int(value) <= SMALL:
                        break
                    if name in (b"content-length", b"transfer-encoding"):
                        return self._reserve(app, scope, receive, send)
            return app(scope, receive, send)

        return bounded

    async def _reserve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        place = Place(self, caller_of(Request(scope)), receive)
        try:
            await app(scope, place.receive, send)
        finally:
            self.give_back(place)

    async def take(self, place: Place, octets: int) -> None:
        """Raises Unavailable."""
        self._arriving.setdefault(place)
        place.wanted = octets
        if self._is_first(place) or (self._fits(place) and place.caller not in self._waiting):
            return self._grant(place)
        waiting = place.let_in = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place.caller, deque()).append(place)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiting
        except TimeoutError:
            raise Unavailable(
                "too many large requests arrive at the same time; try again", retry_after=5
            ) from None
        finally:
            place.let_in = None
            self._leave_line(place)

    def complete(self, place: Place) -> None:
        """The body has arrived completely."""
        self._arriving.pop(place, None)
        self._let_in()

    def give_back(self, place: Place) -> None:
        self._left += place.held
        self._held[place.caller] -= place.held
        if self._held[place.caller] <= 0:
            del self._held[place.caller]
        place.held = 0
        self.complete(place)

    def _is_first(self, place: Place) -> bool:
        return next(iter(self._arriving), None) is place

    def _fits(self, place: Place) -> bool:
        its_own = self._held[place.caller] + place.wanted
        return place.wanted <= self._left and its_own <= self._most

    def _grant(self, place: Place) -> None:
        self._left -= place.wanted
        self._held[place.caller] += place.wanted
        place.held += place.wanted
        if place.let_in is not None and not place.let_in.done():
            place.let_in.set_result(None)

    def _leave_line(self, place: Place) -> None:
        """Stop waiting. The next request may now fit."""
        if place in self._waiting.get(place.caller, ()):
            self._take_out(place)
            self._let_in()

    def _let_in(self) -> None:
        first = next(iter(self._arriving), None)
        if first is not None and first.let_in is not None and not first.let_in.done():
            self._take_out(first)
            self._grant(first)
        passed_over = 0
        while self._waiting and passed_over < len(self._waiting):
            caller, line = next(iter(self._waiting.items()))
            self._waiting.move_to_end(caller)
            if self._fits(line[0]):
                place = line[0]
                self._take_out(place)
                self._grant(place)
                passed_over = 0
            else:
                passed_over += 1

    def _take_out(self, place: Place) -> None:
        line = self._waiting[place.caller]
        line.remove(place)
        if not line:
            del self._waiting[place.caller]
