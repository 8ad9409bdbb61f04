"""What only the journal in PostgreSQL promises: leases, fences, news, a server that goes away."""

import asyncio
import contextlib
from datetime import timedelta

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from notifier.deliveries import Route, Status
from notifier.errors import (
    ConfigurationError,
    JournalFailure,
    JournalUnavailable,
    MessageNotFound,
    Rejected,
)
from notifier.journal import Filter, News, journal_at
from notifier.journal.postgres import connection, searches
from notifier.journal.postgres.lease import NEWS_KEPT
from notifier.journal.statements import Statement
from tests.deliveries import NOW, RELAY, delivery, entries, entry, idempotency, ids, noon, sent
from tests.replica_journals import LEASE, opened, silence
from tests.waiting import LIMIT, until


@pytest.fixture
async def url(postgres):
    return await postgres.database()


def recovered(one):
    return one.recovered(NOW)


class TestAlone:
    async def test_one_replica_at_a_time_is_alone(self, url, postgres):
        """By one name; whose connection to the database breaks is so no more."""
        async with opened(url) as (here, there):
            async with here.try_lock("a") as first, there.try_lock("a") as second:
                assert (first, second) == (True, False)
                async with there.try_lock("b") as other:
                    assert other
            lost = here.try_lock("a")
            assert await lost.__aenter__()
            await postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON oid = database"
                " WHERE locktype = 'advisory' AND datname = current_database()",
                url=url,
            )

            async def taken():
                async with there.try_lock("a") as second:
                    return second

            await until(taken)
            with pytest.raises(JournalUnavailable):
                await lost.__aexit__(None, None, None)


class TestCollisions:
    async def test_statements_that_block_each_other_are_repeated(self, url):
        """PostgreSQL ends one of the two transactions; it is done again, and both are kept."""
        slow = Statement("SELECT pg_sleep(0.3)", ())
        async with opened(url) as (here, there):
            await here.put("a", "0")
            await here.put("b", "0")

            def more(name):
                return Statement("UPDATE words SET value = value || ? WHERE name = ?", ("1", name))

            await asyncio.gather(
                here.execute(more("a"), slow, more("b")), there.execute(more("b"), slow, more("a"))
            )
            assert [await here.value(each) for each in "ab"] == ["011", "011"]

    async def test_bulk_acts_and_single_acts_at_once_all_succeed(self, url):
        """Two replicas change the same messages, in different orders."""
        async with opened(url) as (here, there):
            for number in range(40):
                await here.add([entry(f"m{number}", user_id="7")])

            def noted(one):
                return one.with_event(NOW, "noted")

            names = [f"m{number}" for number in range(40)]
            await asyncio.gather(
                *(journal.amend_all(Filter(user_id="7"), noted) for journal in (here, there) * 5),
                *(here.amend(each, noted) for each in names),
                *(there.amend(each, noted) for each in reversed(names)),
            )
            for each in names:
                events = (await here.get(each)).events
                assert [event.what for event in events].count("noted") == 12


class TestOpening:
    async def test_one_makes_the_schema_for_all(self, url):
        """Replicas that are started at the same time on an empty database all find one schema."""
        async with opened(url, count=5) as journals:
            await journals[0].add([entry()])
            assert await journals[4].get("d1") == delivery()

    async def test_a_newer_schema_is_left_alone(self, url, postgres):
        """A database that a newer notifier has migrated is refused in words."""
        async with opened(url, count=1):
            pass
        await postgres.execute("INSERT INTO notifier.versions VALUES (999)", url=url)
        with pytest.raises(JournalFailure, match="version 999"):
            await journal_at(url, data_dir="").open()

    async def test_a_database_that_is_not_there_is_named(self, postgres):
        """An unknown database is a wrong setting, and the error has its name."""
        with pytest.raises(ConfigurationError, match=r"NOTIFIER_JOURNAL.*nowhere"):
            await journal_at(postgres.url("nowhere"), data_dir="").open()

    def test_a_missing_driver_is_reported_in_words(self, monkeypatch):
        """Without asyncpg the error says how to install it."""
        monkeypatch.setattr("notifier.journal.find_spec", lambda name: None)
        with pytest.raises(ConfigurationError, match=r"pip install 'notifier\[postgres\]'"):
            journal_at("postgresql://u@h/d", data_dir="")


