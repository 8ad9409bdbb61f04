"""When a relay that does not work may be tried again, and how much it may get at a time."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from notifier.attempts import Failure, Stage
from notifier.smtp.failures import ABOUT_LOGIN, BETWEEN_US, HOPELESS, NOT_FOR_US, OURS

FAILURES = 3  # in a row that make it rest
AT_FIRST = 4  # sends at a time with a relay that nothing is known of
TAKES_SECONDS = 600.0  # a relay that took a message is known to take some for so long
REGROW_SECONDS = 60.0  # before a relay that asked for less gets one more at a time


# Here a relay speaks of this message or this recipient, and perhaps of no other.
ABOUT_ONE = frozenset({Stage.RCPT, Stage.DATA, Stage.DOT})


class State(StrEnum):
    """Whether a relay is in use."""

    CLOSED = "closed"  # it works
    OPEN = "open"  # it rests
    PROBING = "probing"  # it has rested, and one message tries whether it works
    PAUSED = "paused"  # a person has taken it out


class Rests(Struct, frozen=True, kw_only=True):
    """Seconds. Each rest in a row is twice as long as the one before."""

    first: float = 5.0
    first_after_login: float = 60.0
    longest: float = 300.0
    spread: float = 0.2

    def after(self, rests: int, failure: Failure, chance: float) -> float:
        """After so many rests in a row; of what is said of one recipient none is the longer."""
        login = failure.name in ABOUT_LOGIN and not _of_one(failure)
        first = self.first_after_login if login else self.first
        rest = min(first * 2.0**rests, self.longest)
        return rest * (1 + self.spread * (2 * chance - 1))


class Breaker:
    """
    A relay that fails is left alone, longer each time, and then tried with one message; one
    that works again gets more step by step. What was begun before it opened does not count
    any more when it ends: sixteen that fail together are one failure. A relay that takes
    messages cannot be made to rest by those that it does not relay.
    """

    def __init__(
        self,
        *,
        full: int,
        rests: Rests,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.state = State.CLOSED
        self.capacity = min(AT_FIRST, full)  # sends at a time
        self.rests_until = 0.0  # by the clock
        self._full = full
        self._rests = rests
        self._clock = clock
        self._random = random
        self._failures = 0  # in a row
        self._rested = 0  # times in a row
        self._begun = 0
        self._opened = 0  # `_begun` then: what was begun before belongs to the past
        self._shrunk = 0  # the same
        self._shrunk_at: float | None = None  # None: it has not asked for less
        self._took_at: float | None = None  # a message, the last time

    @property
    def fit(self) -> bool:
        """Whether a send may begin."""
        if self.state is State.CLOSED:
            return True
        return self.state is State.OPEN and self._clock() >= self.rests_until

    def begin(self) -> int:
        """A send begins: the ticket to hand in when it ends."""
        if self.state is State.OPEN:
            self.state = State.PROBING
        self._begun += 1
        return self._begun

    def end(
        self,
        ticket: int,
        failure: Failure | None,
        *,
        took: bool = False,
        asks_for_less: bool = False,
    ) -> None:
        """
        What a send has shown: the relay's failure, or that it works. `took`: it accepted the
        message for somebody.
        """
        if took:
            self._took_at = self._clock()
        if asks_for_less and ticket > self._shrunk:
            self._shrink()
        if ticket <= self._opened:
            return
        if failure is None or failure.name in BETWEEN_US or self._disproved(failure):
            self._worked(asks_for_less)
        elif failure.name == OURS:
            self.forget(ticket)
        else:
            self._failed(failure)

    def forget(self, ticket: int) -> None:
        """A send was given up by ourselves: nothing is learnt from it."""
        if ticket > self._opened and self.state is State.PROBING:
            self.state = State.OPEN

    def hurry(self) -> None:
        """Rest no longer."""
        self.rests_until = min(self.rests_until, self._clock())

    def _worked(self, asks_for_less: bool) -> None:
        self._failures = self._rested = 0
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._opened = self._begun
        elif self.capacity < self._full and not asks_for_less and self._may_grow():
            self.capacity += 1

    def _may_grow(self) -> bool:
        """At once after each success; slowly where the relay has asked for less."""
        if self._shrunk_at is None:
            return True
        if (now := self._clock()) < self._shrunk_at + REGROW_SECONDS:
            return False
        self._shrunk_at = now
        return True

    @property
    def _takes(self) -> bool:
        """Whether it is known to take messages."""
        return self._took_at is not None and self._clock() < self._took_at + TAKES_SECONDS

    def _disproved(self, failure: Failure) -> bool:
        """Whether it says that it takes nothing from us, and is known to take something."""
        return failure.name in NOT_FOR_US and self._takes

    def _failed(self, failure: Failure) -> None:
        self._failures += 1
        hopeless = failure.name in HOPELESS and failure.stage not in ABOUT_ONE
        if failure.code is not None and failure.code < 500 and self._takes:
            hopeless = False  # not now, says a greeting: one connection more than it likes
        if hopeless or self.state is State.PROBING or self._failures >= FAILURES:
            rest = self._rests.after(self._rested, failure, self._random())
            self.rests_until = self._clock() + rest
            self.state = State.OPEN
            self.capacity = 1
            self._failures = 0
            self._rested += not _of_one(failure)
            self._opened = self._begun

    def _shrink(self) -> None:
        self.capacity = max(1, self.capacity // 2)
        self._shrunk = self._begun
        self._shrunk_at = self._clock()


def _of_one(failure: Failure) -> bool:
    """Whether it may be true of one recipient only, so that others must not wait for long."""
    return failure.name in NOT_FOR_US and failure.stage in ABOUT_ONE
