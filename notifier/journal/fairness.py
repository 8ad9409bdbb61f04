"""Which deliveries are claimed next: shares for each priority, and within it for each key."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product, zip_longest
from operator import attrgetter
from typing import TypeAlias, TypeVar

from notifier.deliveries import Priority
from notifier.journal.rows import moment

T = TypeVar("T")

AHEAD_BYTES = 64 * 1024  # a larger content is read when it is sent
# One in SLOWER_EVERY places goes to each slower priority that has something due.
SLOWER_EVERY = 8

by_priority = attrgetter("delivery.priority")  # of a claim

Head: TypeAlias = tuple[int, str, int]  # a priority, a key, and when its first delivery is due
Line: TypeAlias = tuple[str, int]  # a queue and a priority


class Fairness:
    """Remembers between claims whose turn it is. Each replica has a memory of its own."""

    def __init__(self) -> None:
        self._given: defaultdict[str, int] = defaultdict(int)  # places, of all priorities
        self.last: dict[Line, str] = {}  # the key that was served last

    def shares(
        self, queue: str, limit: int, heads: Iterable[Head], now: int, slowest: Priority
    ) -> Iterator[tuple[Line, list[str], int]]:
        """
        What is due: the priorities of a queue, the keys of each in turn, and how many places each
        priority may fill, in this order. The fastest is first.
        """
        due: dict[int, list[str]] = {}
        for priority, key, due_at in heads:
            if due_at <= now and priority <= slowest:
                due.setdefault(priority, []).append(key)
        if len(due) > 1:
            before = self._given[queue]
            self._given[queue] = after = before + limit
            for number, priority in enumerate(reversed([*due][1:])):
                shift = number * SLOWER_EVERY // 2  # so that the priorities' turns never coincide
                share = (after + shift) // SLOWER_EVERY - (before + shift) // SLOWER_EVERY
                yield (queue, priority), self.order((queue, priority), due[priority]), share
        for priority, keys in due.items():
            if len(keys) > 1:
                keys = self.order((queue, priority), keys)
            yield (queue, priority), keys, limit

    def order(self, line: Line, keys: Sequence[str]) -> list[str]:
        """The keys in turn, beginning after the key that was served last."""
        last = self.last.get(line, "")
        return [key for key in keys if key > last] + [key for key in keys if key <= last]

    def in_turns(self, line: Line, found: Mapping[str, Sequence[T]]) -> list[T]:
        """One delivery of each key, then a second one of each, and so on."""
        if len(found) == 1:
            [(self.last[line], only)] = found.items()
            return list(only)
        turns = [
            (key, each)
            for turn in zip_longest(*(product([key], some) for key, some in found.items()))
            for key, each in filter(None, turn)
        ]
        if turns:
            self.last[line] = turns[-1][0]
        return [each for _, each in turns]


def first_due(heads: Iterable[Head], slowest: Priority = Priority.BULK) -> datetime | None:
    """When the first of these deliveries is due."""
    due = min((due_at for priority, _, due_at in heads if priority <= slowest), default=None)
    return None if due is None else moment(due)


def portions(keys: Sequence[str], places: int) -> dict[str, int]:
    """How many deliveries to read of each key, so that they fill the places."""
    share = max(1, places // len(keys))
    return dict.fromkeys(keys[: places // share], share)
