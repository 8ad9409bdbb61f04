"""
What one rendering may use: steps, characters and processor time.

Counting is what makes it sure, as the same template with the same data ends at the same step
on every machine; the clock is there for what counting underrates.
"""

import threading
import time
from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Any

from jinja2 import Undefined
from msgspec import Struct

from notifier.errors import NotifierError

_LOOK_EVERY = 128  # steps between looks at the clock
_SINGLE = (int, float, type(None), range, Undefined)
_MANY = (list, tuple, KeysView, ValuesView, ItemsView)


class TooMuch(NotifierError):
    """A rendering that would use more than it may."""


class Allowance(Struct, frozen=True):
    """What the rendering of one file may use."""

    output: int = 1_000_000  # characters
    made: int = 16_000_000  # characters of text made on the way, shown or not
    steps: int = 200_000  # turns of loops, calls of macros and filters, elements they go over
    seconds: float = 0.25  # of this thread's processor time
    values: int = 100_000  # in the data, or in a list made from it
    text: int = 2_000_000  # characters in the data, or in a list made from it


class Meter:
    """Counts for one rendering, and ends it with TooMuch."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.missing: list[Any] = []  # what was shown without being there
        self._steps = 0
        self._made = 0
        self._look_at = 0
        self._deadline = time.thread_time() + allowance.seconds

    def spend(self, steps: int = 1, characters: int = 0) -> None:
        self._steps += steps
        self._made += characters
        if self._steps > self.allowance.steps:
            raise TooMuch(f"it takes more than {self.allowance.steps:,} steps")
        if self._made > self.allowance.made:
            raise TooMuch(f"it makes more than {self.allowance.made:,} characters")
        if self._steps >= self._look_at:
            self._look_at = self._steps + _LOOK_EVERY
            if time.thread_time() > self._deadline:
                raise TooMuch(f"it takes more than {self.allowance.seconds:g} s")

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """The same values, each of them spent as it is looked at."""
        for value in values:
            self.spend(1, len(value) if isinstance(value, str) else 0)
            yield value

    def weigh(self, value: Any) -> int:
        """
        About how many characters it takes to print. TooMuch for a tree of values too big to walk.
        What is in it twice counts twice: `[a, a]`, made from itself again and again, is small in
        memory and endless to print.
        """
        values, text, stack = 0, 0, [value]
        while stack:
            value = stack.pop()
            values += 1
            if isinstance(value, str):
                text += len(value)
            elif isinstance(value, dict):
                text += sum(map(len, filter(_is_text, value)))
                stack += value.values()
            elif isinstance(value, _MANY):
                stack += value
            elif not isinstance(value, _SINGLE):
                raise TypeError(f"a {type(value).__name__} cannot be in a list; |list makes one")
            if values + len(stack) > self.allowance.values:
                raise TooMuch(f"it holds more than {self.allowance.values:,} values")
            if text > self.allowance.text:
                raise TooMuch(f"it holds more than {self.allowance.text:,} characters of text")
        self.spend(1 + values // 8)
        return text + 8 * values


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


class _Current(threading.local):
    """The meter of the rendering that this thread is at."""

    def __init__(self) -> None:
        self.meter = Meter(Allowance())


current = _Current()
