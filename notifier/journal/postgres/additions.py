"""New deliveries, and the idempotency keys under which they came."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from notifier.deliveries import WAITING, Delivery
from notifier.errors import IdempotencyMismatch
from notifier.journal import Added, Entry, Idempotency
from notifier.journal.postgres import rows
from notifier.journal.postgres.changes import change_all
from notifier.journal.postgres.connection import Connection
from notifier.journal.rows import conversations, lasting, micros, stored, terms

_TYPES, _NAMES = rows.arrays(rows.CHANGING_TYPES, rows.LASTING_TYPES, {"content": "bytea"})
_WIDTH = len(rows.CHANGING_TYPES) + len(rows.LASTING_TYPES) + 1
_COLUMNS = ", ".join((*rows.CHANGING_TYPES, *rows.LASTING_TYPES))
_STORED = ", ".join(stored(name, name) for name in (*rows.CHANGING_TYPES, *rows.LASTING_TYPES))
ADD = f"""
    WITH given AS MATERIALIZED (
        SELECT nextval('deliveries_seq') AS seq, given.*
        FROM unnest({_TYPES}) WITH ORDINALITY AS given ({_NAMES}, place)
    ), added AS (
        INSERT INTO deliveries (seq, {_COLUMNS}) SELECT seq, {_STORED} FROM given
    ), kept AS (
        INSERT INTO contents SELECT seq, content FROM given
    )
    INSERT INTO terms SELECT found.term, given.seq
    FROM unnest(${_WIDTH + 1}::bigint[], ${_WIDTH + 2}::text[]) AS found (place, term)
    JOIN given USING (place)
"""  # noqa: S608  constant
INSERT_CONVERSATIONS = """
    INSERT INTO conversations SELECT seq, number, lines
    FROM unnest($1::text[], $2::int[], $3::bytea[]) AS new (id, number, lines)
    JOIN deliveries USING (id)
"""
# In the order of the keys, so that two replicas that take several keys never wait for each
# other in a circle. The statement waits for a key that another transaction is taking.
TAKE_KEYS = """
    INSERT INTO idempotency AS kept (scope, key, fingerprint, answer, asked_at, expires_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[],
        $6::bigint[]) AS asked (scope, key, fingerprint, answer, asked_at, expires_at)
    ORDER BY scope, key
    ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint,
        answer = excluded.answer, asked_at = excluded.asked_at, expires_at = excluded.expires_at
        WHERE kept.expires_at <= excluded.asked_at
    RETURNING scope, key
"""
KEPT = """
    SELECT scope, key, fingerprint, answer FROM idempotency
    JOIN unnest($1::text[], $2::text[]) AS asked (scope, key) USING (scope, key)
"""
ANSWER = """
    SELECT fingerprint, answer FROM idempotency WHERE scope = $1 AND key = $2 AND expires_at > $3
"""
WAITING_ALIKE = """
    SELECT seq, status, record FROM deliveries
    WHERE key = $1 AND collapse_key = $2 ORDER BY seq DESC FOR UPDATE
"""

KeyName: TypeAlias = tuple[str, str]  # scope, key


class Addition(Struct, gc=False, eq=False):
    """The entries of one call, and the caller's future."""

    entries: Sequence[Entry]
    idempotency: Idempotency | None
    future: "asyncio.Future[Added]"

    @property
    def collapses(self) -> bool:
        return any(entry.delivery.collapse_key for entry in self.entries)


async def add_all(db: Connection, additions: Sequence[Addition]) -> list[Added | Exception]:
    """
    Add all entries in the caller's transaction. Returns each call's result. A refused call writes
    nothing.
    """
    await _lock(db, additions)
    answers = await _answers(db, additions)
    new = [each for each, answer in zip(additions, answers, strict=True) if answer is None]
    await _insert(db, [entry for each in new if not each.collapses for entry in each.entries])
    return [
        answer if answer is not None else await _collapse(db, each)
        for each, answer in zip(additions, answers, strict=True)
    ]


