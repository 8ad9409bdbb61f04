"""Keeps a valid token ready for all who share it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from notifier.oauth.answers import Fetched
from notifier.oauth.sections import Section
from notifier.supervisor import Background, Supervisor, wait_at_most
from notifier.tokens import UNAVAILABLE, NoToken, Token, TokenState

BEFORE_ITS_END = 60.0  # seconds; half of its life where that is less
FIRST_PAUSE = 5.0  # seconds after a fetch that failed; doubled with each further one
LONGEST_PAUSE = 60.0
WAIT_SECONDS = 15.0  # that a message waits for a token; the request may take longer

log = structlog.get_logger()


class Refreshed(Background):
    """
    The token of one section. A task fetches one token at a time: at the start, a minute before a
    token expires, and at once if a token is needed and there is none. While a token is valid,
    nobody waits for it.
    """

    def __init__(
        self,
        section: Section,
        *,
        supervisor: Supervisor,
        fetch: Callable[[Section], Awaitable[Fetched]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section = section
        super().__init__(supervisor, {f"oauth-{section.name}": self._run})
        self._fetch = fetch or _fetch
        self._clock = clock
        self._token: Token | None = None
        self._ends = 0.0  # by the clock, as the next two
        self._due = clock()
        self._missed = False  # a caller got the error that there is no token
        self._trouble: NoToken | None = None
        self._failing_since: datetime | None = None
        self._pause = FIRST_PAUSE
        self._waiting: list[asyncio.Future[Token]] = []
        self._wanted = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, ended: Callable[[], None]) -> None:
        """Set a listener that is called when there is a token again after there was none."""
        self._listeners.append(ended)

    async def get(self) -> Token:
        """A token that is good now. Raises NoToken."""
        if self._token is not None and self._clock() < self._ends:
            return self._token
        return await self._newer()

    async def renew(self, refused: Token) -> Token:
        """A newer token than the one that was refused. Raises NoToken."""
        if self._token is not None and self._token is not refused:
            return await self.get()  # another caller was refused, too
        return await self._newer()

    async def _newer(self) -> Token:
        """The result of the fetch that is under way, or begins now."""
        waiter: asyncio.Future[Token] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wanted.set()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await waiter
        except TimeoutError:
            self._missed = True
            reason = f"{self._section.source} has not answered within {WAIT_SECONDS:g} s"
            raise NoToken(UNAVAILABLE, reason) from None
        finally:
            with contextlib.suppress(ValueError):  # it was answered
                self._waiting.remove(waiter)

    async def _run(self) -> None:
        while True:
            await self._until_due()
            try:
                fetched = await self._fetch(self._section)
            except NoToken as error:
                self._failed(error)
            else:
                self._succeeded(fetched)

    async def _until_due(self) -> None:
        if self._waiting:
            return
        self._wanted.clear()
        await wait_at_most(self._wanted, max(0.0, self._due - self._clock()))

    def _failed(self, error: NoToken) -> None:
        self._due = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if self._trouble is None:
            self._failing_since = datetime.now(UTC)
        if self._trouble is None or str(self._trouble) != str(error):
            log.warning("token_missing", section=self._section.name, reason=str(error))
        self._trouble, self._missed = error, True
        for waiter in self._answered():
            waiter.set_exception(NoToken(error.name, str(error)))

    def _succeeded(self, fetched: Fetched) -> None:
        self._ends = self._clock() + fetched.seconds
        self._due = self._ends - min(BEFORE_ITS_END, fetched.seconds / 2)
        self._pause = FIRST_PAUSE
        token = self._token = _token(fetched, self._section)
        missed, self._missed = self._missed, False
        self._trouble, self._failing_since = None, None
        log.info("token_fetched", section=self._section.name, good_until=str(token.good_until))
        for waiter in self._answered():
            waiter.set_result(token)
        if missed:
            for ended in self._listeners:
                ended()

    def _answered(self) -> list[asyncio.Future[Token]]:
        waiting, self._waiting = self._waiting, []
        return [waiter for waiter in waiting if not waiter.done()]

    def state(self) -> TokenState:
        token, left = self._token, self._ends - self._clock()
        return TokenState(
            source=self._section.source,
            good_until=None if token is None or left <= 0 else token.good_until,
            trouble="" if self._trouble is None else str(self._trouble),
            failing_since=self._failing_since,
        )


class FetchedAnew:
    """A token that is fetched whenever it is asked for: to see whether that works."""

    def __init__(self, section: Section) -> None:
        self._section = section

    async def get(self) -> Token:
        """Raises NoToken."""
        return _token(await _fetch(self._section), self._section)

    async def renew(self, refused: Token) -> Token:  # noqa: ARG002 - each is another one
        """Raises NoToken."""
        return await self.get()

    def state(self) -> TokenState:
        return TokenState(
            source=self._section.source, good_until=None, trouble="", failing_since=None
        )

    def listen(self, ended: Callable[[], None]) -> None:
        """No caller waits for a token."""


def _token(fetched: Fetched, section: Section) -> Token:
    good_until = datetime.now(UTC) + timedelta(seconds=fetched.seconds)
    return Token(fetched.value, section.source, good_until)


async def _fetch(section: Section) -> Fetched:
    """Load the HTTP client, which takes time, only when a token is fetched."""
    from notifier.oauth.requests import fetch

    return await fetch(section)
