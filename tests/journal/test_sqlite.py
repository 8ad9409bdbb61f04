"""The journal in a SQLite file: shared commits, crashes, full and failing disks, its neighbours."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import structlog.testing

from notifier.deliveries import Delivery, Priority, Route, Status
from notifier.errors import (
    JournalFailure,
    JournalInUse,
    JournalUnavailable,
    MessageNotFound,
    Rejected,
)
from notifier.journal import Filter, journal_at
from notifier.journal.sqlite import (
    SqliteJournal,
    backup,
    contents,
    disk,
    searches,
    thread,
    writer,
)
from notifier.journal.sqlite.writer import commit
from tests.deliveries import NOW, delivery, entries, entry, idempotency, ids, noon, sent
from tests.disks import fill, remount
from tests.paths import ROOT
from tests.waiting import LIMIT, until

RELAY = Route.RELAY


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "notifier.db"


@contextlib.asynccontextmanager
async def opened(path, **options):
    journal = SqliteJournal(str(path), **options)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def integrity(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA integrity_check").fetchone()[0]


def failure(name):
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError(f"made up: {name}")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


def refuses_to_write(db):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("INSERT INTO words VALUES ('a', 'b')")


class Commits:
    """Commits, counts, and fails where it is told to."""

    def __init__(self, *, failing=(), error=None):
        self.count = 0
        self.failing = failing
        self.error = error

    def __call__(self, db):
        self.count += 1
        if self.count in self.failing:
            raise self.error
        commit(db)


@contextlib.contextmanager
def process(path, what):
    """Another process on the journal, killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.journal_process", path, what],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    try:
        while "open" not in (line := child.stdout.readline()):
            assert line, "the process has ended"
        yield child
    finally:
        child.kill()
        child.wait(LIMIT)
        child.stdout.close()


