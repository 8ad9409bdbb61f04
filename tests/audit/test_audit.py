"""Who did what: written with what it tells, found by pages, and kept for its time."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from notifier.audit import Audit, Which
from notifier.audit.records import Record, added
from notifier.audit.sums import HOUR, MOST, RefusedSignIns
from notifier.deliveries import Delivery, Status
from notifier.errors import JournalUnavailable, Rejected, WrongState
from notifier.journal import Filter, journal_at
from notifier.journal.statements import Statement
from notifier.keys import Keys, KeyScope, new_key
from notifier.metrics import Tally
from tests.clocks import Clock
from tests.deliveries import NOW, delivery, entries


async def records_of(audit, **which):
    page = await audit.page(Which(**which))
    return [(each.by, each.what, each.on, each.count, each.detail) for each in page.items]


async def test_a_change_and_its_record_are_one_transaction(journal):
    """A change that is refused is not recorded; one that is made is."""
    audit = Audit(journal, clock=lambda: NOW)
    await journal.add(entries(1))

    def cancel(one):
        return Delivery.cancelled(one, NOW, "key:shop")

    also = audit.one("key:shop", "cancel", on="d00000")
    assert (await journal.amend("d00000", cancel, also=also)).status is Status.CANCELLED
    with pytest.raises(WrongState):
        await journal.amend("d00000", cancel, also=also)
    assert await records_of(audit) == [("key:shop", "cancel", "d00000", 1, "")]


async def test_a_bulk_act_is_one_record_with_its_count(journal):
    """However many portions it is done in; where nothing has changed it is not in them."""
    audit = Audit(journal, clock=lambda: NOW)
    await journal.add(entries(1200))
    also = audit.many("monitor:ann", "cancel", detail="status=queued")
    which = Filter(status=(Status.QUEUED,))

    def cancel(one):
        return Delivery.cancelled(one, NOW)

    assert await journal.amend_all(which, cancel, also=also) == 1200
    assert await journal.amend_all(which, cancel, also=also) == 0
    assert await records_of(audit) == [("monitor:ann", "cancel", "", 1200, "status=queued")]


async def test_pages_lead_from_the_newest_to_the_oldest(journal):
    """Also where several have the same time, and while new ones arrive; by any filter."""
    clock = Clock(NOW)
    audit = Audit(journal, clock=lambda: clock.now)
    for number in range(10):
        await audit.note(f"key:{number % 2}", "pause" if number % 4 else "retry", on=str(number))
        clock.now += timedelta(seconds=number % 3)
    seen, cursor = [], None
    while True:
        page = await audit.page(Which(), limit=3, cursor=cursor)
        seen += [int(each.on) for each in page.items]
        await audit.note("key:9", "late")
        if (cursor := page.next_cursor) is None:
            break
    assert seen == list(range(9, -1, -1))
    assert [each[2] for each in await records_of(audit, by="key:0", what="retry")] == [
        "8",
        "4",
        "0",
    ]
    assert [each[2] for each in await records_of(audit, by="key:1")] == ["9", "7", "5", "3", "1"]
    since = NOW + timedelta(seconds=6)
    recent = await audit.page(Which(since=since))
    assert all(each.at >= since for each in recent.items)
    assert await records_of(audit, by="nobody") == []
    exported = [each async for portion in audit.all(Which(what="pause")) for each in portion]
    assert len(exported) == 7


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "_" * 22, "Ä"])
async def test_a_cursor_of_another_list_is_refused(journal, cursor):
    """As with messages."""
    with pytest.raises(Rejected, match="cursor"):
        await Audit(journal).page(Which(), cursor=cursor)


async def test_expired_records_are_deleted(journal):
    """And nothing else."""
    clock = Clock(NOW)
    audit = Audit(journal, retention=86400.0, clock=lambda: clock.now)
    old = [added(Record(NOW, "cli:root", "old")) for _ in range(600)]
    await journal.execute(*old)
    clock.now += timedelta(hours=12)
    await audit.note("cli:root", "new")
    clock.now += timedelta(hours=13)
    assert await audit.prune() == 600
    assert [each[1] for each in await records_of(audit)] == ["new"]


async def test_sent_messages_are_summed_by_the_hour(journal):
    """One record of each sender and hour, to which replicas add; it is without a person's own."""
    clock = Clock(NOW)
    tallies = [Tally() for _ in range(2)]
    audits = [Audit(journal, senders=each.senders, clock=lambda: clock.now) for each in tallies]
    sent = [delivery(key="shop"), delivery(key="shop"), delivery(), delivery(by="monitor:ann")]
    for _ in range(2):
        for audit, tally in zip(audits, tallies, strict=True):
            for each in sent:
                tally.count(each)
                tally.count(replace(each, status=Status.SENT))  # it is no new message
            await audit.write_sums()
        clock.now += timedelta(minutes=1)
    assert {each[:4] for each in await records_of(audits[0])} == {
        ("anonymous", "send", "", 4),
        ("key:shop", "send", "", 8),
    }
    clock.now += timedelta(hours=1)
    tallies[0].count(sent[0])
    await audits[0].write_sums()
    assert (await records_of(audits[0]))[0][:4] == ("key:shop", "send", "", 1)