class TestTogether:
    async def test_a_claim_is_for_one_replica_alone(self, url):
        """However many replicas claim at once, each delivery goes to one of them."""
        async with opened(url, count=3) as journals:
            await journals[0].add(entries(200))
            claims = await asyncio.gather(
                *(each.claim(RELAY, 10, now=noon) for each in journals for _ in range(10))
            )
            claimed = [id for each in claims for id in ids(each)]
        assert sorted(claimed) == ids(each.delivery for each in entries(200))

    async def test_fifty_at_once_on_three_replicas_are_one(self, url):
        """F43 across replicas: one of fifty equal requests is added, and all get its answer."""
        async with opened(url, count=3) as journals:
            added = await asyncio.gather(
                *(
                    journals[number % 3].add(
                        [entry(f"d{number}")], idempotency(answer=b"%d" % number)
                    )
                    for number in range(50)
                )
            )
            [first] = [number for number, each in enumerate(added) if each.replayed is None]
            assert {each.replayed for each in added} == {None, b"%d" % first}
            found = await journals[2].find(Filter())
        assert ids(found.deliveries) == [f"d{first}"]

    async def test_a_newer_message_supersedes_across_replicas(self, url):
        """Of many at once under one collapse key, on three replicas, one remains."""
        async with opened(url, count=3) as journals:
            await asyncio.gather(
                *(journals[n % 3].add([entry(f"d{n}", collapse_key="c")]) for n in range(30))
            )
            counts = (await journals[1].backlog()).counts
        assert (counts[Status.QUEUED], counts[Status.SUPERSEDED]) == (1, 29)

    async def test_of_two_replicas_under_one_collapse_key_one_waits_for_the_other(
        self, url, postgres, monkeypatch
    ):
        """Neither misses what the other has added and not committed yet."""
        async with opened(url) as (one, other):
            added, go_on = asyncio.Event(), asyncio.Event()
            finish = one._writer._finish

            async def hesitant(*arguments):
                added.set()
                await go_on.wait()
                await finish(*arguments)

            monkeypatch.setattr(one._writer, "_finish", hesitant)
            first = asyncio.create_task(one.add([entry("first", collapse_key="c")]))
            await asyncio.wait_for(added.wait(), LIMIT)
            second = asyncio.create_task(other.add([entry("second", collapse_key="c")]))
            waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

            async def waiting():
                return second.done() or await postgres.execute(waits, url=url)

            await until(waiting)
            go_on.set()
            await first
            assert ids((await second).superseded) == ["first"]
            counts = (await one.backlog()).counts
        assert (counts[Status.QUEUED], counts[Status.SUPERSEDED]) == (1, 1)

    async def test_replicas_hear_of_each_others_changes(self, url):
        """A new delivery wakes the other replicas, and its end reaches them with its id."""
        async with opened(url) as (one, other):
            await one._lease.renew()  # it knows of the other from here on
            heard = await asyncio.wait_for(other.news(), LIMIT)  # that it has just begun to listen
            assert heard.missed
            await one.add([entry()])
            news = await asyncio.wait_for(other.news(), LIMIT)
            while "d1" not in news.changed or not news.routes:
                more = await asyncio.wait_for(other.news(), LIMIT)
                news = replace(more, changed=news.changed + more.changed,
                               routes=news.routes + more.routes)  # fmt: skip
            assert news.routes == (RELAY,)
            await one.put("paused:queue", "yes")
            while not (await asyncio.wait_for(other.news(), LIMIT)).values:
                pass


