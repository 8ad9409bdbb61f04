"""Deliveries taken a step further, many by one statement."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import structlog

from notifier.deliveries import Delivery, Status
from notifier.errors import Rejected, WrongState
from notifier.journal import Step, records
from notifier.journal.postgres import rows
from notifier.journal.postgres.opening import Connection
from notifier.journal.records import Unreadable

Found: TypeAlias = Any  # a row with seq, status, record

_TYPES, _NAMES = rows.arrays({"seq": "bigint"}, rows.CHANGING)
UPDATE = f"""
    UPDATE deliveries SET {rows.SET} FROM unnest({_TYPES}) AS changed ({_NAMES})
    WHERE deliveries.seq = changed.seq
"""  # noqa: S608  constant
SAY = """
    INSERT INTO conversations SELECT * FROM unnest($1::bigint[], $2::int[], $3::bytea[])
    ON CONFLICT (seq, number) DO UPDATE SET lines = excluded.lines
"""
# The columns without the record, which cannot be read and is left as it is.
MARK = """
    UPDATE deliveries SET status = $2, due_at = NULL, expires_at = NULL, collapse_key = NULL,
        finished_at = $3, held_at = $4, lease = NULL, claim = NULL
    WHERE seq = $1
"""

log = structlog.get_logger()


async def update(db: Connection, changes: Sequence[tuple[int, Delivery]]) -> None:
    """Write what has become of deliveries whose rows are locked."""
    if changes:
        values = [(seq, *rows.changed(delivery)) for seq, delivery in changes]
        await db.execute(UPDATE, *rows.turned(values, len(rows.CHANGING) + 1))
        said = [
            (seq, *each) for seq, delivery in changes for each in records.conversations(delivery)
        ]
        if said:  # of records as version 1 has written them
            await db.execute(SAY, *rows.turned(said, 3))


async def step_all(
    db: Connection, found: Sequence[Found], step: Step, *, hold: bool
) -> list[Delivery]:
    """
    Those that have taken the step; whose step raises Rejected is left as it is. Whose record
    cannot be read can only end; where it cannot end it is held (`hold`), lest it come back for
    ever, or left as it is.
    """
    after: list[Delivery] = []
    changes: list[tuple[int, Delivery]] = []
    for row in found:
        with contextlib.suppress(Rejected):
            try:
                before = records.decode(row["status"], row["record"])
            except Unreadable as why:
                after.append(await _step_unreadable(db, row, step, why, hold=hold))
                continue
            after.append(step(before))
            if after[-1] is not before:
                changes.append((row["seq"], after[-1]))
    await update(db, changes)
    return after


async def step_one(db: Connection, row: Found, step: Step) -> Delivery:
    """What it is now. Raises what the step raises; WrongState where it could only end."""
    try:
        before = records.decode(row["status"], row["record"])
    except Unreadable as why:
        return await _step_unreadable(db, row, step, why, hold=False)
    after = step(before)
    if after is not before:
        await update(db, [(row["seq"], after)])
    return after


async def set_aside(db: Connection, row: Found, why: Unreadable) -> Delivery:
    """Hold what cannot be read, for a person or a newer notifier."""
    delivery = await rows.salvaged(db, row["seq"], Status.HELD, row["record"], why)
    await db.execute(MARK, row["seq"], Status.HELD.value, None, rows.micros(datetime.now(UTC)))
    log.error("record_unreadable", id=delivery.id, reason=delivery.reason)
    return delivery


async def _step_unreadable(
    db: Connection, row: Found, step: Step, why: Unreadable, *, hold: bool
) -> Delivery:
    before = await rows.salvaged(db, row["seq"], row["status"], row["record"], why)
    after = step(before)
    if after.finished_at is not None:
        ended = rows.micros(after.finished_at)
        await db.execute(MARK, row["seq"], after.status.value, ended, None)
        return after
    if not hold:
        raise WrongState(before.reason)
    return await set_aside(db, row, why)