async def _lock(db: Connection, additions: Sequence[Addition]) -> None:
    """Lock the collapse keys: of two calls at the same time, the later must see the earlier."""
    names = {
        f"{entry.delivery.key}\n{entry.delivery.collapse_key}"
        for each in additions
        for entry in each.entries
        if entry.delivery.collapse_key
    }
    if names:
        locks = sorted(_lock_number(name) for name in names)
        await db.execute("SELECT pg_advisory_xact_lock(n) FROM unnest($1::bigint[]) AS n", locks)


def _lock_number(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


async def _answers(db: Connection, additions: Sequence[Addition]) -> list[Added | Exception | None]:
    """The stored answer for each repeated request. None: the request is new."""
    first: dict[KeyName, Idempotency] = {}
    for each in additions:
        if each.idempotency is not None:
            first.setdefault(_name(each.idempotency), each.idempotency)
    if not first:
        return [None] * len(additions)
    taken = await _take(db, first, _asked_at(additions))
    kept = {name: (asked.fingerprint, asked.answer) for name, asked in first.items()}
    if earlier := [name for name in first if name not in taken]:
        for scope, key, fingerprint, answer in await db.fetch(KEPT, *rows.turned(earlier, 2)):
            kept[scope, key] = fingerprint, answer
    answers: list[Added | Exception | None] = []
    for each in additions:
        asked = each.idempotency
        if asked is None or (asked is first[_name(asked)] and _name(asked) in taken):
            answers.append(None)
        else:
            answers.append(_replay(asked, *kept[_name(asked)]))
    return answers


async def _take(
    db: Connection, first: dict[KeyName, Idempotency], asked_at: dict[KeyName, int]
) -> set[KeyName]:
    """Take the free idempotency keys. Returns those that were taken now."""
    values = [
        (*name, asked.fingerprint, asked.answer, asked_at[name], micros(asked.expires_at))
        for name, asked in first.items()
    ]
    return {(scope, key) for scope, key in await db.fetch(TAKE_KEYS, *rows.turned(values, 6))}


def _asked_at(additions: Sequence[Addition]) -> dict[KeyName, int]:
    times: dict[KeyName, int] = {}
    for each in additions:
        if each.idempotency is not None:
            now = each.entries[0].delivery.created_at if each.entries else datetime.now(UTC)
            times.setdefault(_name(each.idempotency), micros(now))
    return times


def _name(asked: Idempotency) -> KeyName:
    return asked.scope, asked.key


async def answer_kept(
    db: Connection, name: KeyName, fingerprint: bytes, now: datetime
) -> bytes | None:
    """The answer kept under a key. None: the key is free. Raises IdempotencyMismatch."""
    row = await db.fetchrow(ANSWER, *name, micros(now))
    if row is None:
        return None
    answer: bytes = row["answer"]
    if row["fingerprint"] != fingerprint:
        raise IdempotencyMismatch(name[1])
    return answer


def _replay(asked: Idempotency, fingerprint: bytes, answer: bytes) -> Added | Exception:
    return Added(answer) if fingerprint == asked.fingerprint else IdempotencyMismatch(asked.key)


async def _insert(db: Connection, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    values = [
        (
            *rows.changing(each.delivery),
            *lasting(each.delivery),
            micros(each.delivery.created_at),
            each.content,
        )
        for each in entries
    ]
    found_by = [
        (place, term) for place, each in enumerate(entries, 1) for term in terms(each.delivery)
    ]
    await db.execute(ADD, *rows.turned(values, _WIDTH), *rows.turned(found_by, 2))
    said = [(each.delivery.id, *row) for each in entries for row in conversations(each.delivery)]
    if said:
        await db.execute(INSERT_CONVERSATIONS, *rows.turned(said, 3))


async def _collapse(db: Connection, addition: Addition) -> Added:
    """Supersede the deliveries one after the other. Among several of one call the last remains."""
    superseded: list[Delivery] = []
    for entry in addition.entries if addition.collapses else ():
        new = entry.delivery
        if new.collapse_key and new.status in WAITING:
            found = await db.fetch(WAITING_ALIKE, new.key, new.collapse_key)
            change = partial(Delivery.superseded, now=new.created_at, by=new.id)
            superseded += await change_all(db, found[::-1], change, hold=True)
        await _insert(db, [entry])
    return Added(superseded=tuple(superseded))
