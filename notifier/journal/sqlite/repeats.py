"""Idempotency keys, and the answers that repeated requests get."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

from notifier.errors import IdempotencyMismatch
from notifier.journal import Idempotency
from notifier.journal.sqlite.inserts import found_among, insert
from notifier.journal.sqlite.rows import Value, micros

KNOWN = "SELECT scope, key FROM idempotency WHERE (scope, key) IN"
KEEP = "INSERT OR REPLACE INTO idempotency"
ANSWER = """
    SELECT fingerprint, answer FROM idempotency WHERE scope = ? AND key = ? AND expires_at > ?
"""

Pair: TypeAlias = tuple[str, str]  # scope and key


def pair(asked: Idempotency) -> Pair:
    return asked.scope, asked.key


def known(db: sqlite3.Connection, asked: Iterable[Idempotency]) -> set[Pair]:
    """Those of the keys that have been used before."""
    return {*found_among(db, KNOWN, [*map(pair, asked)])}


def keep(db: sqlite3.Connection, asked: Sequence[Idempotency]) -> None:
    insert(db, KEEP, [_row(each) for each in asked])


def replayed(db: sqlite3.Connection, asked: Idempotency, now: datetime) -> bytes | None:
    """
    The answer kept under the key; None: the key is new or past its time, and is ours from here
    on. Raises IdempotencyMismatch.
    """
    kept = answer(db, pair(asked), asked.fingerprint, now)
    if kept is None:
        keep(db, [asked])
    return kept


def answer(db: sqlite3.Connection, key: Pair, fingerprint: bytes, now: datetime) -> bytes | None:
    """The answer kept under the key; None: it is free. Raises IdempotencyMismatch."""
    row = db.execute(ANSWER, (*key, micros(now))).fetchone()
    if row is None:
        return None
    kept_for, kept = row
    if kept_for != fingerprint:
        raise IdempotencyMismatch(
            f"the idempotency key {key[1]!r} was used for a different request"
        )
    found: bytes = kept
    return found


def _row(asked: Idempotency) -> tuple[Value, ...]:
    return (*pair(asked), asked.fingerprint, asked.answer, micros(asked.expires_at))
