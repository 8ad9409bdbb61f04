"""Deliveries taken a step further, many by one statement."""

import contextlib
from collections.abc import Sequence
from typing import Any, TypeAlias

from notifier.deliveries import Delivery
from notifier.errors import Rejected
from notifier.journal import Step
from notifier.journal.postgres import rows
from notifier.journal.postgres.opening import Connection

Found: TypeAlias = Any  # a row with seq, status, record

_TYPES, _NAMES = rows.arrays({"seq": "bigint"}, rows.CHANGING)
UPDATE = f"""
    UPDATE deliveries SET {rows.SET} FROM unnest({_TYPES}) AS changed ({_NAMES})
    WHERE deliveries.seq = changed.seq
"""  # noqa: S608  constant


async def update(db: Connection, changes: Sequence[tuple[int, Delivery]]) -> None:
    """Write what has become of deliveries whose rows are locked."""
    if changes:
        values = [(seq, *rows.changed(delivery)) for seq, delivery in changes]
        await db.execute(UPDATE, *rows.turned(values, len(rows.CHANGING) + 1))


async def step_all(db: Connection, found: Sequence[Found], step: Step) -> list[Delivery]:
    """Those that have taken the step; whose step raises Rejected is left as it is."""
    after: list[Delivery] = []
    changes: list[tuple[int, Delivery]] = []
    for row in found:
        before = rows.delivery(row["status"], row["record"])
        with contextlib.suppress(Rejected):
            after.append(step(before))
            if after[-1] is not before:
                changes.append((row["seq"], after[-1]))
    await update(db, changes)
    return after
