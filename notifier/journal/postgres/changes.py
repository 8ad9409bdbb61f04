"""Change deliveries, many by one statement, and delete old ones."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import structlog
from msgspec import Struct

from notifier.deliveries import Delivery, Status
from notifier.errors import MessageNotFound, Rejected, WrongState
from notifier.journal import Change
from notifier.journal.postgres import rows
from notifier.journal.postgres.connection import TROUBLE, Connection
from notifier.journal.rows import Unreadable, conversations, decode, micros, salvaged, terms
from notifier.journal.statements import Also, Statement

Found: TypeAlias = Any  # a row with seq, status, record


class Amendment(Struct, gc=False, eq=False):
    """One delivery to change, with what goes with it, and the caller's future."""

    id: str
    change: Change
    also: Also | None
    future: "asyncio.Future[Delivery]"


_TYPES, _NAMES = rows.arrays({"seq": "bigint"}, rows.CHANGING_TYPES)
UPDATE = f"""
    UPDATE deliveries SET {rows.SET} FROM unnest({_TYPES}) AS changed ({_NAMES})
    WHERE deliveries.seq = changed.seq
"""  # noqa: S608  constant
SEVERAL = """
    SELECT id, seq, status, record FROM deliveries WHERE id = ANY ($1::text[])
    ORDER BY seq DESC FOR UPDATE
"""
INSERT_CONVERSATIONS = """
    INSERT INTO conversations SELECT * FROM unnest($1::bigint[], $2::int[], $3::bytea[])
    ON CONFLICT (seq, number) DO UPDATE SET lines = excluded.lines
"""
# The columns without the record, which cannot be read and stays as it is.
UPDATE_UNREADABLE = """
    UPDATE deliveries SET status = $2, due_at = NULL, expires_at = NULL, collapse_key = NULL,
        finished_at = $3, held_at = $4, lease = NULL, claim = NULL
    WHERE seq = $1
"""
ENDED = """
    DELETE FROM deliveries WHERE seq IN (
        SELECT seq FROM deliveries WHERE finished_at < $1
        ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING seq, status, record
"""
DROP_TERMS = """
    DELETE FROM terms USING unnest($1::text[], $2::bigint[]) AS gone (term, seq)
    WHERE terms.term = gone.term AND terms.seq = gone.seq
"""
STRIP = """
    UPDATE deliveries SET stripped = TRUE WHERE seq IN (
        SELECT seq FROM deliveries WHERE finished_at < $1 AND NOT stripped
        ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING seq
"""
DROP_CONTENTS = "DELETE FROM contents WHERE seq = ANY ($1::bigint[]) RETURNING seq"
DROP_CONVERSATIONS = "DELETE FROM conversations WHERE seq = ANY ($1::bigint[])"
DROP_KEYS = """
    DELETE FROM idempotency WHERE (scope, key) IN (
        SELECT scope, key FROM idempotency WHERE expires_at <= $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING scope
"""

log = structlog.get_logger()


async def update(db: Connection, changes: Sequence[tuple[int, Delivery]]) -> None:
    """Write changed deliveries, whose rows are locked."""
    if changes:
        values = [(seq, *rows.changing(delivery)) for seq, delivery in changes]
        await db.execute(UPDATE, *rows.turned(values, len(rows.CHANGING_TYPES) + 1))
        # Only records written by version 1 contain conversations; later ones have rows for them.
        if said := [(seq, *row) for seq, each in changes for row in conversations(each)]:
            await db.execute(INSERT_CONVERSATIONS, *rows.turned(said, 3))


async def change_all(
    db: Connection, found: Sequence[Found], change: Change, *, hold: bool
) -> list[Delivery]:
    """
    Change deliveries, and return those that were changed. If the change raises Rejected, the row
    stays.

    A delivery whose record cannot be read can only be finished. A change that does not finish it
    holds it instead (`hold`), so that it does not come back for ever, or leaves it as it is.
    """
    after: list[Delivery] = []
    changes: list[tuple[int, Delivery]] = []
    for row in found:
        with contextlib.suppress(Rejected):
            try:
                before = decode(row["status"], row["record"])
            except Unreadable as why:
                after.append(await _change_unreadable(db, row, change, why, hold=hold))
                continue
            after.append(change(before))
            if after[-1] is not before:
                changes.append((row["seq"], after[-1]))
    await update(db, changes)
    return after