async def test_sums_that_could_not_be_written_are_written_later(tmp_path):
    """The journal may be away for a while; at the end they are written, too."""
    journal = journal_at(f"sqlite:{tmp_path}/notifier.db", data_dir="")
    await journal.open()
    audit = Audit(journal, clock=lambda: NOW)
    audit.count("key:bounces", "take-report", 2)
    await journal.close()
    with pytest.raises(JournalUnavailable):
        await audit.write_sums()
    again = journal_at(f"sqlite:{tmp_path}/notifier.db", data_dir="")
    await again.open()
    audit._journal = again
    async with audit:
        audit.count("key:bounces", "take-report")
    assert [each[:4] for each in await records_of(audit)] == [("key:bounces", "take-report", "", 3)]
    await again.close()


async def test_a_query_counts_what_is_changed_in_the_same_transaction(journal):
    """In portions that become one record; what finds nothing writes nothing."""
    audit = Audit(journal, clock=lambda: NOW)
    await journal.add(entries(5))
    counting = audit.counting("key:boss", "replay-callbacks", on="shop", detail="since=x")
    found = "SELECT id FROM deliveries WHERE channel = ? LIMIT ?"
    for channel, limit in (("email", 3), ("email", 2), ("sms", 9)):
        await journal.execute(counting(found, (channel, limit)))
    assert await records_of(audit) == [("key:boss", "replay-callbacks", "shop", 5, "since=x")]


async def test_a_value_and_its_record_are_one_transaction(journal):
    """If the record cannot be written, the value is as it was, and is not forgotten."""
    audit = Audit(journal, clock=lambda: NOW)
    wrong = Statement("INSERT INTO no_such_table VALUES (1)")
    await journal.put("a", "1", audit.statement("key:boss", "pause-queue"))
    with pytest.raises(Exception, match="no_such_table"):
        await journal.put("a", "2", wrong)
    with pytest.raises(Exception, match="no_such_table"):
        await journal.forget(["a"], wrong)
    assert await journal.value("a") == "1"
    await journal.forget(["a"], audit.statement("key:boss", "resume-queue"))
    assert await journal.value("a") is None
    assert [each[1] for each in await records_of(audit)] == ["resume-queue", "pause-queue"]


async def test_keys_that_come_and_go_are_recorded_once(journal, tmp_path):
    """Who made and revoked them is in the file; what was changed by hand nobody knows."""
    path = tmp_path / "keys.toml"
    keys = Keys.read(path, clock=lambda: 0.0)
    audits = [Audit(journal, keys=keys, clock=lambda: NOW) for _ in range(2)]  # two replicas

    async def look():
        for audit in audits:
            await audit.look_at_keys()
        return [each[:3] for each in await records_of(audits[0])]

    key, _ = new_key("shop", now=NOW, scopes=(KeyScope.SEND,), by="cli:ann")
    keys.add(key)
    assert await look() == [("cli:ann", "make-key", "shop")]
    path.write_text(path.read_text().replace('["send"]', '["send", "manage"]'))
    keys._put(Keys.read(path).all())
    assert (await look())[0] == ("keys file", "change-key", "shop")
    (changed, _) = (await audits[0].page(Which())).items
    assert "scopes=manage send" in changed.detail
    assert key.sha256 not in changed.detail
    keys.revoke("shop", NOW, by="cli:bob")
    assert ("cli:bob", "revoke-key", "shop") in await look()
    keys._put(())
    assert ("keys file", "remove-key", "shop") in await look()
    assert len(await look()) == 4


