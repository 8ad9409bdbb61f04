"""Clocks that tests set."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Stands until a test sets `now`, or goes by one `step` with each look. In any unit."""

    def __init__(self, now=1000.0, *, step=None):
        self.now = now
        self.step = step

    def __call__(self):
        if self.step:
            self.now += self.step
        return self.now


class WallClock:
    """The wall clock, and by how much somebody has set it."""

    def __init__(self):
        self.shift = timedelta()

    def __call__(self):
        return datetime.now(UTC) + self.shift

    def set(self, at):
        self.shift = at - datetime.now(UTC)
