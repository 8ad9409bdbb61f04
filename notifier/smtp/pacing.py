"""
How many messages a second a relay may get: the configured rate, and the pace that the relay has
shown to accept.
"""

from collections import deque
from collections.abc import Callable

FIRST_HOLD = 2.0  # seconds to leave a relay alone that has refused for the first time
LONGEST_HOLD = 60.0
ANSWER_SECONDS = 5.0  # given to the one message that asks a relay again, before another does
CUT = 0.95  # of what a relay has taken, what it gets at first
FIRST_REGAIN_SECONDS = 30.0  # from there back to what it has taken, where that is a guess
REGAIN_SECONDS = 60.0  # and where it is known
FORGET_AFTER = 10.0  # times as long without a refusal
RECENT_SECONDS = 20.0  # over which is counted what a relay has taken
RECENT_LEAST = 10  # messages, where it takes less than so many in that time
BURST_SECONDS = 0.1  # whose share of a learnt rate may go at once


class Rate:
    """
    So many messages a second, of which one second's share, or one message, may go at once. A
    message that is taken beyond that has to wait until its token has come in.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        """No rate: nothing waits."""
        self._rate = rate
        self._clock = clock
        self._most = max(1.0, rate or 0.0)
        self._left = self._most
        self._at = clock()

    @property
    def available(self) -> float:
        """Messages that may go now."""
        if self._rate is None:
            return float("inf")
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left

    def change(self, rate: float | None, *, burst: float) -> None:
        """Set another rate from now on, of which so many may go at once."""
        self._rate = rate
        self._most = max(1.0, burst)

    def empty(self) -> None:
        """Take all tokens: the next one has to come in first."""
        self._left, self._at = 0.0, self._clock()

    def take(self) -> float:
        """Take one message's token. Returns the seconds to wait before it is sent."""
        if self._rate is None:
            return 0.0
        self._left = self.available - 1
        return max(0.0, -self._left / self._rate)

    def wait(self) -> float:
        """Seconds until one more message may be sent."""
        if self._rate is None:
            return 0.0
        return max(0.0, (1 - self.available) / self._rate)


class Pace:
    """
    How many messages a second a relay has shown that it takes. Nothing is learnt, and nothing
    waits, until it refuses one because of their rate. Then it is left alone for some seconds,
    twice as long after each refusal in a row, and is asked with one message. Once it takes that,
    it gets a little less than it has taken of late, and from there more and more: slowly up to
    where it refused, then faster, as CUBIC has it (RFC 9438, section 4.2). So a rate is found
    with few refusals, and one that holds no more is soon left behind.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        first_hold: float = FIRST_HOLD,
        longest_hold: float = LONGEST_HOLD,
    ) -> None:
        self._clock = clock
        self._first_hold = first_hold
        self._longest_hold = longest_hold
        self._rate = Rate(None, clock)
        self._learnt = 0.0  # messages a second, where it may be; 0: nothing is learnt
        self._since = 0.0  # when it was learnt
        self._regain = REGAIN_SECONDS
        self._held_until = 0.0
        self._refused = 0  # times in a row
        self._refused_at = 0.0  # the last time
        self._refused_rate = 0.0  # what was allowed when the first of them was refused; 0: any
        self._of_rate = False  # whether one of them spoke of rate
        self._known = 0  # sends begun at the last refusal: those before it say nothing new
        self.free = True  # nothing is learnt, and nothing waits
        self._count_from = clock()
        self._count = 0  # taken since then, while nothing is learnt
        self._recent: deque[float] = deque()  # when messages were taken, while a rate is learnt

    @property
    def rate(self) -> float | None:
        """Messages a second that it may get now. None: as many as it takes."""
        if not self._learnt:
            return None
        past = (self._clock() - self._since) / self._regain
        if past > FORGET_AFTER:
            self._learnt = 0.0
            self._recent.clear()
            self.free = not self._refused
            return None
        return self._learnt * (1 - (1 - CUT) * (1 - past) ** 3)

    @property
    def limits(self) -> bool:
        """Whether anything waits, or may have to."""
        return self._refused > 0 or self.rate is not None

    @property
    def refuses(self) -> bool:
        """Whether it has taken nothing since it refused several times, one after the other."""
        return self._refused > 1

    @property
    def held_until(self) -> float:
        """By the clock: when it is asked again, where it has refused."""
        return self._held_until if self._refused else 0.0

    @property
    def available(self) -> float:
        """Messages that may go now."""
        if self.free:
            return float("inf")
        if self._refused:
            return 0.0 if self._clock() < self._held_until else 1.0
        self._set_rate()
        return self._rate.available

    def wait(self) -> float:
        """Seconds until one more may go."""
        if self.free:
            return 0.0
        if self._refused:
            return max(0.0, self._held_until - self._clock())
        self._set_rate()
        return self._rate.wait()

    def begin(self) -> None:
        """Note that a send begins."""
        if self._refused:  # alone, until it is answered
            self._held_until = self._clock() + min(ANSWER_SECONDS, self._longest_hold)
        elif self._learnt:
            self._set_rate()
            self._rate.take()

    def answered(self, ticket: int) -> None:
        """
        The relay has accepted a message, or has refused it for another reason than the rate.
        `ticket`: the number of its send.
        """
        now = self._clock()
        if self._refused and ticket > self._known:
            self._learn(now)
        if self._learnt:
            self._recent.append(now)
            while len(self._recent) > RECENT_LEAST and self._recent[0] < now - RECENT_SECONDS:
                self._recent.popleft()
        else:
            if not self._refused and now > self._count_from + RECENT_SECONDS:
                self._count_from, self._count = now, 0
            self._count += 1

    def refused(self, ticket: int, *, begun: int, of_rate: bool) -> bool:
        """
        The relay wants fewer messages, or fewer connections where it does not speak of the rate.
        `begun`: how many sends have begun. False: that is no news, as the message was sent before
        the relay said so of another.
        """
        if ticket <= self._known:
            return False
        now = self._clock()
        if not self._refused:
            self._refused_rate = self.rate or 0.0
            self._of_rate = False
        first = self._first_hold
        if self._refused_rate:  # it is about right already
            first = max(first / 2, 1.5 / self._refused_rate)
        longest = max(self._longest_hold, first)
        self._held_until = now + min(first * 2.0**self._refused, longest)
        self._refused += 1
        self._refused_at = now
        self._of_rate |= of_rate
        self._known = begun
        self.free = False
        return True

    def _learn(self, now: float) -> None:
        """It takes messages again."""
        refused, self._refused, self._held_until = self._refused, 0, 0.0
        if not self._of_rate:
            self.free = not self._learnt
            return
        # Several refusals in a row: it would have taken one at some time since the last of them.
        until = (self._refused_at + now) / 2 if refused > 1 else now
        if self._refused_rate:
            since = self._recent[0] if self._recent else self._count_from
            taken = max(1, len(self._recent)) / max(until - since, 0.01)
            least = self._refused_rate / 4
            self._learnt = min(self._refused_rate, max(taken, least))
        else:
            self._learnt = max(1, self._count) / max(until - self._count_from, 0.01)
        sure = self._learnt > self._refused_rate / 2 > 0
        self._regain = (
            max(REGAIN_SECONDS, 15 / self._learnt)
            if sure
            else max(FIRST_REGAIN_SECONDS, 4 / self._learnt)
        )
        self._since = self._count_from = now
        self._count = 0
        self._set_rate()
        self._rate.empty()

    def _set_rate(self) -> None:
        rate = self.rate
        self._rate.change(rate, burst=(rate or 0.0) * BURST_SECONDS)
