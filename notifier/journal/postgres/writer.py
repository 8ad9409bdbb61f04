"""The writer: new and finished deliveries that wait at the same time share one transaction."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import structlog
from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.errors import JournalUnavailable
from notifier.journal import Added, Change, Committed, Entry, Idempotency, faults
from notifier.journal.gathering import Gathering
from notifier.journal.postgres import rows
from notifier.journal.postgres.additions import Addition, add_all
from notifier.journal.postgres.changes import Amendment, amend_all
from notifier.journal.postgres.connection import (
    COLLIDED,
    COLLISIONS,
    CONNECT_SECONDS,
    TROUBLE,
    Connection,
    Pool,
    explained,
    is_unkeepable,
)
from notifier.journal.postgres.lease import Token
from notifier.journal.rows import conversations, dropped
from notifier.journal.statements import Also, Statement
from notifier.supervisor import Supervisor

BATCH = 500  # calls in one transaction
BATCH_BYTES = 16 * 1024 * 1024
# After a larger batch it does not wait for more calls: they come while the next one is written.
SMALL_BATCH = 8

_TYPES, _NAMES = rows.arrays(
    {"id": "text", "our_lease": "bigint", "our_claim": "bigint"}, rows.CHANGING_TYPES
)
_WIDTH = len(rows.CHANGING_TYPES) + 3
RECORD = f"""
    WITH ours AS (
        UPDATE deliveries SET {rows.SET} FROM unnest({_TYPES}) AS changed ({_NAMES})
        WHERE deliveries.id = changed.id AND deliveries.status = 'sending'
            AND deliveries.lease = changed.our_lease AND deliveries.claim = changed.our_claim
        RETURNING deliveries.id, deliveries.seq
    ), said AS (
        INSERT INTO conversations SELECT seq, number, lines
        FROM unnest(${_WIDTH + 1}::text[], ${_WIDTH + 2}::int[], ${_WIDTH + 3}::bytea[])
            AS ended (id, number, lines) JOIN ours USING (id)
        ON CONFLICT (seq, number) DO UPDATE SET lines = excluded.lines
    )
    SELECT id FROM ours
"""  # noqa: S608  constant
DROP_CONVERSATIONS = """
    DELETE FROM conversations WHERE seq = (SELECT seq FROM deliveries WHERE id = $1)
        AND number >= $2 AND number < $3
"""
PUT = "INSERT INTO words VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

log = structlog.get_logger()


class Record(Struct, gc=False, eq=False):
    """A delivery to record. The caller's future gets whether the claim was still valid."""

    delivery: Delivery
    token: Token
    future: "asyncio.Future[bool]"


class NamedValue(Struct, gc=False, eq=False):
    """A value to put under a name, and what goes with it."""

    name: str
    value: str
    also: Sequence[Statement]
    future: "asyncio.Future[None]"


Piece: TypeAlias = Addition | Amendment | Record | NamedValue
Answer: TypeAlias = tuple[Piece, Any]