async def test_a_change_that_happens_again_is_recorded_again(journal, tmp_path):
    """Rules that go back and forth, and a key that is removed, put back, revoked and not."""
    keys = Keys.read(tmp_path / "keys.toml", clock=lambda: 0.0)
    audits = [Audit(journal, keys=keys, clock=lambda: NOW) for _ in range(2)]  # two replicas
    key, _ = new_key("shop", now=NOW, scopes=(KeyScope.SEND,), by="cli:ann")
    wider = replace(key, scopes=type(key.scopes)({KeyScope.SEND, KeyScope.MANAGE}))
    revoked = replace(key, revoked=NOW, revoked_by="cli:bob")
    for files in ([key], [wider], [key], [wider], [key], [], [key], [], [key], [revoked]):
        keys._put(tuple(files))
        for audit in audits:
            await audit.look_at_keys()
    for files in ([key], [revoked]):
        keys._put(tuple(files))
        for audit in reversed(audits):
            await audit.look_at_keys()
    whats = [what for _, what, *_ in await records_of(audits[0])]
    assert whats[::-1] == [
        "make-key",
        *["change-key"] * 4,
        *["remove-key", "make-key"] * 2,
        "revoke-key",
        "change-key",
        "revoke-key",
    ]
    details = [detail for *_, detail in await records_of(audits[0], what="change-key")]
    assert details[0].startswith("no longer revoked")


async def test_sums_under_way_at_the_end_are_written_once(journal):
    """A write that the end would cut off is waited for."""
    audit = Audit(journal, clock=lambda: NOW)
    async with audit:
        audit.count("key:shop", "send", 3)
        writing = asyncio.create_task(audit.write_sums())
        while not audit._writing_sums.locked():
            await asyncio.sleep(0)
        audit._running.append(writing)  # as if its time had come just now
    assert [each[:4] for each in await records_of(audit)] == [("key:shop", "send", "", 3)]


def test_failed_sign_ins_fill_no_disk():
    """Some of an hour are recorded one by one, the others by their number."""
    refused = RefusedSignIns()
    records = [
        each for _ in range(1000) for each in refused.records(NOW, on="192.0.2.1", detail="no")
    ]
    assert len(records) == MOST
    assert refused.rest(NOW) == []
    more, first = refused.records(NOW + HOUR, on="192.0.2.2", detail="no")
    assert (more.count, first.on) == (1000 - MOST, "192.0.2.2")
    assert "not recorded one by one" in more.detail


async def test_the_text_of_a_record_may_be_anything(journal):
    """A detail is cut to a length, and has no NUL, which PostgreSQL does not store."""
    audit = Audit(journal, clock=lambda: NOW)
    await audit.note("cli:root", "start", on="\0a\ud800", detail="a\0b" + "x" * 9000)
    (record,) = (await audit.page(Which())).items
    assert record.on == "a?"
    assert record.detail.startswith("abx")
    assert len(record.detail) == 4000


async def test_a_page_is_found_in_an_index(journal, tmp_path):
    """Whatever the filters are, no query reads through the table or sorts it."""
    if "Sqlite" not in type(journal).__name__:
        pytest.skip("the plan is SQLite's")
    from notifier.audit.records import query

    for which in (
        Which(),
        Which(by="a"),
        Which(what="b"),
        Which(by="a", what="b", since=NOW),
    ):
        sql, values = query(which, limit=50, cursor="A" * 22)
        plan = await journal.query(f"EXPLAIN QUERY PLAN {sql}", *values)
        words = " ".join(str(row[-1]) for row in plan)
        assert "USING INDEX audit_" in words, words
        assert "TEMP B-TREE" not in words, words
        assert "SCAN" not in words, words