class TestCommits:
    async def test_new_delivery_is_claimed_in_the_commit_that_adds_it(self, path):
        """An idle worker does not wait for a second commit, nor for one more message."""
        busy, go_on, commits, claiming = threading.Event(), threading.Event(), Commits(), []
        later = NOW + timedelta(milliseconds=1)
        async with opened(path, commit=commits) as journal:

            def claim(queues):
                (route,) = queues
                if not claiming:
                    claiming.append(
                        asyncio.ensure_future(journal.claim(route, 9, now=lambda: later))
                    )

            before = journal._writes.ask(lambda _: (busy.set(), go_on.wait(LIMIT)))
            await until(busy.is_set)
            journal.arrived = claim
            one = asyncio.create_task(journal.add([entry()]))
            await until(lambda: claiming)
            two = asyncio.create_task(journal.add([entry("d2", due_at=later)]))
            await until(lambda: journal._writes._inbox.qsize() == 2)
            go_on.set()
            await asyncio.gather(before, one, two)
            assert ids(await claiming[0]) == ["d1", "d2"]
        assert commits.count == 2

    async def test_claim_and_outcomes_write_to_the_log_of_the_database_alone(self, path):
        """SQLite copies no page to be able to take back a single statement."""

        def written(_):
            counters = Path("/proc/thread-self/io").read_text()
            octets = int(counters.split("wchar: ")[1].split()[0])
            return octets - path.with_name(path.name + "-wal").stat().st_size

        async with opened(path) as journal:
            await journal.add(entries(64, subject="s" * 2000))
            before = await journal._writes.ask(written)
            claims = await journal.claim(RELAY, 64, now=noon)
            await asyncio.gather(*(journal.record(sent(each.delivery)) for each in claims))
            assert len(claims) == 64
            assert await journal._writes.ask(written) == before

    async def test_delivery_claimed_on_arrival_is_written_once(self, path):
        """A claim of new deliveries, while nothing else is due, changes no row of them."""
        async with opened(path) as journal:
            assert await journal.claim(RELAY, 9, now=noon) == []
            rows = await journal._writes.ask(lambda db: db.total_changes)
            adding = asyncio.gather(
                journal.add([entry("d1", priority=Priority.BULK, key="a")]),
                journal.add([entry("d2"), entry("d3", due_at=NOW + timedelta(hours=1))]),
            )
            await asyncio.sleep(0)  # they have been asked for
            assert ids(await journal.claim(RELAY, 9, now=noon)) == ["d2", "d1"]
            await adding
            written = 3 * 3 + 2  # a row, a content, a term; and the span, once and changed
            assert await journal._writes.ask(lambda db: db.total_changes) - rows <= written
            assert await journal.next_due(RELAY) == NOW + timedelta(hours=1)
            assert (await journal.backlog()).counts[Status.SENDING] == 2
        async with opened(path) as journal:
            assert ids(await journal.recover(Delivery.released)) == ["d1", "d2"]
            assert ids(await journal.claim(RELAY, 9, now=noon)) == ["d2", "d1"]

    async def test_large_content_claimed_on_arrival_is_read_from_memory(self, path):
        """Only so much is kept, and each only until the delivery is recorded."""
        content = b"x" * (contents.KEPT_BYTES // 2)
        async with opened(path) as journal:
            assert await journal.claim(RELAY, 9, now=noon) == []
            large = [entry(f"d{n}", content=content, size=len(content)) for n in (1, 2, 3)]
            adding = journal.add(large)
            adding = asyncio.create_task(adding)
            await asyncio.sleep(0)  # it has been asked for
            claims = await journal.claim(RELAY, 9, now=noon)
            await adding
            assert ids(claims) == ["d1", "d2", "d3"]
            await journal._writes.ask(lambda db: db.execute("DELETE FROM contents"))
            assert await journal.content("d1") == await journal.content("d2") == content
            await journal.record(sent(claims[0].delivery))
            for id in ("d1", "d3"):
                with pytest.raises(MessageNotFound):
                    await journal.content(id)

    async def test_delivery_not_claimed_on_arrival_is_claimed_later(self, path):
        """A commit that fails is done again piece by piece, and nothing is lost by it."""
        commits = Commits(failing={2}, error=failure("SQLITE_BUSY"))
        async with opened(path, commit=commits) as journal:
            assert await journal.claim(RELAY, 9, now=noon) == []
            adding = asyncio.ensure_future(journal.add([entry()]))
            await asyncio.sleep(0)  # it has been asked for
            assert ids(await journal.claim(RELAY, 9, now=noon)) == ["d1"]
            await adding
            assert (await journal.get("d1")).status is Status.SENDING

    async def test_a_record_waits_for_the_next_delivery(self, path, monkeypatch):
        """While new deliveries come often, records share the commit of the next one."""
        monkeypatch.setattr(thread, "WAIT_SECONDS", 1000.0)
        commits = Commits()
        async with opened(path, commit=commits) as journal:
            await journal.add(entries(3))
            claims = await journal.claim(RELAY, 9, now=noon)
            await journal.put("a", "b")
            recording = asyncio.gather(*(journal.record(sent(each.delivery)) for each in claims))
            await journal.get("d00000")
            assert not recording.done()
            before = commits.count
            await journal.add([entry("d4")])
            assert await recording == [True, True, True]
            assert commits.count == before + 1

    async def test_a_record_that_nothing_follows_does_not_wait(self, path, monkeypatch):
        """While new deliveries come seldom, a record is written at once; so it is at the end."""
        monkeypatch.setattr(thread, "WAIT_SECONDS", 1000.0)
        async with opened(path) as journal:
            await journal.add(entries(2))
            one, two = await journal.claim(RELAY, 9, now=noon)
            assert await journal.record(sent(one.delivery))  # too little has come to know
            await journal.put("a", "b")
            recording = asyncio.ensure_future(journal.record(sent(two.delivery)))
            await journal.get("d00000")
            assert not recording.done()
        assert await recording

    async def test_all_that_is_asked_at_once_shares_a_commit(self, path):
        """A thousand calls at once need a few transactions, not a thousand."""
        commits = Commits()
        async with opened(path, commit=commits) as journal:
            await asyncio.gather(*(journal.add([each]) for each in entries(1000)))
            assert commits.count <= 10

    async def test_only_the_writer_can_write_or_checkpoint(self, path):
        """The connections that read refuse to write, and never checkpoint by themselves."""
        async with opened(path) as journal:
            for thread in (journal._reads, *journal._searches):
                for pragma, wanted in (("query_only", 1), ("wal_autocheckpoint", 0)):
                    read = thread.ask(
                        lambda db, pragma=pragma: db.execute(f"PRAGMA {pragma}").fetchone()
                    )
                    assert await read == (wanted,)
                await thread.ask(refuses_to_write)
            full = journal._writes.ask(lambda db: db.execute("PRAGMA synchronous").fetchone())
            assert await full == (2,)

    @pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_BUSY", "SQLITE_NOMEM"])
    async def test_any_commit_may_fail(self, path, name):
        """A delivery that was confirmed is there, and one whose commit failed is not."""
        for failing in range(1, 9):
            here = path.with_name(f"{name}{failing}.db")
            commits = Commits(failing={failing}, error=failure(name))
            async with opened(here, commit=commits) as journal:
                await self.live(journal)
            assert integrity(here) == "ok"

    @staticmethod
    async def live(journal):
        """Add, claim and record one by one and at once; check what we were told."""
        added = {}

        async def add(id):
            try:
                await journal.add([entry(id)])
            except JournalUnavailable:
                added[id] = False
            else:
                added[id] = True

        await add("a")
        await asyncio.gather(*(add(f"b{number}") for number in range(3)))
        claims = []
        for _ in range(2):
            with contextlib.suppress(JournalUnavailable):
                claims += await journal.claim(RELAY, 9, now=noon)
        for claim in claims:
            with contextlib.suppress(JournalUnavailable):
                assert await journal.record(sent(claim.delivery))
        found = ids((await journal.find(Filter())).deliveries)
        assert sorted(found) == sorted(id for id, kept in added.items() if kept)
        assert sum((await journal.backlog()).counts.values()) == len(found)


async def test_a_search_for_words_stops_and_says_where(path, monkeypatch):
    """It reads through so many rows for one page, and the cursor leads to the next ones."""
    monkeypatch.setattr(searches, "READ_THROUGH_ROWS", 10)
    async with opened(path) as journal:
        await journal.add(
            [entry(f"d{number}", subject="yes" if number == 2 else "no") for number in range(25)]
        )
        pages, cursor = [], None
        while True:
            page = await journal.find(Filter(q="yes"), limit=5, cursor=cursor)
            pages.append(ids(page.deliveries))
            if (cursor := page.next_cursor) is None:
                break
        assert pages == [[], [], ["d2"]]


class TestCrashes:
    async def test_killed_before_the_commit_there_is_nothing(self, path):
        """F01: killed between BEGIN and COMMIT, the delivery is unknown afterwards."""
        with process(path, "before") as child:
            assert child.stdout.read() == ""
            assert child.wait(LIMIT) == -signal.SIGKILL
        async with opened(path) as journal:
            with pytest.raises(MessageNotFound):
                await journal.get("d1")

    async def test_killed_after_the_commit_it_is_there(self, path):
        """F02: killed after COMMIT and before the answer, it is kept, and so is its key."""
        with process(path, "after") as child:
            assert child.stdout.read() == ""
        async with opened(path) as journal:
            assert await journal.get("d1") == delivery()
            assert (await journal.add([entry("d2")], idempotency())).replayed == b"answer"

    async def test_killed_at_any_time_no_acknowledged_delivery_is_lost(self, path):
        """Killed under load, three times over: all that was acknowledged is there."""
        for _ in range(3):
            path.unlink(missing_ok=True)
            acknowledged = set()
            with process(path, "flood") as child:
                while len(acknowledged) < 500:
                    line = child.stdout.readline()
                    assert line
                    acknowledged.add(line.strip())
                child.kill()
                acknowledged.update(line.strip() for line in child.stdout if line.endswith("\n"))
            async with opened(path) as journal:
                recovered = await journal.recover(lambda each: each.recovered(NOW))
                for id in acknowledged:
                    assert (await journal.get(id)).id == id
                assert {each.uncertain for each in recovered} <= {1}
            assert integrity(path) == "ok"


class TestInUse:
    async def test_a_second_process_learns_which_one_has_the_journal(self, path):
        """F17: the second process is refused at once, naming the first; a dead one has let go."""
        with process(path, "hold") as child:
            journal = SqliteJournal(str(path))
            begun = time.monotonic()
            with pytest.raises(JournalInUse, match=rf"in use by pid {child.pid}\b"):
                await journal.open()
            assert time.monotonic() - begun < 10
            child.kill()
            child.wait(LIMIT)
            async with opened(path):
                pass

    async def test_a_second_object_too(self, path):
        """Nor can one process open it twice; once closed it is free."""
        async with opened(path):
            with pytest.raises(JournalInUse, match=str(os.getpid())):
                await SqliteJournal(str(path)).open()
        async with opened(path):
            pass


class TestOpening:
    async def test_only_the_owner_may_read_it(self, path):
        """The folder is ours alone, and so is every file in it."""
        async with opened(path) as journal:
            await journal.add([entry()])
            assert path.parent.stat().st_mode & 0o777 == 0o700
            files = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
            assert set(files.values()) == {0o600}
            assert {f"notifier.db{end}" for end in ("", "-wal", ".lock", ".ballast")} <= set(files)

    @pytest.mark.parametrize("damage", ["header", "schema", "index", "row", "end"])
    async def test_a_damaged_file_is_refused(self, path, damage):
        """F15: it is not started empty over it; the error names the file and what to do."""
        async with opened(path) as journal:
            await journal.add(entries(200, user_id="7"))
        damaged = bytearray(path.read_bytes())
        where = {"header": 0, "schema": 100, "index": 4096 * 6, "row": 4096 * 30}.get(damage)
        if where is None:
            del damaged[-8192:]
        else:
            damaged[where : where + 60] = b"\xa5" * 60
        path.write_bytes(damaged)
        with pytest.raises(JournalFailure, match=r"notifier\.db.*\.recover"):
            await SqliteJournal(str(path)).open()
        assert path.read_bytes() == damaged
        with pytest.raises(JournalFailure):  # and not: in use
            await SqliteJournal(str(path)).open()

    async def test_damage_that_shows_later_is_the_end(self, path):
        """What SQLite finds damaged while running ends the journal, and is not written to."""
        async with opened(path) as journal:
            read = journal._reads.ask(lambda db: _raise(failure("SQLITE_CORRUPT")))
            with pytest.raises(JournalUnavailable):
                await read
            async with asyncio.timeout(LIMIT):
                assert "SQLITE_CORRUPT" in str(await journal.failed())
            with pytest.raises(JournalUnavailable):
                await journal.add([entry()])

    async def test_file_that_is_no_database_is_rejected(self, path):
        """Some other file of that name is left alone."""
        path.parent.mkdir()
        path.write_bytes(b"letters to the editor" * 500)
        with pytest.raises(JournalFailure, match="NOTADB"):
            await SqliteJournal(str(path)).open()

    async def test_somebody_elses_database_is_refused(self, path):
        """A SQLite file of another program is left alone."""
        path.parent.mkdir()
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE theirs (a)")
        with pytest.raises(JournalFailure, match="not a journal"):
            await SqliteJournal(str(path)).open()

    async def test_a_newer_journal_is_refused(self, path):
        """A journal that a newer notifier has written is not touched."""
        async with opened(path):
            pass
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 99")
        with pytest.raises(JournalFailure, match=r"newer notifier \(schema 99"):
            await SqliteJournal(str(path)).open()

    async def test_a_place_that_cannot_be_written_is_refused(self, tmp_path):
        """F16: it fails at once, and says what to set."""
        (tmp_path / "file").touch()
        with pytest.raises(JournalFailure, match="NOTIFIER_DATA_DIR"):
            await SqliteJournal(str(tmp_path / "file" / "notifier.db")).open()

    async def test_a_read_only_file_system_is_refused(self, mounted):
        """F16: a journal that cannot be written is refused."""
        folder = mounted("size=8m")
        async with opened(folder / "notifier.db", min_free=0):
            pass
        remount(folder, "ro")
        with pytest.raises(JournalFailure, match="Read-only file system"):
            await SqliteJournal(str(folder / "notifier.db")).open()

    @pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
    async def test_a_network_file_system_is_refused(self, tmp_path, kind):
        """F16: where SQLite would lose data it is not started, and the error says why."""
        mounts = tmp_path / "mountinfo"
        mounts.write_text(
            f"3 1 0:3 / {tmp_path}/other rw - ext4 /dev/sdb rw\n"
            f"2 1 0:2 / {str(tmp_path).replace(' ', chr(92) + '040')} rw shared:1 - {kind} x rw\n"
            "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        )
        with pytest.raises(JournalFailure, match=rf"network file system \({kind}\)"):
            await SqliteJournal(str(tmp_path / "data" / "n.db"), mounts=mounts).open()
        async with opened(tmp_path / "other" / "n.db", mounts=mounts):
            pass

    async def test_of_two_mounts_at_one_place_the_later_one_counts(self, tmp_path):
        """It covers the other, in whichever order they are."""
        mounts = tmp_path / "mountinfo"
        here, there = (f"{tmp_path} rw - {kind} x rw\n" for kind in ("ext4", "nfs"))
        mounts.write_text(f"1 0 8:1 / {here}2 0 0:2 / {there}")
        with pytest.raises(JournalFailure, match=r"network file system \(nfs\)"):
            await SqliteJournal(str(tmp_path / "n.db"), mounts=mounts).open()
        mounts.write_text(f"1 0 0:2 / {there}2 0 8:1 / {here}")
        async with opened(tmp_path / "n.db", mounts=mounts):
            pass

    async def test_the_version_of_sqlite_is_logged(self, path):
        """F47: a SQLite with the WAL-reset bug is named, and why it does not matter here."""
        with structlog.testing.capture_logs() as logs:
            async with opened(path):
                pass
        told = [line for line in logs if line["event"] == "sqlite_wal_reset_bug"]
        assert bool(told) == (sqlite3.sqlite_version_info < (3, 51, 3))
        assert all(line["version"] == sqlite3.sqlite_version for line in told)

    async def test_journal_at_names_it(self, tmp_path):
        """`sqlite:` is a file in the data directory, `sqlite:PATH` any other."""
        for url, where in (("sqlite:", "notifier.db"), (f"sqlite:{tmp_path}/x.db", "x.db")):
            journal = journal_at(url, data_dir=str(tmp_path))
            await journal.open()
            await journal.close()
            assert (tmp_path / where).exists()


def _raise(error):
    raise error


class TestEnd:
    @pytest.mark.parametrize(
        "error", [failure("SQLITE_IOERR_FSYNC"), failure("SQLITE_CORRUPT"), RuntimeError("bug")]
    )
    async def test_a_failing_disk_ends_it(self, path, error):
        """
        F14, F19: all waiting callers get the error, `failed` has the reason, nothing is written
        again.
        """
        commits = Commits(failing=range(2, 99), error=error)
        async with opened(path, commit=commits) as journal:
            await journal.add([entry("kept")])
            failed = asyncio.create_task(journal.failed())
            answers = await asyncio.gather(
                *(journal.add([each]) for each in entries(20)), return_exceptions=True
            )
            assert {type(each) for each in answers} == {JournalUnavailable}
            async with asyncio.timeout(LIMIT):
                reason = await failed
            assert isinstance(reason, JournalFailure)
            assert str(path) in str(reason)
            for call in (journal.add([entry()]), journal.record(delivery())):
                with pytest.raises(JournalUnavailable):
                    await call
            assert commits.count == 2
        async with opened(path) as again:
            assert ids((await again.find(Filter())).deliveries) == ["kept"]


async def fill_by_adding(journal):
    """How many deliveries the disk takes; raises what the journal says then."""
    for number in range(10_000):
        try:
            await journal.add([entry(f"d{number}", content=b"x" * 8192)])
        except JournalUnavailable as error:
            return number, error
    raise AssertionError


class TestFullDisk:
    async def test_a_full_disk_takes_no_more_but_goes_on(self, mounted):
        """F12: adding is unavailable, claiming and recording go on; with space it all works."""
        folder = mounted("size=6m")
        async with opened(folder / "notifier.db", min_free=0) as journal:
            fill_after = 40
            for number in range(fill_after):
                await journal.add([entry(f"first{number}")])
            filler = fill(folder)
            added, error = await fill_by_adding(journal)
            assert "insufficient_storage" in str(error)
            assert error.retry_after >= 1
            await self.send_all(journal, fill_after + added)
            filler.unlink()
            await self.until_it_takes_again(journal)
            assert not journal._failure.done()
        assert integrity(folder / "notifier.db") == "ok"

    @staticmethod
    async def send_all(journal, count):
        """Claims may be refused while all is full, but once the ballast is out all can be sent."""
        recorded = 0
        async with asyncio.timeout(LIMIT):
            while recorded < count:
                with contextlib.suppress(JournalUnavailable):
                    for claim in await journal.claim(RELAY, 8, now=noon):
                        assert await journal.record(sent(claim.delivery))
                        recorded += 1

    @staticmethod
    async def until_it_takes_again(journal):
        async with asyncio.timeout(LIMIT):
            while True:
                with contextlib.suppress(JournalUnavailable):
                    await journal.add([entry("again")])
                    break
                await journal.expire(NOW, lambda each: each)
                await asyncio.sleep(0.05)

    async def test_sent_message_can_be_recorded_on_a_full_disk(self, mounted):
        """F13: the ballast makes room for records of sent messages, and is restored later."""
        folder = mounted("size=6m")
        path = folder / "notifier.db"
        ballast = folder / "notifier.db.ballast"
        async with opened(path, min_free=0) as journal:
            await journal.add(entries(40))
            claims = await journal.claim(RELAY, 40, now=noon)
            assert ballast.stat().st_size == disk.BALLAST_BYTES
            filler = fill(folder)
            for claim in claims:
                assert await journal.record(sent(claim.delivery))
            assert not ballast.exists()
            with pytest.raises(JournalUnavailable, match="insufficient_storage"):
                await journal.add([entry("new")])
            filler.unlink()
            await self.until_it_takes_again(journal)
            assert ballast.stat().st_size == disk.BALLAST_BYTES
        assert integrity(path) == "ok"

    async def test_new_ones_leave_the_ballast_alone(self, mounted):
        """However they come: one, many in one request, and many requests in one commit."""
        folder = mounted("size=6m")
        ballast = folder / "notifier.db.ballast"
        async with opened(folder / "notifier.db", min_free=0) as journal:
            await journal.add([entry("first")])
            (claim,) = await journal.claim(RELAY, 1, now=noon)
            fill(folder)

            def new(name, count=1):
                return [entry(f"{name}{n}", content=b"x" * 65536) for n in range(count)]

            for batches in ([new("one")], [new("many", 40)], [new(f"each{n}") for n in range(40)]):
                asked = (journal.add(batch) for batch in batches)
                answers = await asyncio.gather(*asked, return_exceptions=True)
                assert all("insufficient_storage" in str(answer) for answer in answers)
                assert ballast.stat().st_size == disk.BALLAST_BYTES
            assert await journal.record(sent(claim.delivery))
            assert (await journal.backlog()).counts[Status.SENT] == 1

    async def test_new_ones_are_refused_before_the_disk_is_full(self, mounted):
        """Below the watermark nothing is added, while all else is written as ever."""
        folder = mounted("size=16m")
        async with opened(folder / "notifier.db", min_free=8 * 1024 * 1024) as journal:
            await journal.add(entries(3))
            filler = folder / "filler"
            filler.write_bytes(b"x" * 9 * 1024 * 1024)

            async def refused():
                await asyncio.sleep(0.02)
                try:
                    await journal.add([entry(f"x{time.monotonic_ns()}")])
                except JournalUnavailable as error:
                    return "insufficient_storage" in str(error)
                return False

            async with asyncio.timeout(LIMIT):
                while not await refused():
                    pass
            [claim] = await journal.claim(RELAY, 1, now=noon)
            assert await journal.record(sent(claim.delivery))
            filler.unlink()
            async with asyncio.timeout(LIMIT):
                while await refused():
                    pass


class TestLongReader:
    async def test_a_wal_that_a_reader_kept_from_ending_is_cut(self, path):
        """F18: past 64 MB there is a warning; once the reader is gone, the WAL shrinks."""
        wal = path.with_name("notifier.db-wal")
        content = b"x" * 4 * 1024 * 1024
        with structlog.testing.capture_logs() as logs:
            async with opened(path) as journal:
                await journal.add([entry()])
                with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
                    reader.execute("BEGIN")
                    reader.execute("SELECT count(*) FROM deliveries").fetchone()
                    for number in range(17):
                        await journal.add([entry(f"x{number}", content=content)])
                    await until(lambda: any(e["event"] == "journal_wal_large" for e in logs))
                    assert wal.stat().st_size > 64 * 1024 * 1024
                    reader.execute("COMMIT")
                await journal.expire(NOW, lambda each: each)
                await until(lambda: wal.stat().st_size == 0)
        assert len([e for e in logs if e["event"] == "journal_wal_large"]) == 1


async def test_a_grown_wal_is_written_back_after_the_answers(path, monkeypatch):
    """The writer checkpoints between two transactions, so the WAL begins again and stays small."""
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 100)
    said = []
    async with opened(path) as journal:
        await journal._writes.ask(lambda db: db.set_trace_callback(said.append))
        for each in entries(200):
            await journal.add([each])
        assert said[said.index("PRAGMA wal_checkpoint(PASSIVE)") - 1] == "COMMIT"
        assert path.with_name("notifier.db-wal").stat().st_size < 200 * 4096


async def test_calls_made_before_the_end_are_answered(path):
    """Closed while the writer is busy, it still does all that was asked, and then ends."""
    begun, gate = threading.Event(), threading.Event()
    async with opened(path) as journal:
        busy = journal._writes.ask(lambda db: begun.set() or gate.wait(LIMIT))
        await until(begun.is_set)
        asked = [asyncio.ensure_future(journal.add([each])) for each in entries(50)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(journal.close())
        await until(lambda: journal._writes._closed)
        gate.set()
        async with asyncio.timeout(LIMIT):
            await closing
            await asyncio.gather(busy, *asked)
    async with opened(path) as again:
        assert (await again.backlog()).counts[Status.QUEUED] == 50


async def test_pruning_leaves_nothing_behind(path):
    """Once a delivery is pruned no table remembers it."""
    async with opened(path) as journal:
        await journal.add(entries(3, user_id="7", tags=("t",), reference="r"))
        for claim in await journal.claim(RELAY, 3, now=noon):
            await journal.record(sent(claim.delivery))
        later = NOW + timedelta(days=1)
        await journal.prune(finished_before=later, contents_before=later, now=later)
        for table in ("deliveries", "contents", "terms"):
            count = f"SELECT count(*) FROM {table}"
            read = journal._reads.ask(lambda db, sql=count: db.execute(sql).fetchone())
            assert await read == (0,), table


class TestSearchesAndReads:
    async def test_a_search_without_end_is_given_up(self, path, monkeypatch):
        """A search that no index helps is ended in time, and holds up no other read."""
        monkeypatch.setattr("notifier.journal.sqlite.thread.READ_SECONDS", 0.2)
        endless = (
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)"
            " SELECT max(i) FROM n"
        )
        async with opened(path) as journal:
            await journal.add([entry()])
            search = asyncio.ensure_future(
                journal._search("", lambda db: db.execute(endless).fetchone())
            )
            assert await journal.get("d1") == delivery()
            assert not search.done()
            with pytest.raises(JournalUnavailable, match="add another filter"):
                await search
            assert len((await journal.find(Filter())).deliveries) == 1

    async def test_every_statement_has_its_index(self, path):
        """No search, claim or chore runs through the whole table or sorts what it found."""
        seen = []
        async with opened(path) as journal:
            await journal.add(entries(3, user_id="7", tags=("t",), collapse_key="c", key="k"))
            for thread in (journal._writes, *journal._searches, journal._reads):
                await thread.ask(lambda db: db.set_trace_callback(seen.append))
            await self.do_everything(journal)
            statements = {
                sql for sql in seen if sql.lstrip()[:6] in ("SELECT", "UPDATE", "DELETE", "WITH R")
            }
            assert len(statements) > 20
            for sql in statements:
                plan = await journal._reads.ask(
                    lambda db, sql=sql: [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
                )
                scans = [
                    step
                    for step in plan
                    if step.startswith("SCAN deliveries") or "TEMP B-TREE" in step
                ]
                if "NOT INDEXED" not in sql:  # a search without any filter goes from the newest on
                    assert scans == [], sql

    @staticmethod
    async def do_everything(journal):
        await journal.add([entry("x", collapse_key="c", key="k")], idempotency())
        for claim in await journal.claim(RELAY, 5, now=noon):
            await journal.record(sent(claim.delivery))
        names = {"user_id": "7", "tag": "t", "to": "a", "key": "k", "relay": "main", "channel": "x"}
        for name, value in names.items():
            await journal.find(Filter(**{name: value}))
        for statuses in ((Status.SENT,), (Status.QUEUED, Status.HELD)):
            await journal.find(Filter(status=statuses, created_after=NOW, created_before=NOW))
        await journal.find(Filter())
        await journal.get("x")
        await journal.content("x")
        await journal.backlog()
        await journal.expire(NOW, lambda each: each)
        await journal.recover(lambda each: each)
        await journal.amend("x", lambda each: each)
        later = NOW + timedelta(days=1)
        await journal.prune(finished_before=NOW, contents_before=later, now=later)
        await journal.prune(finished_before=later, contents_before=later, now=later)


async def test_value_that_cannot_be_bound_is_rejected(path):
    """Text that no database can hold is the caller's fault, and not the end of the journal."""
    async with opened(path) as journal:
        await journal.add([entry()])
        for call in (
            journal.amend("\ud800", lambda each: each),
            journal.put("\ud800", ""),
            journal.find(Filter(tag="\ud800")),
        ):
            with pytest.raises(Rejected):
                await call
        await journal.add([entry("d2")])


class TestBackup:
    async def test_a_damaged_copy_is_refused(self, path, monkeypatch):
        """A copy is checked, and a damaged one is deleted."""
        async with opened(path) as journal:
            await journal.add(entries(3))
        copy = backup._copy

        def damaged(source, partial, told):
            copy(source, partial, told)
            with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as db:
                db.execute("PRAGMA writable_schema = on")
                name = "name = 'deliveries_channel'"
                row = db.execute(f"SELECT * FROM sqlite_schema WHERE {name}").fetchone()
                db.execute(f"DELETE FROM sqlite_schema WHERE {name}")
            with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as db:
                db.execute("DELETE FROM deliveries WHERE seq = 1")  # its index has it still
                db.execute("PRAGMA writable_schema = on")
                db.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)

        monkeypatch.setattr(backup, "_copy", damaged)
        target = path.with_name("copy.db")
        with pytest.raises(JournalFailure, match="cannot be copied"):
            backup.backup(path, target, progress=lambda *_: None)
        assert {each.name for each in path.parent.glob("*copy*")} == set()

    async def test_a_copy_is_on_disk_before_it_has_its_name(self, path, monkeypatch):
        """The file is synced before it is there by its name, and then the folder."""
        async with opened(path) as journal:
            await journal.add([entry()])
        target, synced = path.with_name("copy.db"), []
        fsync = os.fsync

        def noted(fd):
            synced.append((os.fstat(fd).st_ino, target.exists()))
            fsync(fd)

        monkeypatch.setattr(os, "fsync", noted)
        assert backup.backup(path, target, progress=lambda *_: None) == 1
        assert synced == [(target.stat().st_ino, False), (target.parent.stat().st_ino, True)]


async def test_a_content_that_is_on_disk_is_held_no_more(tmp_path):
    """Neither by what was asked of the thread last, nor by a statement; nor one that was read."""
    async with opened(tmp_path / "notifier.db") as journal:
        content = b"x" * 1_000_000
        before = sys.getrefcount(content)
        await journal.add([entry("large", content=content)])
        await until(lambda: sys.getrefcount(content) == before)
        read = await journal.content("large")
        await until(lambda: sys.getrefcount(read) == before)
