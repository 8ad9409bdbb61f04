"""Journals of earlier versions are taken over by this one."""

import contextlib
import sqlite3
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from notifier.deliveries import Delivery, Route, Status
from notifier.housekeeping.history import summed
from notifier.journal import Filter, journal_at
from tests.deliveries import NOW, RELAY, attempt, idempotency, ids, sent

CONVERSATIONS = "SELECT count(*) FROM conversations"


async def restored(request, tmp_path, version):
    """The URL of a journal as a version has left it: `dumps` holds it as SQL."""
    asyncpg = pytest.importorskip("asyncpg")
    sql = (Path(__file__).parent / "dumps" / f"{request.param}_{version}.sql").read_text()
    if request.param == "sqlite":
        path = tmp_path / "notifier.db"
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript(sql)
        return f"sqlite:{path}"
    url = await request.getfixturevalue("postgres").database()
    db = await asyncpg.connect(url)
    await db.execute(sql)
    await db.close()
    return url


@pytest.fixture(params=["sqlite", "postgres"])
async def journal_of_version_1(request, tmp_path):
    return await restored(request, tmp_path, 1)


@pytest.fixture(params=["sqlite", "postgres"])
async def journal_of_version_2(request, tmp_path):
    return await restored(request, tmp_path, 2)


@pytest.fixture(params=["sqlite", "postgres"])
async def journal_of_version_3(request, tmp_path):
    return await restored(request, tmp_path, 3)


class TestVersion1:
    async def test_its_messages_are_all_there(self, journal_of_version_1):
        """All is there, in the new places, and found, sent and shown as ever; once and for all."""
        for _ in range(2):
            journal = journal_at(journal_of_version_1, data_dir="")
            await journal.open()
            assert ids((await journal.find(Filter())).deliveries) == [
                "queued", "deferred", "held", "sent",
            ]  # fmt: skip
            early = Filter(created_before=NOW)
            assert ids((await journal.find(early)).deliveries) == ["queued"]
            assert await journal.count(Filter(created_after=NOW), most=9) == 3
            assert ids((await journal.find(Filter(tag="a", relay="main"))).deliveries) == ["sent"]
            full = await journal.get("sent", conversations=True)
            assert full.attempts[0].conversation[-1] == "S: 250 ok"
            [minute] = await summed(journal, NOW, but="us")
            assert (minute.at, minute.accepted, minute.sent) == (NOW, 3, 2)
            assert (minute.failed, minute.waiting) == (1, 4)
            assert await journal.values() == {"paused:main": "yes"}
            backlog = await journal.backlog()
            assert backlog.counts[Status.HELD] == 1
            assert backlog.held_since > NOW  # counted from now on
            await journal.close()

    async def test_older_conversations_move_to_their_own_table(self, journal_of_version_1):
        """What is tried again, or changed, takes the old conversations with it."""
        journal = journal_at(journal_of_version_1, data_dir="")
        await journal.open()
        later = NOW + timedelta(hours=1)
        claims = await journal.claim(RELAY, 9, now=lambda: later)
        assert ids(claims) == ["queued", "deferred"]
        tried = replace(attempt(), conversation=("S: 250 now",))
        one = claims[1].delivery.after(tried, retry_at=later, now=later)
        assert await journal.record(one)
        await journal.amend("sent", lambda each: replace(each, reason="looked at"))
        said = {
            id: [each.conversation for each in (await journal.get(id, conversations=True)).attempts]
            for id in ("deferred", "sent")
        }
        assert said["deferred"] == [("S: 450 later",), ("S: 250 now",)]
        assert said["sent"][0][-1] == "S: 250 ok"
        assert (await journal.get("deferred")).attempts[1].conversation == ()
        assert await journal.query(CONVERSATIONS) == [(1,)]
        await journal.close()


async def has_every_state(journal):
    """A message in each state is there, with its content."""
    shown = (await journal.find(Filter())).deliveries
    states = {name: name for name in Status} | {"provider": "queued"}
    assert {each.id: each.status.value for each in shown} == states
    assert await journal.content("sending") == b"content of sending"


class TestVersion2:
    async def test_messages_in_every_state_go_on(self, journal_of_version_2):
        """Each is there with its state and its content, and what is due is sent."""
        for _ in range(2):
            journal = journal_at(journal_of_version_2, data_dir="")
            await journal.open()
            await has_every_state(journal)
            assert await journal.count(Filter(tag="a", key="app"), most=9) == 1
            assert await journal.values() == {"paused:main": "yes"}
            assert [minute.accepted for minute in await summed(journal, NOW, but="us")] == [3]
            assert dict.fromkeys(Status, 1) | {Status.QUEUED: 2} == (await journal.backlog()).counts
            await journal.close()

    async def test_deliveries_being_sent_are_recovered(self, journal_of_version_2):
        """A message that a dead process had claimed is uncertain, and waits again."""
        journal = journal_at(journal_of_version_2, data_dir="")
        await journal.open()
        later = NOW + timedelta(hours=1)
        recovered = await journal.recover(partial(Delivery.recovered, now=later))
        assert [(each.id, each.status, each.uncertain) for each in recovered] == [
            ("sending", Status.QUEUED, 1)
        ]
        claims = await journal.claim(RELAY, 9, now=lambda: later)
        assert set(ids(claims)) == {"sending", "deferred", "queued", "scheduled"}
        assert ids(await journal.claim(Route.PROVIDER, 9, now=lambda: later)) == ["provider"]
        for each in claims:
            assert await journal.record(sent(each.delivery, now=later))
        await journal.close()

    async def test_an_idempotency_key_is_still_known(self, journal_of_version_2):
        """A request that is repeated after the upgrade gets its first answer."""
        journal = journal_at(journal_of_version_2, data_dir="")
        await journal.open()
        asked = idempotency(answer=b"another")
        assert await journal.answer(asked.scope, asked.key, asked.fingerprint, now=NOW) == b"kept"
        await journal.close()


class TestVersion3:
    async def test_messages_and_the_tables_of_capabilities_are_all_there(
        self, journal_of_version_3
    ):
        """Messages keep their states, and suppressions, callbacks and the audit their rows."""
        for _ in range(2):
            journal = journal_at(journal_of_version_3, data_dir="")
            await journal.open()
            await has_every_state(journal)
            for table, key in (
                ("suppressions", "gone@example.org"),
                ("suppression_strikes", "gone@example.org"),
                ("callbacks", "sent"),
                ("callback_urls", "app"),
            ):
                assert [row[0] for row in await journal.query(f"SELECT * FROM {table}")] == [key]
            told = await journal.query("SELECT actor, what, number, once FROM audit ORDER BY seq")
            assert told == [("key:app", "cancel", 1, None), ("monitor:ann", "retry", 3, "x")]
            assert await journal.query("SELECT count(*) FROM erasures") == [(0,)]
            await journal.close()
