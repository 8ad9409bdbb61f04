"""
Rate limits of callers: a token bucket for each quota.

A token is a recipient of a mail, or a segment of a text message. A bucket holds `quota` tokens and
fills evenly over `window` seconds. So `quota` messages may come at once, then as many as flow in,
and over one window at most twice the quota. The buckets are in memory and full after a restart.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

MINUTE = 60
DAY = 86_400


class Standing(NamedTuple):
    """What is left of one quota, in the terms of draft-ietf-httpapi-ratelimit-headers-10."""

    policy: str  # `minute` or `day`
    quota: int
    window: int  # seconds
    remaining: int
    reset: int  # seconds until all of it is there again


class Verdict(NamedTuple):
    """Whether the caller may send, and the rates to report. `standings`: empty without a limit."""

    allowed: bool
    standings: tuple[Standing, ...] = ()
    retry_after: int = 0  # seconds until the same request would be allowed
    reason: str = ""  # why not, in words
    possible: bool = True  # False: more than the quota ever holds, so waiting does not help

    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy`, `RateLimit`, and `Retry-After` where it helps to wait."""
        if not self.standings:
            return {}
        headers = {
            "RateLimit-Policy": ", ".join(
                f'"{s.policy}";q={s.quota};w={s.window}' for s in self.standings
            ),
            "RateLimit": ", ".join(
                f'"{s.policy}";r={s.remaining};t={s.reset}' for s in self.standings
            ),
        }
        if not self.allowed and self.possible:
            headers["Retry-After"] = str(self.retry_after)
        return headers


UNLIMITED = Verdict(allowed=True)


class Bucket:
    """Tokens that flow in evenly, up to a quota."""

    __slots__ = ("_at", "_tokens", "policy", "quota", "window")

    def __init__(self, policy: str, quota: int, window: int, now: float) -> None:
        self.policy = policy
        self.quota = quota
        self.window = window
        self._tokens = float(quota)
        self._at = now

    def fill(self, now: float, quota: int) -> float:
        """The tokens now. A changed quota holds from now on."""
        # A clock that steps back gives nothing and takes nothing.
        elapsed = max(0.0, now - self._at)
        self._tokens = min(quota, self._tokens + elapsed * self.quota / self.window)
        self._at = now
        self.quota = quota
        return self._tokens

    def add(self, tokens: int) -> None:
        self._tokens += tokens  # what is above the quota goes at the next filling

    def has(self, tokens: int) -> bool:
        return self._tokens + _EPSILON >= tokens

    def seconds_until(self, tokens: int) -> int:
        if self.has(tokens):
            return 0
        return math.ceil((tokens - self._tokens) * self.window / self.quota)

    def standing(self) -> Standing:
        left = math.floor(self._tokens + _EPSILON)
        return Standing(self.policy, self.quota, self.window, left, self.seconds_until(self.quota))


class Limits:
    """
    The buckets of all callers. A request takes its tokens from each of its buckets or from none: a
    batch is admitted as a whole or not at all.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def __len__(self) -> int:
        """How many buckets there are."""
        return len(self._buckets)

    def take(self, caller: str, *, rate: int | None, daily: int | None, n: int = 1) -> Verdict:
        """Take `n` tokens from what is left of a caller's minute and day; None: no limit."""
        if rate is None and daily is None:
            return UNLIMITED
        buckets = self._filled(caller, rate, daily)
        short = [bucket for bucket in buckets if not bucket.has(n)]
        if short:
            return _refusal(buckets, short, n)
        for bucket in buckets:
            bucket.add(-n)
        return Verdict(allowed=True, standings=tuple(bucket.standing() for bucket in buckets))

    def refund(self, caller: str, n: int = 1) -> None:
        """Give tokens back, because the request was refused for another reason."""
        for policy in ("minute", "day"):
            bucket = self._buckets.get((caller, policy))
            if bucket is not None:
                bucket.add(n)

    def _filled(self, caller: str, rate: int | None, daily: int | None) -> list[Bucket]:
        now = self._clock()
        filled = []
        for policy, quota, window in (("minute", rate, MINUTE), ("day", daily, DAY)):
            if quota is None:
                continue
            bucket = self._buckets.get((caller, policy))
            if bucket is None:
                bucket = self._buckets[caller, policy] = Bucket(policy, quota, window, now)
            bucket.fill(now, quota)
            filled.append(bucket)
        return filled


def _refusal(buckets: list[Bucket], short: list[Bucket], n: int) -> Verdict:
    worst = max(short, key=lambda bucket: (n > bucket.quota, bucket.seconds_until(n)))
    possible = n <= worst.quota
    wait = worst.seconds_until(n) if possible else 0
    quota = f"{worst.quota} messages a {worst.policy} ({_COUNTED})"
    return Verdict(
        allowed=False,
        standings=tuple(bucket.standing() for bucket in buckets),
        retry_after=wait,
        reason=f"the key may send {quota}; {n} more will be allowed in {wait} s"
        if possible
        else f"{n} at once are more than the key's rate ever allows, {quota}",
        possible=possible,
    )


_COUNTED = "each recipient of a mail and each segment of a text counts as one"
# The error of floating point, in tokens.
_EPSILON = 1e-6
