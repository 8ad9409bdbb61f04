"""Looks through the records of messages for those that name a person."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from notifier.erasure.person import Person
from notifier.errors import MessageNotFound
from notifier.journal import Journal
from notifier.journal.rows import conversations
from notifier.journal.statements import Row
from notifier.threads import FairThreads

PORTION = 200  # records that are looked through together

LAST = "SELECT max(seq) FROM deliveries"
RECORDS_OF = (
    "SELECT seq, id, record FROM deliveries WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)
SEVERAL = b'"started_at"'  # stands in a record once for each attempt


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
