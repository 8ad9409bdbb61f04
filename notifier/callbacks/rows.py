"""
Callbacks in the journal: one row for each message, with the newest event that its application is
to be sent, and what came of it.

A row holds nothing of the message but its id. What is sent is the message as it is then, so what
is erased or pruned meanwhile is sent to no one.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from notifier.callbacks.answers import Answer
from notifier.callbacks.events import newest, version_of
from notifier.clock import Clock
from notifier.deliveries import Delivery
from notifier.journal import Journal
from notifier.journal.rows import micros, moment
from notifier.journal.statements import Counting, Statement
from notifier.keys import Callback

PORTION = 1000  # rows that one statement changes, so that other writers get their turn

Outcome: TypeAlias = Literal["told", "gone", "given_up"]
TOLD: Final = "told"
GONE: Final = "gone"  # the application wants no callbacks
GIVEN_UP: Final = "given_up"

# A newer event takes the place of the one before it, also while that one is being sent.
PUT = """
    INSERT INTO callbacks (message, key, event, at, version, due_at, since)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (message) DO UPDATE SET
        event = excluded.event, at = excluded.at, version = excluded.version,
        due_at = excluded.due_at, since = excluded.since, tries = 0, outcome = NULL
    WHERE callbacks.version < excluded.version
        AND (callbacks.event <> excluded.event OR callbacks.at <> excluded.at)
"""
WAITING = """
    SELECT message, event, at, version, due_at, since, tries FROM callbacks
    WHERE key = ? AND due_at IS NOT NULL ORDER BY due_at LIMIT ?
"""
VERSION = "SELECT version FROM callbacks WHERE message = ?"
END = """
    UPDATE callbacks SET due_at = NULL, outcome = ?, tries = tries + 1, answered_at = ?,
        code = ?, reply = ?
    WHERE message = ? AND version = ? AND due_at IS NOT NULL
"""
PUT_OFF = """
    UPDATE callbacks SET due_at = ?, tries = tries + 1, answered_at = ?, code = ?, reply = ?
    WHERE message = ? AND version = ? AND due_at IS NOT NULL
"""
FORGET = "DELETE FROM callbacks WHERE message = ? AND version = ?"
HURRY = """
    UPDATE callbacks SET due_at = ? WHERE message IN (
        SELECT message FROM callbacks WHERE key = ? AND due_at > ? LIMIT ?
    )
"""
GIVE_UP = """
    UPDATE callbacks SET due_at = NULL, outcome = ?, answered_at = ? WHERE message IN (
        SELECT message FROM callbacks WHERE key = ? AND due_at IS NOT NULL AND since < ? LIMIT ?
    ) RETURNING message
"""
OVER = """
    SELECT message FROM callbacks
    WHERE key = ? AND answered_at >= ? AND at >= ? AND since < ? AND due_at IS NULL LIMIT ?
"""
REPLAY = f"""
    UPDATE callbacks SET due_at = ?, since = ?, tries = 0, outcome = NULL
    WHERE message IN ({OVER}) RETURNING message
"""  # noqa: S608  constant
START_AGAIN = """
    UPDATE callbacks SET due_at = ?, since = ?, tries = 0 WHERE message IN (
        SELECT message FROM callbacks
        WHERE key = ? AND due_at IS NOT NULL AND since < ? LIMIT ?
    ) RETURNING message
"""
FIGURES = """
    SELECT key, count(*), min(since), min(due_at) FROM callbacks
    WHERE due_at IS NOT NULL GROUP BY key
"""
LAST = """
    SELECT message, event, at, tries, outcome, answered_at, code, reply FROM callbacks
    WHERE key = ? AND answered_at IS NOT NULL ORDER BY answered_at DESC LIMIT ?
"""
PRUNE_TOLD = """
    DELETE FROM callbacks WHERE message IN (
        SELECT message FROM callbacks
        WHERE key = ? AND answered_at < ? AND due_at IS NULL LIMIT ?
    ) RETURNING message
"""
PRUNE_WAITING = """
    DELETE FROM callbacks WHERE message IN (
        SELECT message FROM callbacks WHERE key = ? AND due_at IS NOT NULL AND since < ? LIMIT ?
    ) RETURNING message
