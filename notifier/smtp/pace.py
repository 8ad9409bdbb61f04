"""Keep to so many messages a second."""

from collections.abc import Callable


class Pace:
    """
    A bucket of one second's messages, one at least, that fills up again at the given rate.
    What is taken from an empty one is owed: whoever takes it waits.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._most = max(1.0, rate or 0.0)
        self._left = self._most
        self._at = clock()

    @property
    def room(self) -> float:
        """Messages that may go now."""
        if self._rate is None:
            return float("inf")
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left

    def take(self) -> float:
        """Take one; the seconds to wait before it goes."""
        if self._rate is None:
            return 0.0
        self._left = self.room - 1
        return max(0.0, -self._left / self._rate)

    def wait(self) -> float:
        """Seconds until one more may go."""
        if self._rate is None:
            return 0.0
        return max(0.0, (1 - self.room) / self._rate)