class TestLease:
    async def test_claims_of_a_living_replica_are_left_alone(self, url, postgres):
        """`recover` takes nothing from others that are alive, however long, nor from ourselves."""
        async with opened(url, lease=LEASE) as (one, other):
            await one.add(entries(2))
            claims = [(each, *await each.claim(RELAY, 1, now=noon)) for each in (one, other)]
            past = f"clock_timestamp() - interval '{2 * LEASE} s'"
            young = f"SELECT WHERE pg_postmaster_start_time() > {past} OR now() < {{}}"
            [[begun]] = await postgres.execute("SELECT now() + interval '1.2 s'", url=url)

            async def both_have_outlived_their_first_lease():
                assert await one.recover(recovered) == []
                assert await other.recover(recovered) == []
                return not await postgres.execute(young.format(f"'{begun}'"), url=url)

            await until(both_have_outlived_their_first_lease)
            for each, claim in claims:
                assert await each.record(sent(claim.delivery))

    async def test_a_lease_that_has_run_out_is_noticed_before_sending(self, url):
        """Who was silent for too long asks before it sends what it had claimed, and does not."""
        async with opened(url, lease=LEASE) as (one, other):
            await one.add([entry()])
            [claim] = await one.claim(RELAY, 1, now=noon)
            await silence(one)

            async def taken_over():
                return ids(await other.recover(recovered)) == ["d1"]

            await until(taken_over)
            assert not await one.still_ours(claim.delivery)

    async def test_a_database_away_for_longer_than_a_lease_abandons_nothing(self, url, postgres):
        """Once it is back all that were kept from renewing get their time for it."""
        async with opened(url) as (one, other):
            await one.add([entry()])
            [claim] = await one.claim(RELAY, 1, now=noon)
            await silence(one)
            await postgres.execute("UPDATE notifier.leases SET expires_at = 'epoch'", url=url)
            postgres.down()
            postgres.up()

            async def looked():
                with contextlib.suppress(JournalUnavailable):
                    assert await other.recover(recovered) == []
                    return True

            await until(looked)
            await one._lease.renew()
            assert await one.still_ours(claim.delivery)
            assert await one.record(sent(claim.delivery))

    async def test_claims_of_a_silent_replica_are_taken_over(self, url):
        """F45: after the lease another sends it, flagged; what the first one records is refused."""
        async with opened(url, lease=LEASE) as (one, other):
            await one.add([entry()])
            [claim] = await one.claim(RELAY, 1, now=noon)
            assert await one.still_ours(claim.delivery)
            await silence(one)

            async def taken_over():
                return ids(await other.recover(recovered)) == ["d1"]

            await until(taken_over)
            [again] = await other.claim(RELAY, 1, now=noon)
            assert again.delivery.uncertain == 1
            assert not await one.record(sent(claim.delivery))
            assert not await one.still_ours(claim.delivery)
            assert await other.record(sent(again.delivery))
            assert (await one.get("d1")).uncertain == 1

    async def test_a_late_record_is_refused_also_where_it_came_back_to_us(self, url):
        """Lost, and claimed again by the same replica: the old claim is not the new one."""
        async with opened(url, lease=LEASE) as (one, other):
            await one.add([entry()])
            [old] = await one.claim(RELAY, 1, now=noon)
            await silence(one)

            async def taken_over():
                return await other.recover(recovered)

            await until(taken_over)
            await one._lease.renew()
            [new] = await one.claim(RELAY, 1, now=noon)
            assert not await one.record(sent(old.delivery))
            assert not await one.still_ours(old.delivery)
            assert await one.still_ours(new.delivery)
            assert await one.record(sent(new.delivery))

    async def test_a_record_made_again_is_not_that_of_the_next_claim(self, url, monkeypatch):
        """Kept though the answer was lost, and claimed anew by us: the new claim is left alone."""
        async with opened(url, count=1) as (one,):
            await one.add([entry()])
            [old] = await one.claim(RELAY, 1, now=noon)
            record = one._writer.record

            async def lost(*arguments):
                await record(*arguments)
                raise JournalUnavailable("the connection is lost")

            monkeypatch.setattr(one._writer, "record", lost)
            with pytest.raises(JournalUnavailable):
                await one.record(old.delivery.released())
            monkeypatch.undo()
            [new] = await one.claim(RELAY, 1, now=noon)
            assert not await one.record(old.delivery.released())
            assert await one.still_ours(new.delivery)
            assert await one.record(sent(new.delivery))

    async def test_a_claim_that_was_never_answered_is_given_back_unsent(self, url, monkeypatch):
        """The server did it, and the answer was lost: nothing is uncertain, nothing is stuck."""
        async with opened(url, count=1) as (one,):
            await one.add([entry()])
            take = one._claims.take

            async def lost(*arguments):
                await take(*arguments)
                raise ConnectionResetError

            monkeypatch.setattr(one._claims, "take", lost)
            with pytest.raises(JournalUnavailable):
                await one.claim(RELAY, 1, now=noon)
            assert (await one.get("d1")).status is Status.SENDING
            monkeypatch.undo()
            [claim] = await one.claim(RELAY, 1, now=noon)
            assert claim.delivery.uncertain == 0

    async def test_routes_that_claim_at_once_after_an_outage_all_go_on(self, url, monkeypatch):
        """Each gives back what nobody answered for; what cannot be given back yet is, later."""
        async with opened(url, count=1) as (one,):
            await one.add(entries(2))
            take, stepped = one._claims.take, one._changed

            async def lost(*arguments):
                await take(*arguments)
                raise ConnectionResetError

            async def away(*arguments):
                raise JournalUnavailable("the database is away")

            monkeypatch.setattr(one._claims, "take", lost)
            for _ in range(2):
                with pytest.raises(JournalUnavailable):
                    await one.claim(RELAY, 1, now=noon)
                monkeypatch.setattr(one, "_changed", away)  # the first one stays claimed
            monkeypatch.setattr(one._claims, "take", take)
            with pytest.raises(JournalUnavailable):
                await one.claim(RELAY, 2, now=noon)
            monkeypatch.setattr(one, "_changed", stepped)
            routes = asyncio.gather(*(one.claim(route, 2, now=noon) for route in Route))
            claimed = [id for each in await routes for id in ids(each)]
            claimed += ids(await one.claim(RELAY, 2, now=noon))
            assert sorted(claimed) == ["d00000", "d00001"]


