"""The list of suppressions, and what becomes of messages to those who are on it."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from notifier.deliveries import Status
from notifier.errors import Forbidden
from notifier.keys import KeyScope, new_key
from notifier.messages import Email, Sms
from notifier.service import Notifier
from notifier.settings import Settings
from notifier.suppressions import Reason, Suppression, Which, read_address
from tests.relay import ScriptedRelay
from tests.service import notifying, submit_one
from tests.waiting import LIMIT

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
BY = "key:ops"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def keeping(folder, clock=None, **settings):
    """A service that sends nothing until it is resumed."""
    chosen = Settings(data_dir=str(folder), **settings)
    async with Notifier(chosen, clock=clock or Clock()) as service:
        await service.pause()
        yield service


def suppression(address, **given):
    ordinary = {"reason": Reason.MANUAL, "since": NOW}
    return Suppression(address=address, **(ordinary | given))


def to(*addresses, **changes):
    return Email(**({"to": addresses, "sender": "us@x.org", "text": "Hi."} | changes))


async def send(service, *messages, **given):
    return (await service.submit(messages, **given)).deliveries


async def put(service, *suppressions):
    await service.suppressions.put(suppressions, by=BY)


def states(delivery):
    return [each.status.value for each in delivery.recipients]


async def test_the_others_go(tmp_path, journal_url):
    """A suppressed recipient has that status and why; where all are, the message has failed."""
    async with keeping(tmp_path, journal=journal_url) as service:
        await put(service, suppression("ann@x.org", source="asked by phone"))
        (some,) = await send(service, to("Ann@X.org", "bob@x.org"))
        assert (some.status, states(some)) == ("queued", ["suppressed", "pending"])
        assert some.recipients[0].reply == "suppressed, manual: asked by phone"
        assert some.pending.recipients == ("bob@x.org",)
        (none,) = await send(service, to("ann@x.org"))
        assert (none.status, none.reason) == ("failed", "every recipient is suppressed")
        assert none.finished_at == NOW
        assert await service.message(some.id) == some
        assert await service.message(none.id) == none
        assert service.tally.accepted["email"] == 2
        assert service.tally.ended["email", "failed"] == 1
        assert service.figures.waiting == 1
        assert service.suppressions.count == 2


async def test_domains_keys_and_ends(tmp_path, journal_url):
    """An entry holds for a whole domain, for one key, and until its end."""
    shop, hr = (new_key(name, now=NOW)[0] for name in ("shop", "hr"))
    clock = Clock()
    async with keeping(tmp_path, clock, journal=journal_url) as service:
        await put(
            service,
            suppression("@gone.org", reason=Reason.BOUNCE, until=NOW + timedelta(days=30)),
            suppression("ann@x.org", key="shop"),
        )
        message = to("ann@x.org", "any@gone.org", "ann@sub.gone.org")
        (by_shop,) = await send(service, message, key=shop)
        assert states(by_shop) == ["suppressed", "suppressed", "pending"]
        assert by_shop.recipients[1].reply == (
            "suppressed until 2027-01-31 (the whole domain), bounce"
        )
        (by_hr,) = await send(service, message, key=hr)
        assert states(by_hr) == ["pending", "suppressed", "pending"]
        clock.now += timedelta(days=30)
        (later,) = await send(service, message, key=hr)
        assert states(later) == ["pending", "pending", "pending"]


async def test_one_query_for_a_whole_batch(tmp_path, monkeypatch):
    """A thousand messages to fifty recipients each are looked up in four queries, not in 50,000."""
    async with keeping(tmp_path) as service:
        messages = [to(*(f"u{n}.{m}@x.org" for n in range(10))) for m in range(150)]
        queries = []
        query = service.journal.query

        async def counted(sql, *values):
            if "suppressions" in sql:  # others ask by time
                queries.append(sql)
            return await query(sql, *values)

        monkeypatch.setattr(service.journal, "query", counted)
        await send(service, *messages)
        assert queries == []  # there are no suppressions
        await put(service, suppression("u9.149@x.org"))
        made = await send(service, *messages)
        assert len([sql for sql in queries if "address IN" in sql]) == 1
        assert sum(states(each).count("suppressed") for each in made) == 1


async def test_with_manage_a_message_goes_all_the_same(tmp_path):
    """`despite_suppression` needs the scope; it holds also when the message has waited."""
    sender, _ = new_key("app", now=NOW)
    boss, _ = new_key("boss", now=NOW, scopes=(KeyScope.SEND, KeyScope.MANAGE))
    async with keeping(tmp_path) as service:
        await put(service, suppression("ann@x.org"))
        anyway = to("ann@x.org", despite_suppression=True)
        with pytest.raises(Forbidden, match=r"despite_suppression: .*'manage'"):
            await send(service, anyway, key=sender)
        for key in (boss, None):
            (delivery,) = await send(service, anyway, key=key)
            assert states(delivery) == ["pending"]
            assert (await service.message(delivery.id)).despite_suppression


async def test_a_text_to_a_suppressed_number_is_not_sent(tmp_path):
    """A number is an address like others, however it is written."""
    provider = {"sms_provider": "https://sms.example.org/send", "sms_region": "US"}
    async with keeping(tmp_path, **provider) as service:
        await put(service, suppression(read_address("+1 (202) 555-0123")))
        (text,) = await send(service, Sms(to="202-555-0123", text="Hi"))
        assert (text.status, states(text)) == ("failed", ["suppressed"])


async def test_a_message_that_waited_is_looked_up_again(tmp_path, journal_url):
    """Who was suppressed meanwhile gets nothing, of a scheduled message and of a retried one."""
    async with ScriptedRelay() as relay:
        given = {"journal": journal_url}
        async with notifying(tmp_path, relay, **given) as service:
            await service.pause()
            soon = datetime.now(UTC) + timedelta(hours=1)
            both = await submit_one(service, to("ann@x.org", "bob@x.org", send_at=soon))
            alone = await submit_one(service, to("ann@x.org", send_at=soon))
            await put(service, suppression("ann@x.org"))
            await service.send_now(both)
            await service.send_now(alone)
            await service.resume()
            both = await service.outcome(both, timeout=LIMIT)
            assert (both.status, states(both)) == ("sent", ["suppressed", "accepted"])
            assert both.partial
            alone = await service.outcome(alone, timeout=LIMIT)
            assert (alone.status, alone.reason) == ("failed", "every recipient is suppressed")
            assert [envelope[1] for envelope in relay.received] == [("bob@x.org",)]
            await service.retry(alone.id)
            again = await service.outcome(alone.id, timeout=LIMIT)
            assert (again.status, states(again)) == ("failed", ["suppressed"])
            assert await service.suppressions.remove("ann@x.org", by=BY) == 1
            for id in (alone.id, both.id):
                await service.retry(id)
                sent = await service.outcome(id, timeout=LIMIT)
                assert sent.status is Status.SENT
                assert not sent.partial
            assert sorted(envelope[1] for envelope in relay.received) == [
                ("ann@x.org",), ("ann@x.org",), ("bob@x.org",),
            ]  # fmt: skip


async def test_waiting_messages_are_screened_after_the_list_changed(tmp_path, journal_url):
    """A message that came a moment ago, too; also where the list has changed while nothing ran."""
    async with ScriptedRelay() as relay:
        for restart in (False, True):
            async with notifying(tmp_path, relay, journal=journal_url) as service:
                await service.pause()
                id = await submit_one(service, to("ann@x.org"))
                await put(service, suppression("ann@x.org"))
                if not restart:
                    await service.resume()
                    assert (await service.outcome(id, timeout=LIMIT)).status is Status.FAILED
                    await service.suppressions.remove("ann@x.org", by=BY)
        async with notifying(tmp_path, relay, journal=journal_url) as service:
            await service.resume()
            assert (await service.outcome(id, timeout=LIMIT)).status is Status.FAILED
        assert relay.received == []


async def test_the_list_is_found_in_parts(tmp_path, journal_url):
    """By how an address begins, by domain, reason and key; pages neither repeat nor leave out."""
    async with keeping(tmp_path, journal=journal_url) as service:
        page = service.suppressions.page
        entries = [suppression(f"u{n:02}@x.org") for n in range(25)]
        others = [
            suppression("ann@y.org", reason=Reason.BOUNCE),
            suppression("ann@y.org", key="shop"),
            suppression("@y.org", reason=Reason.COMPLAINT),
            suppression("old@y.org", until=NOW),
            suppression("+12025550123"),
        ]
        await put(service, *others, *entries)
        assert [each.address for each in await page(Which(address="u0"), limit=99)] == [
            f"u{n:02}@x.org" for n in range(10)
        ]
        assert len(await page(Which(domain="x.org"), limit=99)) == 25
        of_y = await page(Which(domain="y.org"), limit=99)
        assert [(each.address, each.key) for each in of_y] == [
            ("@y.org", ""), ("ann@y.org", ""), ("ann@y.org", "shop"),
        ]  # fmt: skip
        assert of_y[1] == others[0]
        assert [each.address for each in await page(Which(reason=Reason.BOUNCE), limit=9)] == [
            "ann@y.org"
        ]
        assert [each.key for each in await page(Which(key="shop"), limit=9)] == ["shop"]
        found, after = [], None
        while got := await page(Which(), limit=4, after=after):
            after = got[-1].address, got[-1].key
            found += got
        assert len(found) == len(set(found)) == 29
        await service.suppressions.look()
        assert service.suppressions.counts == {"bounce": 1, "complaint": 1, "manual": 27}
        assert await service.suppressions.remove_all(Which(domain="x.org"), by=BY) == 25
        assert await service.suppressions.remove("ann@y.org", "shop", by=BY) == 1
        assert await service.suppressions.remove("nobody@y.org", by=BY) == 0


async def test_an_entry_takes_the_place_of_the_one_before(tmp_path, journal_url):
    """There is one for each address and key, also when both come in the same call."""
    async with keeping(tmp_path, journal=journal_url) as service:
        until = NOW + timedelta(days=1)
        await put(service, suppression("a@x.org"), suppression("a@x.org", until=until))
        (entry,) = await service.suppressions.page(Which(), limit=9)
        assert entry.until == until
        await put(service, suppression("a@x.org", source="again"))
        (entry,) = await service.suppressions.page(Which(), limit=9)
        assert (entry.until, entry.source) == (None, "again")


async def test_it_lasts_over_a_restart_and_costs_nothing_when_empty(tmp_path, journal_url):
    """A start knows whether there are any; after the last was taken off nothing is looked up."""
    for expected in (False, True):
        async with keeping(tmp_path, journal=journal_url) as service:
            assert service.suppressions.any is expected
            await put(service, suppression("a@x.org"))
    async with keeping(tmp_path, journal=journal_url) as service:
        await service.suppressions.remove("a@x.org", by=BY)
        await service.suppressions.look()
        assert not service.suppressions.any


async def test_a_look_that_began_before_the_first_entry_does_not_miss_it(tmp_path, monkeypatch):
    """Once it is put nothing is sent to it, though a look at the empty list ends just then."""
    async with keeping(tmp_path) as service:
        suppressions = service.suppressions
        any_there, tell = suppressions._table.any, suppressions._tell_replicas
        looked, over = asyncio.Event(), asyncio.Event()

        async def look_long(now):
            found = await any_there(now)
            looked.set()
            await over.wait()
            return found

        async def tell_after_the_look():
            over.set()
            await looking
            await tell()

        monkeypatch.setattr(suppressions._table, "any", look_long)
        monkeypatch.setattr(suppressions, "_tell_replicas", tell_after_the_look)
        looking = asyncio.create_task(suppressions.look())
        await looked.wait()
        await put(service, suppression("ann@x.org"))
        (delivery,) = await send(service, to("ann@x.org"))
        assert states(delivery) == ["suppressed"]


async def test_another_replica_hears_of_the_first_entry(tmp_path, postgres):
    """Without a look of its own at the list, which it would take only after a minute."""
    url = await postgres.database()
    async with (
        keeping(tmp_path / "a", journal=url) as first,
        keeping(tmp_path / "b", journal=url, port=8015) as second,
    ):
        assert not second.suppressions.any
        await put(first, suppression("ann@x.org"))
        while not second.suppressions.any:
            await second.journal.value("x")
        (delivery,) = await send(second, to("ann@x.org"))
        assert delivery.status is Status.FAILED


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (" Ann@EXAMPLE.org ", "ann@example.org"),
        ("@Bücher.example", "@xn--bcher-kva.example"),
        ("o'neil+x@x.org", "o'neil+x@x.org"),
        ("+1 (202) 555-0123", "+12025550123"),
    ],
)
def test_addresses_are_compared_in_one_form(written, read):
    """In lower case and ASCII; a number without what is between its digits."""
    assert read_address(written) == read


@pytest.mark.parametrize("written", ["", "ann", "a b@x.org", "Ann <a@x.org>", "+12", "x" * 400])
def test_a_wrong_address_gets_an_error_that_helps(written):
    """It says what would be right, or what is wrong."""
    with pytest.raises(ValueError, match=r"write|longer"):
        read_address(written)
