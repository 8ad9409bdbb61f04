"""Which deliveries are next: by lane, and within a lane by fair shares for each API key."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from itertools import product, zip_longest
from typing import TypeAlias

from msgspec.structs import replace

from notifier.deliveries import Priority, Route, Status
from notifier.journal import Claim
from notifier.journal.records import Unreadable, decode
from notifier.journal.sqlite.books import Books
from notifier.journal.sqlite.inserts import for_each
from notifier.journal.sqlite.steps import set_aside

AHEAD_BYTES = 64 * 1024  # a larger content is read when it is sent
# Of so many places one goes to each of the slower lanes that have something due.
LANE_EVERY = 8

# Every (lane, key) of a route that waits, with its earliest time: a seek for each, however
# many rows wait behind it.
HEADS = """
    WITH RECURSIVE head (priority, key, due_at) AS (
        SELECT * FROM (
            SELECT priority, key, due_at FROM deliveries INDEXED BY deliveries_due
            WHERE route = ?1 AND due_at IS NOT NULL ORDER BY priority, key, due_at LIMIT 1
        )
        UNION ALL
        SELECT next.priority, next.key, next.due_at
        FROM head CROSS JOIN deliveries AS next ON next.seq = ifnull(
            (
                SELECT seq FROM deliveries INDEXED BY deliveries_due
                WHERE route = ?1 AND priority = head.priority AND key > head.key
                    AND due_at IS NOT NULL
                ORDER BY key, due_at LIMIT 1
            ),
            (
                SELECT seq FROM deliveries INDEXED BY deliveries_due
                WHERE route = ?1 AND priority > head.priority AND due_at IS NOT NULL
                ORDER BY priority, key, due_at LIMIT 1
            )
        )
    )
    SELECT priority, key, due_at FROM head
"""
DUE = """
    SELECT due.seq, due.status, due.record, CASE WHEN length(content) <= ? THEN content END
    FROM deliveries AS due INDEXED BY deliveries_due LEFT JOIN contents USING (seq)
    WHERE route = ? AND priority = ? AND key = ? AND due_at <= ?
    ORDER BY due_at, due.seq LIMIT ? OFFSET ?
"""
MARK = """
    UPDATE deliveries
    SET status = 'sending', due_at = NULL, expires_at = NULL, collapse_key = NULL
    WHERE seq IN
"""

Row: TypeAlias = tuple[int, str, bytes, bytes | None]  # seq, status, record, content


class Claims:
    """Remembers, between claims, whose turn it is."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._given: defaultdict[Route, int] = defaultdict(int)  # places, of all lanes
        self._last: dict[tuple[Route, int], str] = {}  # the key that was served last

    def take(
        self, db: sqlite3.Connection, route: Route, limit: int, now: int, slowest: Priority
    ) -> list[Claim]:
        lanes = self._lanes(db, route, now, slowest)
        claims: list[Claim] = []
        for lane, places in self._shares(route, limit, list(lanes)):
            if room := min(places, limit - len(claims)):
                rows = self._fair(db, (route, lane), lanes[lane], room, now)
                claims += self._claimed(db, rows)
        claims.sort(key=_lane)  # stable: within a lane the turns stay
        return claims

    def _claimed(self, db: sqlite3.Connection, rows: list[Row]) -> list[Claim]:
        """Marked; what cannot be read is set aside, so that the others go on."""
        seqs, claims = [], []
        for seq, status, record, content in rows:
            try:
                delivery = decode(status, record)
            except Unreadable as why:
                set_aside(db, self._books, (seq, status, record), why)
                continue
            self._books.move(delivery.status, Status.SENDING)
            seqs.append(seq)
            claims.append(Claim(replace(delivery, status=Status.SENDING), content))
        for_each(db, MARK, seqs)
        return claims

    def _lanes(
        self, db: sqlite3.Connection, route: Route, now: int, slowest: Priority
    ) -> dict[int, list[str]]:
        """The keys that have something due, by lane, the fastest lane first."""
        lanes: dict[int, list[str]] = {}
        for priority, key, due_at in db.execute(HEADS, (route.value,)).fetchall():
            if due_at <= now and priority <= slowest:
                lanes.setdefault(priority, []).append(key)
        return lanes

    def _shares(self, route: Route, limit: int, lanes: list[int]) -> Iterator[tuple[int, int]]:
        """Lanes and how many places each may fill, in this order."""
        if len(lanes) > 1:
            before = self._given[route]
            self._given[route] = after = before + limit
            for number, lane in enumerate(reversed(lanes[1:])):
                shift = number * LANE_EVERY // 2  # so that their turns never coincide
                yield lane, (after + shift) // LANE_EVERY - (before + shift) // LANE_EVERY
        for lane in lanes:
            yield lane, limit

    def _fair(
        self, db: sqlite3.Connection, at: tuple[Route, int], keys: list[str], places: int, now: int
    ) -> list[Row]:
        """Rows of one lane in turns: one of each key, then the second of each, and so on."""
        last = self._last.get(at, "")
        # Whoever comes after the one that was served last is first.
        turn = [key for key in keys if key > last] + [key for key in keys if key <= last]
        taken: dict[str, list[Row]] = {key: [] for key in turn}
        while places and turn:
            share = max(1, places // len(turn))
            for key in turn.copy():
                asked = min(share, places)
                rows = _due(db, at, key, now, asked, len(taken[key]))
                taken[key] += rows
                places -= len(rows)
                if len(rows) < asked or not places:
                    turn.remove(key)
        return self._in_turns(at, taken)

    def _in_turns(self, at: tuple[Route, int], taken: dict[str, list[Row]]) -> list[Row]:
        if len(taken) == 1:
            return next(iter(taken.values()))
        turns = [
            (key, row)
            for round_ in zip_longest(*(product([key], rows) for key, rows in taken.items()))
            for key, row in filter(None, round_)
        ]
        if turns:
            self._last[at] = turns[-1][0]
        return [row for _, row in turns]


def _due(
    db: sqlite3.Connection, at: tuple[Route, int], key: str, now: int, limit: int, offset: int
) -> list[Row]:
    route, lane = at
    return db.execute(DUE, (AHEAD_BYTES, route.value, lane, key, now, limit, offset)).fetchall()


def _lane(claim: Claim) -> int:
    return claim.delivery.priority
