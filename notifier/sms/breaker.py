"""When to leave a provider alone."""

STRIKES = 3  # failures in a row that are needed to open it
SHORTEST, LONGEST = 5.0, 300.0  # seconds of rest; each is twice the one before
LONGEST_ASKED = 3600.0  # seconds that a provider may ask for
TAKES_SECONDS = 600.0  # a provider that took a text is known to take some for so long


class Breaker:
    """
    Closed while all is well. Open: it rests. After the rest it is being probed, by one message,
    whose fate closes it or opens it for twice as long. A provider that takes texts cannot be
    made to rest by those that it does not. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._strikes = 0
        self._rest = 0.0  # the last one; 0: closed
        self._until = 0.0
        self._took_at: float | None = None  # a text, the last time

    def resting(self, now: float) -> bool:
        return now < self._until

    def probing(self, now: float) -> bool:
        return self._rest > 0 and not self.resting(now)

    def left(self, now: float) -> float:
        """Seconds of rest to come."""
        return max(0.0, self._until - now)

    def close(self) -> None:
        """It has answered as it should."""
        self._strikes, self._rest, self._until, self.reason = 0, 0.0, 0.0, ""

    def took(self, now: float) -> None:
        """It has accepted a text."""
        self._took_at = now

    def doubt(self, now: float, reason: str) -> None:
        """It takes nothing from us, or not this; which of them, what it took of late says."""
        if self._took_at is None or now >= self._took_at + TAKES_SECONDS:
            self.strike(now, reason, longer=False)
        elif not self.resting(now):
            self.close()

    def strike(self, now: float, reason: str, *, longer: bool = True) -> None:
        """It has failed; that may be chance."""
        self._strikes += 1
        if self._strikes >= STRIKES or self.probing(now):
            self.open(now, reason, longer=longer)

    def open(self, now: float, reason: str, *, at_least: float = 0.0, longer: bool = True) -> None:
        """It will fail for all alike. What was under way when it opened does not lengthen it."""
        if not self.resting(now):
            self._rest = min(max(2 * self._rest, SHORTEST), LONGEST) if longer else SHORTEST
            self._until = now + self._rest
        self._until = max(self._until, now + min(at_least, LONGEST_ASKED))
        self.reason = reason
