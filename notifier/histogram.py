"""A histogram: how often something took how long, in a few counters."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """
    Counts values by upper bounds, in the way of Prometheus. One thread observes. Others may read at
    the same time; what they read is off by at most one value.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # the last one: larger than every bound
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound as Prometheus writes it, and how many values were up to it."""
        found, sum = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            sum += count
            found.append((bound, float(sum)))
        return found
