"""
Which deliveries are next: by lane, and within a lane by fair shares for each API key. Whose
turn it is each replica remembers for itself.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product, zip_longest
from typing import Any, TypeAlias

from msgspec.structs import replace

from notifier.deliveries import Priority, Route, Status
from notifier.journal import Claim
from notifier.journal.postgres.opening import Connection
from notifier.journal.postgres.steps import set_aside
from notifier.journal.postgres.writer import Held
from notifier.journal.records import Unreadable, decode

AHEAD_BYTES = 64 * 1024  # a larger content is read when it is sent
# Of so many places one goes to each of the slower lanes that have something due.
LANE_EVERY = 8

# Every (lane, key) of a route that waits, with its earliest time: a seek for each, however
# many rows wait behind it.
HEADS = """
    WITH RECURSIVE head AS (
        (
            SELECT priority, key, due_at FROM deliveries
            WHERE route = $1 AND due_at IS NOT NULL ORDER BY priority, key, due_at LIMIT 1
        )
        UNION ALL
        SELECT next.priority, next.key, next.due_at FROM head CROSS JOIN LATERAL (
            SELECT priority, key, due_at FROM deliveries
            WHERE route = $1 AND due_at IS NOT NULL AND (priority, key) > (head.priority, head.key)
            ORDER BY priority, key, due_at LIMIT 1
        ) AS next
    )
    SELECT priority, key, due_at FROM head
"""
# What another replica is claiming just now is passed over, not waited for.
TAKE = f"""
    WITH due AS MATERIALIZED (
        SELECT found.seq, found.status FROM unnest($4::text[], $5::bigint[]) AS turn (key, places)
        CROSS JOIN LATERAL (
            SELECT seq, status FROM deliveries
            WHERE route = $1 AND priority = $2 AND key = turn.key AND due_at <= $3
            ORDER BY due_at, seq LIMIT turn.places FOR UPDATE SKIP LOCKED
        ) AS found
    )
    UPDATE deliveries SET status = 'sending', due_at = NULL, expires_at = NULL,
        collapse_key = NULL, lease = $6, claim = $7
    FROM due LEFT JOIN contents USING (seq)
    WHERE deliveries.seq = due.seq
    RETURNING deliveries.seq, deliveries.key, due.status, deliveries.record,
        CASE WHEN octet_length(content) <= {AHEAD_BYTES} THEN content END AS content
"""  # noqa: S608  constant

Taken: TypeAlias = tuple[int, Claim]  # seq, by which those due at the same time are in order


class Claims:
    """Remembers, between claims, whose turn it is."""

    def __init__(self) -> None:
        self._given: defaultdict[Route, int] = defaultdict(int)  # places, of all lanes
        self._last: dict[tuple[Route, int], str] = {}  # the key that was served last

    async def take(
        self, db: Connection, route: Route, limit: int, now: int, slowest: Priority, held: Held
    ) -> list[Claim]:
        """Each statement is a transaction: what it has marked is ours, whatever comes next."""
        lanes: dict[int, list[str]] = {}
        for priority, key, due_at in await db.fetch(HEADS, route.value):
            if due_at <= now and priority <= slowest:
                lanes.setdefault(priority, []).append(key)
        claims: list[Claim] = []
        for lane, places in self._shares(route, limit, list(lanes)):
            if room := min(places, limit - len(claims)):
                claims += await self._fair(db, (route, lane), lanes[lane], room, now, held)
        claims.sort(key=_lane)  # stable: within a lane the turns stay
        return claims

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

    async def _fair(
        self,
        db: Connection,
        at: tuple[Route, int],
        keys: list[str],
        places: int,
        now: int,
        held: Held,
    ) -> list[Claim]:
        """Rows of one lane in turns: one of each key, then the second of each, and so on."""
        last = self._last.get(at, "")
        # Whoever comes after the one that was served last is first.
        turn = [key for key in keys if key > last] + [key for key in keys if key <= last]
        taken: dict[str, list[Taken]] = {key: [] for key in turn}
        while places and turn:
            asked = _asked(turn, places)
            got = await _take(db, at, now, asked, held)
            for key, rows in got.items():
                taken[key] += rows
                places -= len(rows)
            turn = [key for key, share in asked.items() if len(got.get(key, ())) == share]
        return self._in_turns(at, taken)

    def _in_turns(self, at: tuple[Route, int], taken: dict[str, list[Taken]]) -> list[Claim]:
        for rows in taken.values():
            rows.sort(key=_order)
        turns = [
            (key, claim)
            for round_ in zip_longest(*(product([key], rows) for key, rows in taken.items()))
            for key, (_, claim) in filter(None, round_)
        ]
        if turns:
            self._last[at] = turns[-1][0]
        return [claim for _, claim in turns]


def _asked(turn: list[str], places: int) -> dict[str, int]:
    """How many of each key, those whose turn it is first."""
    share = max(1, places // len(turn))
    return dict.fromkeys(turn[: places // share], share)


async def _take(
    db: Connection, at: tuple[Route, int], now: int, asked: dict[str, int], held: Held
) -> dict[str, list[Taken]]:
    route, lane = at
    keys, shares = list(asked), list(asked.values())
    found = await db.fetch(TAKE, route.value, lane, now, keys, shares, held.lease, held.claim)
    taken: dict[str, list[Taken]] = {}
    for row in found:
        try:
            delivery = replace(decode(row["status"], row["record"]), status=Status.SENDING)
        except Unreadable as why:  # set aside, so that the others go on
            await set_aside(db, row, why)
        else:
            claim = Claim(delivery, row["content"])
            taken.setdefault(row["key"], []).append((row["seq"], claim))
    return taken


def _order(taken: Taken) -> tuple[Any, int]:
    return taken[1].delivery.due_at, taken[0]


def _lane(claim: Claim) -> int:
    return claim.delivery.priority