class Writer:
    """
    Writes whatever waits in one transaction. If one piece of it fails, each piece is done again in
    a transaction of its own, so that none harms another. Every caller gets an answer. `finish` is
    called at the end of each transaction, with the deliveries that were added or changed, and
    whether a value was put.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        finish: Callable[[Connection, Sequence[Delivery], bool], Awaitable[None]],
        committed: Committed,
        supervisor: Supervisor,
    ) -> None:
        self._pool = pool
        self._finish = finish
        self._committed = committed
        self._gathering = Gathering()
        self._waiting: deque[Piece] = deque()
        self._stir = asyncio.Event()
        self._closed = False
        self._running = supervisor.start(
            "journal-writes", self._run, over=lambda: self._closed and not self._waiting
        )

    def add(
        self, entries: Sequence[Entry], idempotency: Idempotency | None
    ) -> "asyncio.Future[Added]":
        return self._ask(lambda future: Addition(entries, idempotency, future))

    def record(self, delivery: Delivery, token: Token) -> "asyncio.Future[bool]":
        return self._ask(lambda future: Record(delivery, token, future))

    def put(self, name: str, value: str, also: Sequence[Statement]) -> "asyncio.Future[None]":
        return self._ask(lambda future: NamedValue(name, value, also, future))

    def amend(self, id: str, change: Change, also: Also | None) -> "asyncio.Future[Delivery]":
        return self._ask(lambda future: Amendment(id, change, also, future))

    async def close(self) -> None:
        """Answer the calls that were made, then end."""
        self._closed = True
        self._stir.set()
        await self._running

    def _ask(self, piece: Callable[["asyncio.Future[Any]"], Piece]) -> "asyncio.Future[Any]":
        """
        Queue a piece of work, which is done even if the caller stops waiting. Raises
        JournalUnavailable.
        """
        if self._closed:
            raise faults.closed()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(piece(future))
        self._stir.set()
        return future

    async def _run(self) -> None:
        while not (self._closed and not self._waiting):
            if not self._waiting:
                self._stir.clear()
                await self._stir.wait()
            elif batch := self._take():
                for piece, answer in await self._done(batch):
                    _answer(piece.future, answer)
                additions = [piece for piece in batch if isinstance(piece, Addition)]
                seconds = self._gathering(len(batch), len(additions))
                if additions and seconds and len(batch) <= SMALL_BATCH:
                    await asyncio.sleep(seconds)

    def _take(self) -> list[Piece]:
        batch: list[Piece] = []
        size = 0
        amended: set[str] = set()
        while self._waiting and len(batch) < BATCH and size < BATCH_BYTES:
            piece = self._waiting[0]
            if isinstance(piece, Amendment):
                if piece.id in amended:  # it must see the earlier change
                    break
                amended.add(piece.id)
            batch.append(self._waiting.popleft())
            if isinstance(piece, Addition):
                size += sum(len(entry.content) for entry in piece.entries)
        return batch

    async def _done(self, batch: list[Piece], tries: int = COLLISIONS) -> list[Answer]:
        try:
            return await self._together(batch)
        except (*TROUBLE, UnicodeError) as error:
            collided = isinstance(error, COLLIDED)
            if collided and len(batch) == 1 and tries:
                return await self._done(batch, tries - 1)
            if len(batch) == 1 or not (collided or is_unkeepable(error)):
                return [(piece, explained(error)) for piece in batch]
        except Exception as error:
            log.exception("journal_write_failed")
            failure = JournalUnavailable(f"the journal could not write it: {error!r}")
            return [(piece, failure) for piece in batch]
        return [answer for piece in batch for answer in await self._done([piece])]

    async def _together(self, batch: list[Piece]) -> list[Answer]:
        additions = [piece for piece in batch if isinstance(piece, Addition)]
        records = [piece for piece in batch if isinstance(piece, Record)]
        amendments = [piece for piece in batch if isinstance(piece, Amendment)]
        values = [piece for piece in batch if isinstance(piece, NamedValue)]
        begun = time.perf_counter()
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as db, db.transaction():
            answers: list[Answer] = []
            if additions:
                answers += zip(additions, await add_all(db, additions), strict=True)
            if records:
                answers += zip(records, await _record_all(db, records), strict=True)
            if amendments:
                answers += zip(amendments, await amend_all(db, amendments), strict=True)
            for each in values:
                await db.execute(PUT, each.name, each.value)
                await rows.run(db, each.also)
                answers.append((each, None))
            await self._finish(db, _changed(answers), bool(values))
        self._committed(time.perf_counter() - begun, len(batch))
        return answers


async def _record_all(db: Connection, records: Sequence[Record]) -> list[bool]:
    values = [
        (each.delivery.id, each.token.lease, each.token.claim, *rows.changing(each.delivery))
        for each in records
    ]
    said = [(each.delivery.id, *said) for each in records for said in conversations(each.delivery)]
    found = await db.fetch(RECORD, *rows.turned(values, _WIDTH), *rows.turned(said, 3))
    ours = {row["id"] for row in found}
    for each in records:
        if (gone := dropped(each.delivery)) is not None and each.delivery.id in ours:
            await db.execute(DROP_CONVERSATIONS, each.delivery.id, *gone)
    return [each.delivery.id in ours for each in records]


def _changed(answers: Sequence[Answer]) -> list[Delivery]:
    """The deliveries that were added, superseded, recorded or amended."""
    changed: list[Delivery] = []
    for piece, answer in answers:
        if isinstance(piece, Record) and answer:
            changed.append(piece.delivery)
        elif isinstance(piece, Amendment) and isinstance(answer, Delivery):
            changed.append(answer)
        elif isinstance(piece, Addition) and isinstance(answer, Added) and not answer.replayed:
            changed += (entry.delivery for entry in piece.entries)
            changed += answer.superseded
    return changed


def _answer(future: "asyncio.Future[Any]", answer: Any) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):  # the caller has stopped waiting
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
