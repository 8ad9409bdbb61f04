"""How a journal's commits fare."""

from notifier.histogram import Histogram


class Commits:
    """How long each commit took, in seconds, and how many pieces of work shared it."""

    def __init__(self) -> None:
        self.seconds = Histogram((0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5))
        self.sizes = Histogram((1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))

    def observe(self, seconds: float, size: int) -> None:
        self.seconds.observe(seconds)
        self.sizes.observe(size)