class TestNews:
    async def test_news_past_the_bound_are_missed(self, url):
        """A late reader learns that news are missing, also where one item crosses the bound."""
        async with opened(url, count=1) as (one,):
            await one.news()
            for start in range(0, NEWS_KEPT, 150):
                one._heard.add(News(changed=tuple(f"d{start + n}" for n in range(150))))
            news = await one.news()
            assert (len(news.changed), news.missed) == (NEWS_KEPT, True)
            one._heard.add(News(changed=tuple(f"d{n}" for n in range(NEWS_KEPT))))
            news = await one.news()
            assert (len(news.changed), news.missed) == (NEWS_KEPT, False)


class TestTrouble:
    async def test_a_server_that_restarts_is_unavailable_and_then_there_again(self, url, postgres):
        """F46: meanwhile every call raises JournalUnavailable; afterwards all data is there."""
        async with opened(url, count=1) as (one,):
            await one.add(entries(3))
            [claim, *_] = await one.claim(RELAY, 1, now=noon)
            postgres.down()
            try:
                calls = (one.add([entry("x")]), one.claim(RELAY, 1, now=noon), one.backlog(),
                         one.record(sent(claim.delivery)), one.get("d00001"))  # fmt: skip
                for call in calls:
                    with pytest.raises(JournalUnavailable):
                        await call
            finally:
                postgres.up()

            async def there():
                with contextlib.suppress(JournalUnavailable):
                    return await one.record(sent(claim.delivery))

            await until(there)
            assert (await one.backlog()).counts[Status.SENT] == 1
            with pytest.raises(MessageNotFound):
                await one.get("x")
            assert ids(await one.claim(RELAY, 9, now=noon)) == ["d00001", "d00002"]

    async def test_a_text_with_nul_is_refused_alone(self, url):
        """PostgreSQL's text cannot hold NUL: a message with one is refused, and no other."""
        async with opened(url, count=1) as (one,):
            bad, good = await asyncio.gather(
                one.add([entry("bad", reference="a\0b")]), one.add([entry("good")]),
                return_exceptions=True,
            )  # fmt: skip
            assert isinstance(bad, Rejected)
            assert good.replayed is None
            assert (await one.find(Filter(reference="a\0b"))).deliveries == ()


@pytest.mark.parametrize(
    ("place", "warned"),
    [
        ("db.example.org/notifier", True),
        ("n:p@192.0.2.7:5432/notifier?sslmode=require", True),
        ("127.0.0.1,db.example.org/notifier", True),
        ("/notifier?host=db.example.org&sslmode=prefer", True),
        ("db.example.org/notifier?sslmode=verify-full", False),
        ("db.example.org/notifier?sslmode=verify-ca", False),
        ("n:p@127.0.0.1:5432/notifier", False),
        ("[::1]:5432/notifier", False),
        ("localhost/notifier", False),
        ("/notifier?host=/run/postgresql", False),
    ],
)
def test_a_database_elsewhere_that_is_not_verified_is_warned_of(place, warned):
    """The warning says that others could read every message, and how to verify."""
    with capture_logs() as logs:
        connection._warn_if_unverified(f"postgresql://{place}")
    assert [each["event"] for each in logs] == ["journal_not_verified"] * warned


MANY_ROWS = """
    INSERT INTO notifier.deliveries
        (seq, id, key, status, route, priority, channel, created_at, said, record)
    SELECT seq + n, id || n, key, status, route, priority, channel, created_at, said, record
    FROM notifier.deliveries, generate_series(1, 20000) AS n
"""


class TestIndices:
    @pytest.mark.parametrize(
        ("which", "index"),
        [
            (Filter(relay="rare"), "deliveries_relay"),
            (Filter(channel="sms"), "deliveries_channel"),
            (Filter(status=(Status.SENT,)), "deliveries_status"),
            (Filter(status=(Status.SENT, Status.HELD)), "deliveries_status"),
            (Filter(created_after=NOW + timedelta(hours=1)), "deliveries_created"),
        ],
    )
    async def test_rare_values_are_found_by_an_index(self, url, postgres, which, index):
        """Among many rows no search by an exact filter reads through the others."""
        async with opened(url, count=1) as (one,):
            await one.add([entry()])
            await postgres.execute(MANY_ROWS, url=url)
            await postgres.execute("ANALYZE notifier.deliveries", url=url)
            async with one._connection() as db:
                explained = Explained(db)
                await searches.matching(explained, which, limit=50)
        assert f"using {index}" in explained.plan or f"on {index}" in explained.plan
        assert "Seq Scan" not in explained.plan


class Explained:
    """Asks how a statement would be carried out."""

    def __init__(self, db):
        self._db = db
        self.plan = ""

    async def fetch(self, sql, *values):
        self.plan = "\n".join(row[0] for row in await self._db.fetch(f"EXPLAIN {sql}", *values))
        return []
