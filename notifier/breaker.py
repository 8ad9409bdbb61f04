"""When a relay or a provider that fails may be tried again, and how much it gets at a time."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

FAILURES = 3  # in a row that open it
AT_FIRST = 4  # sends at a time with a relay of which nothing is known
TAKES_SECONDS = 600.0  # one that took a message is known to take some for so long
REGROW_SECONDS = 60.0  # before a relay that asked for less gets one more at a time


class State(StrEnum):
    """Whether a relay or a provider is in use."""

    CLOSED = "closed"  # it works
    OPEN = "open"  # it rests
    PROBING = "probing"  # it has rested, and one message tries whether it works
    PAUSED = "paused"  # a person has taken it out


class Setback(Struct, frozen=True, kw_only=True):
    """What a failure says of a relay or a provider. By default it may be chance."""

    at_once: bool = False  # one is enough: other messages would fail as well
    in_doubt: bool = False  # it may be true of this message only, so others must not wait long
    of_login: bool = False  # wrong logins are counted on the other side
    at_least: float = 0.0  # seconds of rest that the other side asks for


class Rests(Struct, frozen=True, kw_only=True):
    """Seconds. Each rest in a row is twice as long as the one before."""

    first: float = 5.0
    first_after_login: float = 60.0
    longest: float = 300.0
    spread: float = 0.2

    def after(self, rests: int, setback: Setback, chance: float) -> float:
        """The rest after so many in a row; `chance`, from 0 to 1, spreads it."""
        first = self.first_after_login if setback.of_login else self.first
        rest = min(first * 2.0**rests, self.longest)
        return rest * (1 + self.spread * (2 * chance - 1))


class Breaker:
    """
    Lets what fails rest, longer each time, and then tries it with one message. A send that began
    before the breaker opened changes its state no more: sixteen that fail together are one
    failure. A relay that starts slowly gets few messages at a time at first and after each rest,
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
        self._begun = 0
        self._opened = 0  # `_begun` when it opened or closed: sends up to it do not count
        self._shrunk = 0  # `_begun` when it last asked for less
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
        """Whether it is known to take messages."""
        return self._took_at is not None and self._clock() < self._took_at + TAKES_SECONDS

    def begin(self) -> int:
        """A send begins. Returns the ticket to hand in when it ends."""
        if self.state is State.OPEN:
            self.state = State.PROBING
        self._begun += 1
        return self._begun

    def end(
        self,
        ticket: int,
        setback: Setback | None,
        *,
        took: bool = False,
        asks_for_less: bool = False,
    ) -> None:
        """
        A send has ended. No setback: the other side works, whatever it thinks of the message.
        `took`: it accepted the message for somebody.
        """
        if took:
            self._took_at = self._clock()
        if asks_for_less and ticket > self._shrunk:
            self.capacity = max(1, self.capacity // 2)
            self._shrunk = self._begun
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
                self._opened = self._begun
            elif self.capacity < self._full and not asks_for_less and self._may_grow():
                self.capacity += 1

    def forget(self, ticket: int) -> None:
        """We gave up a send ourselves: nothing is learnt from it."""
        if ticket > self._opened and self.state is State.PROBING:
            self.state = State.OPEN

    def reset(self) -> None:
        """A person says that it works."""
        self.state = State.CLOSED
        self._failures = self._rested = 0
        self._opened = self._begun

    def hurry(self) -> None:
        """Rest no longer."""
        self._rests_until = min(self._rests_until, self._clock())

    def _may_grow(self) -> bool:
        """At once after each success; slowly where the relay has asked for less."""
        if self._shrunk_at is None:
            return True
        if (now := self._clock()) < self._shrunk_at + REGROW_SECONDS:
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
            self._opened = self._begun

    def _rest_at_least(self, seconds: float) -> None:
        self._rests_until = max(self._rests_until, self._clock() + seconds)
