"""
The circuit breaker: when a failing relay or provider may be tried again, and with how many messages
at a time.
"""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

FAILURES = 3  # in a row that open it
AT_FIRST = 4  # sends at a time with a relay that has not been tried yet
TAKES_SECONDS = 600.0  # how long a relay that took a message is known to take messages
REGROW_SECONDS = 60.0  # until a relay that asked for less gets one more at a time


class State(StrEnum):
    """Whether a relay or a provider is in use."""

    CLOSED = "closed"  # it works
    OPEN = "open"  # it rests
    PROBING = "probing"  # it has rested, and one message tests whether it works
    PAUSED = "paused"  # a person has paused it


class Setback(Struct, frozen=True, kw_only=True):
    """What a failure says about a relay or a provider. The defaults mean that it may be chance."""

    at_once: bool = False  # one failure is enough: other messages would fail as well
    in_doubt: bool = False  # it may concern only this message, so others must not wait long
    of_login: bool = False  # the other side counts wrong logins
    at_least: float = 0.0  # seconds of rest that the other side asks for


class Rests(Struct, frozen=True, kw_only=True):
    """Seconds of rest. Each rest in a row is twice as long as the one before."""

    first: float = 5.0
    first_after_login: float = 60.0
    longest: float = 300.0
    spread: float = 0.2

    def after(self, rests: int, setback: Setback, chance: float) -> float:
        """The rest after so many failures in a row. `chance`, from 0 to 1, varies it."""
        first = self.first_after_login if setback.of_login else self.first
        rest = min(first * 2.0**rests, self.longest)
        return rest * (1 + self.spread * (2 * chance - 1))


class Breaker:
    """
    Lets a failing relay rest, each time longer, and then tries it with one message.

    A send that began before the breaker opened does not change its state: sixteen sends that fail
    together count as one failure. A relay gets few messages at a time at first and after each rest,
    and one more with each success.
    """

    def __init__(
        self,
        *,
        full: int,
        rests: Rests,
        clock: Callable[[], float],
        random: Callable[[], float],
        slow_start: bool = True,
    ) -> None:
        self.state = State.CLOSED
        self.capacity = min(AT_FIRST, full) if slow_start else full  # sends at a time
        self._full = full
        self._after_rest = 1 if slow_start else full
        self._rests = rests
        self._clock = clock
        self._random = random
        self._rests_until = 0.0  # by the clock
        self._failures = 0  # in a row
        self._rested = 0  # times in a row
        self.begun = 0  # sends
        self._opened = 0  # `begun` when it opened or closed: sends up to it do not count
        self._shrunk = 0  # `begun` when it last asked for less
        self._shrunk_at: float | None = None  # None: it has not asked for less
        self._took_at: float | None = None  # a message, the last time

    @property
    def fit(self) -> bool:
        """Whether a send may begin."""
        if self.state is State.CLOSED:
            return True
        return self.state is State.OPEN and self._clock() >= self._rests_until

    @property
    def left(self) -> float:
        """Seconds of rest to come."""
        if self.state is not State.OPEN:
            return 0.0
        return max(0.0, self._rests_until - self._clock())

    @property
    def takes(self) -> bool:
        """Whether the relay is known to accept messages."""
        return self._took_at is not None and self._clock() < self._took_at + TAKES_SECONDS

    def begin(self) -> int:
        """A send begins. Returns the ticket to hand in when it ends."""
        if self.state is State.OPEN:
            self.state = State.PROBING
        self.begun += 1
        return self.begun

    def end(
        self,
        ticket: int,
        setback: Setback | None,
        *,
        took: bool = False,
        asks_for_less: bool = False,
    ) -> None:
        """
        A send has ended.

        `setback`: None if the other side works, whatever it said about the message. `took`: whether
        it accepted the message for at least one recipient.
        """
        if took:
            self._took_at = self._clock()
        if asks_for_less and ticket > self._shrunk:
            self.capacity = max(1, self.capacity // 2)
            self._shrunk = self.begun
            self._shrunk_at = self._clock()
        if ticket <= self._opened:
            if setback is not None and self.state is State.OPEN:
                self._rest_at_least(setback.at_least)
        elif setback is not None:
            self._failed(setback)
        else:
            self._failures = self._rested = 0
            if self.state is not State.CLOSED:
                self.state = State.CLOSED
                self._opened = self.begun
            elif (
                self.capacity < self._full
                and not asks_for_less
                and (self._shrunk_at is None or self._may_grow())
            ):
                self.capacity += 1

    def forget(self, ticket: int) -> None:
        """Learn nothing from a send that this service gave up."""
        if ticket > self._opened and self.state is State.PROBING:
            self.state = State.OPEN

    def reset(self) -> None:
        """Close the breaker, because a person says that the relay works."""
        self.state = State.CLOSED
        self._failures = self._rested = 0
        self._opened = self.begun

    def hurry(self) -> None:
        """End the rest now."""
        self._rests_until = min(self._rests_until, self._clock())

    def _may_grow(self) -> bool:
        """After a success it grows at once, but slowly if the relay has asked for less."""
        if (now := self._clock()) < (self._shrunk_at or 0.0) + REGROW_SECONDS:
            return False
        self._shrunk_at = now
        return True

    def _failed(self, setback: Setback) -> None:
        self._failures += 1
        if setback.at_once or self.state is State.PROBING or self._failures >= FAILURES:
            rest = self._rests.after(self._rested, setback, self._random())
            self._rests_until = self._clock() + rest
            self._rest_at_least(setback.at_least)
            self.state = State.OPEN
            self.capacity = self._after_rest
            self._failures = 0
            self._rested += not setback.in_doubt
            self._opened = self.begun

    def _rest_at_least(self, seconds: float) -> None:
        self._rests_until = max(self._rests_until, self._clock() + seconds)