async def _amended(
    db: Connection,
    row: Found | None,
    amendment: Amendment,
    changes: list[tuple[int, Delivery]],
) -> Delivery:
    """
    The delivery after a change, which is put among `changes`. Raises MessageNotFound, and what the
    change raises; WrongState if the record cannot be read and the change does not finish it.
    """
    if row is None:
        raise MessageNotFound(amendment.id)
    try:
        before = decode(row["status"], row["record"])
    except Unreadable as why:
        return await _change_unreadable(db, row, amendment.change, why, hold=False)
    after = amendment.change(before)
    if after is not before:
        changes.append((row["seq"], after))
    return after


async def amend_all(db: Connection, amendments: Sequence[Amendment]) -> list[Delivery | Exception]:
    """
    Change each delivery by its amendment; all deliveries are different. Returns the changed
    delivery, or the error that the change raised: then the delivery stays as it was.
    """
    ids = [each.id for each in amendments]
    found = {row["id"]: row for row in await db.fetch(SEVERAL, ids)}
    answers: list[Delivery | Exception] = []
    changes: list[tuple[int, Delivery]] = []
    also: list[Statement] = []
    for each in amendments:
        try:
            after = await _amended(db, found.get(each.id), each, changes)
        except TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001  the caller gets it
            answers.append(error)
        else:
            answers.append(after)
            also += () if each.also is None else each.also([after])
    await update(db, changes)
    await rows.run_all(db, also)
    return answers


async def hold_unreadable(db: Connection, row: Found, why: Unreadable) -> Delivery:
    """Hold a delivery that cannot be read, for a person or a newer notifier."""
    delivery = await rows.salvaged(db, row["seq"], Status.HELD, row["record"], why)
    now = micros(datetime.now(UTC))
    await db.execute(UPDATE_UNREADABLE, row["seq"], Status.HELD.value, None, now)
    log.error("record_unreadable", id=delivery.id, reason=delivery.reason)
    return delivery


async def _change_unreadable(
    db: Connection, row: Found, change: Change, why: Unreadable, *, hold: bool
) -> Delivery:
    before = await rows.salvaged(db, row["seq"], row["status"], row["record"], why)
    after = change(before)
    if after.finished_at is not None:
        ended = micros(after.finished_at)
        await db.execute(UPDATE_UNREADABLE, row["seq"], after.status.value, ended, None)
        return after
    if not hold:
        raise WrongState(before.reason)
    return await hold_unreadable(db, row, why)


async def prune(
    db: Connection, limit: int, finished_before: int, contents_before: int, now: int
) -> int:
    """
    Delete old rows, up to `limit` of each kind, in the caller's transaction. Returns how many.
    Several replicas may do it at once. Times are in microseconds.
    """
    ended = await db.fetch(ENDED, finished_before, limit)
    if ended:
        seqs = [row["seq"] for row in ended]
        found_by = [(term, row["seq"]) for row in ended for term in terms(_shown(row))]
        await db.execute(DROP_TERMS, *rows.turned(found_by, 2))
        await db.fetch(DROP_CONTENTS, seqs)
        await db.execute(DROP_CONVERSATIONS, seqs)
    stripped = await db.fetch(STRIP, contents_before, limit)
    contents = await db.fetch(DROP_CONTENTS, [row["seq"] for row in stripped])
    keys = await db.fetch(DROP_KEYS, now, limit)
    return len(ended) + len(contents) + len(keys)


def _shown(row: Found) -> Delivery:
    """The delivery as far as its record can be read, with the latest values of its columns."""
    status, record = row["status"], row["record"]
    try:
        return decode(status, record)
    except Unreadable as why:
        return salvaged(
            why, status, record, id="", key="", route="", priority=0, channel="", created_at=0
        )
