"""Wipes messages: first those to the person, then all others that name the person."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from notifier.clock import Clock
from notifier.deliveries import FINAL, Delivery, Status
from notifier.erasure.person import Person
from notifier.erasure.wiping import Count, Outcome, Wiping
from notifier.errors import BeingSent, MessageNotFound
from notifier.journal import Filter, Journal
from notifier.journal.rows import conversations
from notifier.journal.searches import pages
from notifier.journal.statements import Row, Statement
from notifier.threads import FairThreads

AT_ONCE = 50  # messages that are changed together: they share a commit
TOGETHER = 200  # messages or contents that are looked up together
OCTETS = 1024 * 1024  # of contents that are looked through together, or one that is larger

CONTENTS = """
    SELECT seq, length(content) FROM contents WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""
CONTENTS_OF = """
    SELECT d.id, c.content FROM contents AS c JOIN deliveries AS d ON d.seq = c.seq
    WHERE c.seq > ? AND c.seq <= ?
"""
REST = "INSERT INTO erasure_rests (erasure, message) VALUES (?, ?) ON CONFLICT DO NOTHING"
KNOWN = "SELECT message FROM erasure_rests WHERE erasure = ? AND message = ?"
RESTS = """
    SELECT r.message, d.status FROM erasure_rests AS r
    LEFT JOIN deliveries AS d ON d.id = r.message WHERE r.erasure = ?
"""
NO_REST = "DELETE FROM erasure_rests WHERE erasure = ? AND message = ?"
# An application's answer to a callback may name the recipient.
FORGET_REPLY = "UPDATE callbacks SET reply = '' WHERE message = ? AND reply <> ''"

CALLER = "erasure"  # as whom it takes turns with those who search
PORTION = 200  # records that are looked through together
LAST = "SELECT max(seq) FROM deliveries"
RECORDS_OF = (
    "SELECT seq, id, record FROM deliveries WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)
SEVERAL = b'"started_at"'  # it is in a record once for each attempt


class InMessages:
    """
    Wipes messages. A message that cannot be wiped yet, because a worker sends it or others wait for
    it, is noted as a rest of the erasure.
    """

    def __init__(
        self,
        journal: Journal,
        threads: FairThreads,
        *,
        changed: Callable[[Delivery], None],
        clock: Clock,
    ) -> None:
        """`changed` is called with each message that was ended or goes on to fewer recipients."""
        self._journal = journal
        self._threads = threads
        self._changed = changed
        self._clock = clock
        self._go_on: set[str] = set()  # messages that others wait for, and none of ours

    async def wipe(
        self, erasure: str, person: Person, by: str, count: Count
    ) -> AsyncIterator[None]:
        """
        Wipe all messages that are there, first those to the person, so that nothing more is sent.
        Yields after each portion.
        """
        wipe = partial(self._wipe_all, erasure, person, by, count)
        which = Filter(to=person.address)
        async for page in pages(self._journal, which, limit=TOGETHER, by=CALLER):
            await wipe([each.id for each in page])
            yield
        ((last,),) = await self._journal.query(LAST)
        if last is not None:
            records = records_naming(self._journal, self._threads, person, last, caller=CALLER)
            async for ids in records:
                await wipe(ids)
                yield
            async for ids in self._named_in_contents(person, last):
                await wipe(ids)
                yield

    async def wipe_rests(self, erasure: str, person: Person, by: str, count: Count) -> int:
        """Wipe messages that have ended meanwhile. Returns how many are still waited for."""
        rests = await self._journal.query(RESTS, erasure)
        ids = [id for id, status in rests if self._is_due(id, status)]
        if not ids:
            return len(rests)
        await self._wipe_all(erasure, person, by, count, ids)
        return len(await self._journal.query(RESTS, erasure))

    def _is_due(self, id: str, status: str | None) -> bool:
        """Whether a rest has ended, or nobody has looked at it since a worker gave it back."""
        if status is None or status in FINAL:
            return True
        return status != Status.SENDING and id not in self._go_on

    async def _named_in_contents(self, person: Person, last: int) -> AsyncIterator[list[str]]:
        seq = -1
        while rows := await self._journal.query(CONTENTS, seq, last, TOGETHER):
            size = 0
            for end, octets in rows:
                if size and size + octets > OCTETS:
                    break
                size, upto = size + octets, end
            found = await self._journal.query(CONTENTS_OF, seq, upto)
            seq = upto
            pairs = [(0, id, content) for id, content in found]
            yield await self._threads.run(CALLER, partial(naming, person, pairs))

    async def _wipe_all(
        self, erasure: str, person: Person, by: str, count: Count, ids: Sequence[str]
    ) -> None:
        for start in range(0, len(ids), AT_ONCE):
            portion = ids[start : start + AT_ONCE]
            outcomes = await asyncio.gather(
                *(self._wipe_one(erasure, person, by, id) for id in portion)
            )
            for outcome in outcomes:
                count(outcome, 1)

    async def _wipe_one(self, erasure: str, person: Person, by: str, id: str) -> str:
        """Wipe one message. Returns what became of it, as answers count it."""
        wiping = Wiping(person, self._clock(), by)
        known = bool(await self._journal.query(KNOWN, erasure, id))

        def also(_: Sequence[Delivery]) -> Sequence[Statement]:
            rest = REST if wiping.outcome in (Outcome.TAKEN_OFF, Outcome.FOR_OTHERS) else NO_REST
            return (Statement(rest, (erasure, id)), Statement(FORGET_REPLY, (id,)))

        try:
            after = await self._journal.erase(id, wiping, also=also)
        except BeingSent:
            await self._journal.execute(Statement(REST, (erasure, id)))
            return Outcome.NONE if known else "in_flight"
        except MessageNotFound:  # it was pruned meanwhile
            await self._journal.execute(Statement(NO_REST, (erasure, id)))
            return Outcome.NONE
        if wiping.outcome in (Outcome.TAKEN_OFF, Outcome.FOR_OTHERS):
            self._go_on.add(id)
        else:
            self._go_on.discard(id)
        if wiping.outcome in (Outcome.CANCELLED, Outcome.TAKEN_OFF):
            self._changed(after)
        if wiping.outcome is Outcome.FOR_OTHERS and known:
            return Outcome.NONE
        return wiping.outcome


async def records_naming(
    journal: Journal, threads: FairThreads, person: Person, last: int, *, caller: str
) -> AsyncIterator[list[str]]:
    """
    The ids of messages up to the row `last` whose record or conversations name the person, portion
    by portion. `caller`: as whom the search takes turns with other heavy work.
    """
    seq = -1
    while rows := await journal.query(RECORDS_OF, seq, last, PORTION):
        seq = rows[-1][0]
        found = await threads.run(caller, partial(naming, person, rows))
        for _, id, record in rows:
            if record.count(SEVERAL) > 1 and id not in found and await _said(journal, person, id):
                found.append(id)
        yield found


async def _said(journal: Journal, person: Person, id: str) -> bool:
    """Whether a conversation that is kept apart from the record names the person."""
    try:
        delivery = await journal.get(id, conversations=True)
    except MessageNotFound:
        return False
    return any(person.mentions.within(lines) for _, lines in conversations(delivery))


def naming(person: Person, rows: Sequence[Row]) -> list[str]:
    """The ids in rows of a number, an id and a text, of those whose text names the person."""
    return [id for _, id, text in rows if person.mentions.within(text)]
