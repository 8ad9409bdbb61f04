"""What the journals promise to the tables of single capabilities."""

import asyncio

import pytest
from msgspec.structs import replace

from notifier.clock import utc_now
from notifier.deliveries import Delivery, Priority, Status
from notifier.errors import Rejected, WrongState
from notifier.journal import Filter
from notifier.journal.statements import Statement, numbered
from tests.deliveries import NOW, delivery, entries, entry, ids, noon

# A table that every version has: a name and a value.
PUT = "INSERT INTO words (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?"
NAMES = "SELECT name, value FROM words WHERE name >= ? ORDER BY name"


def put(name: str, value: str = "") -> Statement:
    return Statement(PUT, (name, value, value))


def states(changed) -> list[Statement]:
    """One row for each delivery: its id and its status."""
    return [put(each.id, each.status.value) for each in changed]


class Seen:
    """What `accompany` was called with, and rows of it."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, Status]]] = []

    def __call__(self, changed) -> list[Statement]:
        self.calls.append([(each.id, each.status) for each in changed])
        return states(changed)


async def test_statements_are_written_and_read_in_the_same_sql(journal):
    """`execute` returns what RETURNING says, statement by statement, and `query` reads rows."""
    returned = await journal.execute(
        put("a", "1"), Statement(PUT + " RETURNING name, value", ("b", "2", "2"))
    )
    assert returned == [[], [("b", "2")]]
    assert await journal.query(NAMES, "a") == [("a", "1"), ("b", "2")]
    assert await journal.query(NAMES, "b") == [("b", "2")]


async def test_statements_of_one_call_are_written_together_or_not_at_all(journal):
    """If one statement fails, none of the same call has been carried out."""
    with pytest.raises(Exception, match="no_such_table"):
        await journal.execute(put("a"), Statement("DELETE FROM no_such_table"))
    assert await journal.query(NAMES, "") == []


async def test_statements_of_a_change_share_its_transaction(journal):
    """`also` of `amend` gets the delivery as it is now, and its rows are there afterwards."""
    await journal.add([entry()])
    await journal.amend("d1", lambda each: each.cancelled(NOW), also=states)
    assert await journal.query(NAMES, "") == [("d1", "cancelled")]


async def test_without_the_change_nothing_goes_with_it(journal):
    """Where the change raises, `also` is not called."""
    await journal.add([entry()])
    with pytest.raises(WrongState):
        await journal.amend("d1", lambda each: each.retried(NOW), also=states)
    assert await journal.query(NAMES, "") == []


async def test_a_change_needs_the_statements_that_go_with_it(journal):
    """Where the statements of `also` fail, the delivery is as before."""
    await journal.add([entry()])
    with pytest.raises(Exception, match="no_such_table"):
        await journal.amend(
            "d1",
            lambda each: each.cancelled(NOW),
            also=lambda _: [Statement("DELETE FROM no_such_table")],
        )
    assert (await journal.get("d1")).status is Status.QUEUED


async def test_a_bulk_change_writes_for_each_delivery_that_it_changed(journal):
    """`also` of `amend_all` gets those that were changed, and not those that refused."""
    await journal.add([entry("d1"), entry("d2"), entry("d3", status=Status.HELD)])

    def change(each: Delivery) -> Delivery:
        if each.id == "d2":
            raise Rejected("not this one")
        return each.cancelled(NOW)

    assert await journal.amend_all(Filter(), change, also=states) == 2
    assert await journal.query(NAMES, "") == [("d1", "cancelled"), ("d3", "cancelled")]


async def test_every_change_is_accompanied(journal):
    """Adding, superseding, recording, amending, bulk acts and expiry; a claim is not."""
    seen = Seen()
    journal.accompany(seen)
    await journal.add([entry("old", collapse_key="c")])
    await journal.add([entry("new", collapse_key="c")])
    assert seen.calls == [
        [("old", Status.QUEUED)],
        [("new", Status.QUEUED), ("old", Status.SUPERSEDED)],
    ]
    (claim,) = await journal.claim("relay", 1, now=noon, slowest=Priority.BULK)
    assert len(seen.calls) == 2
    ended = replace(claim.delivery, status=Status.FAILED, finished_at=NOW)
    assert await journal.record(ended)
    await journal.amend("new", lambda each: each.retried(NOW))
    await journal.amend_all(Filter(), lambda each: each.hurried(NOW))
    await journal.expire(utc_now(), lambda each: each.expired(NOW))
    assert [status for call in seen.calls[2:] for _, status in call] == [
        Status.FAILED, Status.QUEUED, Status.QUEUED, Status.EXPIRED,
    ]  # fmt: skip
    assert await journal.query(NAMES, "") == [("new", "expired"), ("old", "superseded")]


async def test_a_record_that_lost_its_claim_is_not_accompanied(journal):
    """What was refused has changed nothing, so nothing goes with it."""
    await journal.add([entry("d1")])
    seen = Seen()
    journal.accompany(seen)
    assert not await journal.record(replace(delivery(), status=Status.SENT, finished_at=NOW))
    assert await journal.query(NAMES, "") == []


async def test_many_that_end_together_are_all_accompanied(journal):
    """Records that share a transaction each have their row."""
    await journal.add(entries(30))
    journal.accompany(states)
    claims = await journal.claim("relay", 30, now=noon, slowest=Priority.BULK)
    ended = [replace(c.delivery, status=Status.SENT, finished_at=NOW) for c in claims]
    assert all(await asyncio.gather(*map(journal.record, ended)))
    rows = dict(await journal.query(NAMES, ""))
    assert rows == dict.fromkeys(ids(ended), "sent")


async def test_undone_change_is_accompanied_once(journal):
    """A change that cannot be stored leaves no row; those that shared its commit have theirs."""
    await journal.add([entry(f"d{n}") for n in range(4)])
    journal.accompany(states)

    def impossible(each: Delivery) -> Delivery:
        return replace(each.cancelled(NOW), chain="\ud800")

    answers = await asyncio.gather(
        *(journal.amend(f"d{n}", lambda each: each.cancelled(NOW)) for n in (1, 2)),
        journal.amend("d3", impossible),
        return_exceptions=True,
    )
    assert isinstance(answers[2], Exception)
    assert dict(await journal.query(NAMES, "")) == {"d1": "cancelled", "d2": "cancelled"}


def test_parameters_are_numbered_for_postgresql():
    """Each `?` becomes `$1`, `$2` and so on."""
    assert numbered("SELECT ? WHERE x = ?") == "SELECT $1 WHERE x = $2"