"""


class Waiting(Struct, frozen=True):
    """A callback that waits to be sent."""

    message: str
    event: str
    at: datetime  # of the event
    version: int  # of the message then
    due_at: datetime
    since: datetime  # it waits since
    tries: int

    @property
    def id(self) -> str:
        """The `webhook-id`: the same for each attempt, also after a restart."""
        return f"msg_{self.message}_{self.version}"


class Figure(Struct, frozen=True):
    """How many callbacks of a key wait."""

    waiting: int
    oldest: datetime
    due_at: datetime  # the first of them


class LastAnswer(Struct, frozen=True):
    """The last try of a callback, and what the application answered."""

    message: str
    event: str
    at: datetime  # of the event
    tries: int
    outcome: Outcome | None  # None: it is tried again
    answered_at: datetime
    code: int | None
    reply: str


def writer_of(
    callbacks: Callable[[], Mapping[str, Callback]],
    clock: Clock,
) -> Callable[[Sequence[Delivery]], Sequence[Statement]]:
    """What goes into the transaction of each change of a message, for `Journal.accompany`."""

    def also(deliveries: Sequence[Delivery]) -> Sequence[Statement]:
        known = callbacks()
        statements: list[Statement] = []
        for delivery in deliveries:
            if (callback := known.get(delivery.key)) is not None:
                statements += _put(delivery, callback, clock())
        return statements

    return also


def _put(delivery: Delivery, callback: Callback, now: datetime) -> Sequence[Statement]:
    found = newest(delivery, callback.events)
    if found is None:
        return ()
    # The event may be old, where somebody settles a message, or lie ahead, where one is held that
    # is scheduled: it is sent from now on all the same.
    at, begun = micros(found.at), micros(now)
    version = version_of(delivery)
    values = (delivery.id, delivery.key, found.event.value, at, version, begun, begun)
    return (Statement(PUT, values),)


class Rows:
    """Reads and changes the rows. Any call may raise JournalUnavailable."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def waiting(self, key: str, limit: int) -> list[Waiting]:
        """The callbacks of a key that wait, in the order in which they are due."""
        found = await self._journal.query(WAITING, key, limit)
        return [
            Waiting(message, event, moment(at), version, moment(due), moment(since), tries)
            for message, event, at, version, due, since, tries in found
        ]

    async def version(self, message: str) -> int | None:
        """The version of the event that waits or was sent last. None: there is none."""
        found = await self._journal.query(VERSION, message)
        return found[0][0] if found else None

    async def end(self, row: Waiting, outcome: Outcome, answer: Answer, now: datetime) -> None:
        """End a callback, unless a newer event has replaced it."""
        values = (outcome, micros(now), answer.code, answer.reply, row.message, row.version)
        await self._journal.execute(Statement(END, values))

    async def put_off(self, row: Waiting, due: datetime, answer: Answer, now: datetime) -> None:
        """Try a callback again later, unless a newer event has replaced it."""
        values = (micros(due), micros(now), answer.code, answer.reply, row.message, row.version)
        await self._journal.execute(Statement(PUT_OFF, values))

    async def forget(self, row: Waiting) -> None:
        await self._journal.execute(Statement(FORGET, (row.message, row.version)))

    async def hurry(self, key: str, now: datetime) -> None:
        """Make callbacks that were put off due now, because the application works again."""
        at = micros(now)
        await self._journal.execute(Statement(HURRY, (at, key, at, PORTION)))

    async def give_up(self, key: str, before: datetime, now: datetime) -> int:
        """End callbacks that have waited since before that time. Returns how many."""
        return await self._in_portions(GIVE_UP, GIVEN_UP, micros(now), key, micros(before))

    async def replay(self, key: str, since: datetime, now: datetime, record: Counting) -> int:
        """Report again what happened since then and was reported. Returns how many."""
        at, start = micros(now), micros(since)
        over = (key, start, start, at)
        also = record(OVER, (*over, PORTION))
        return await self._in_portions(REPLAY, at, at, *over, also=also)

    async def start_again(self, key: str, now: datetime) -> int:
        """Make all callbacks that wait due now, as if they were new. Returns how many."""
        at = micros(now)
        return await self._in_portions(START_AGAIN, at, at, key, at)

    async def prune(self, key: str, before: datetime) -> None:
        """Delete callbacks of a key that were sent, or have waited since, before that time."""
        for sql in (PRUNE_TOLD, PRUNE_WAITING):
            await self._in_portions(sql, key, micros(before))

    async def figures(self) -> dict[str, Figure]:
        """The figures of each key whose callbacks wait."""
        found = await self._journal.query(FIGURES)
        return {key: Figure(count, moment(since), moment(due)) for key, count, since, due in found}

    async def last(self, key: str, limit: int) -> list[LastAnswer]:
        """The last answers, newest first."""
        found = await self._journal.query(LAST, key, limit)
        return [
            LastAnswer(message, event, moment(at), tries, outcome, moment(answered), code, reply)
            for message, event, at, tries, outcome, answered, code, reply in found
        ]

    async def _in_portions(
        self, sql: str, *values: str | int, also: Statement | None = None
    ) -> int:
        first = () if also is None else (also,)
        changed = 0
        while True:
            change = Statement(sql, (*values, PORTION))
            *_, rows = await self._journal.execute(*first, change)
            changed += len(rows)
            if len(rows) < PORTION:
                return changed
