"""A number of messages in a time, as in `20/h`."""

import re
from functools import lru_cache

from msgspec import Struct

PERIODS = {"min": 60, "h": 3600, "d": 86_400}  # in seconds
MOST = 1_000_000  # in one period

_WRITTEN = re.compile(r"([0-9]{1,7})/(min|h|d)")
_NAMES = {"min": "minute", "h": "hour", "d": "day"}


class Quota(Struct, frozen=True):
    """At most `count` in each period: `min`, `h` or `d`."""

    count: int
    period: str

    @property
    def seconds(self) -> int:
        """The period's length."""
        return PERIODS[self.period]

    def __str__(self) -> str:
        return f"{self.count}/{self.period}"

    @property
    def words(self) -> str:
        """The quota for people: `20 an hour`."""
        name = _NAMES[self.period]
        return f"{self.count} {'an' if name == 'hour' else 'a'} {name}"


@lru_cache(maxsize=256)
def read_quota(text: str) -> Quota:
    """The quota of a text such as `20/h`. Raises ValueError."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None or not 1 <= int(found[1]) <= MOST:
        raise ValueError(
            f"{text!r} is not a number of messages in a time; write 20/h, 5/min or 100/d"
        )
    return Quota(int(found[1]), found[2])
