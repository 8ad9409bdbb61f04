"""Applications get the callbacks of their messages, whatever they answer."""

import asyncio
import contextlib
import re
import sys
from datetime import timedelta
from functools import partial
from unittest.mock import patch

import httpx2
import pytest

from notifier.callbacks import answers, callbacks, receiver
from notifier.callbacks.receivers import Kept
from notifier.callbacks.rows import Rows
from notifier.errors import WrongState
from notifier.journal.statements import Statement
from notifier.recipients import LaterState
from notifier.reports import Report
from tests.applications import SECRET, callbacks_of, checked, made_key, submit_as
from tests.clocks import WallClock
from tests.paths import PACKAGE
from tests.process import free_port
from tests.provider import HANG, Site
from tests.relay import ScriptedRelay
from tests.service import ended, notifying, now
from tests.waiting import until

OK = 200, b"thanks"
BROKEN = 500, b"no such table"
GONE = 410, b"no more"


@pytest.fixture
def hurried(monkeypatch):
    """What waits for seconds waits for milliseconds."""
    monkeypatch.setattr(answers, "PAUSES", (0.01,))
    monkeypatch.setattr(receiver, "RESTS", receiver.Rests(first=0.01, longest=0.01))


@contextlib.asynccontextmanager
async def applying(folder, *replies, clock=now, **callback):
    """A service with one key, the key, the application that it tells, and its relay."""
    async with Site(*replies) as site, ScriptedRelay() as relay:
        key = made_key(folder, f"http://127.0.0.1:{site.port}/hook", **callback)
        async with notifying(folder, relay, clock=clock) as service:
            yield service, key, site, relay


async def rows(service):
    """The outcome and the last answer's status of every callback."""
    return await service.journal.query("SELECT outcome, code FROM callbacks ORDER BY message")


async def until_rows(service, *expected):
    """Wait for these outcomes and statuses."""
    await until(lambda: _are(service, list(expected)))


async def _are(service, expected):
    return await rows(service) == expected


async def state(service, key="shop"):
    (view,) = [each for each in await service.callbacks.views() if each.state.key == key]
    return view.state


async def test_a_callback_has_the_message_as_get_shows_it(tmp_path):
    """With its type, its time and its version, signed as Standard Webhooks says."""
    async with applying(tmp_path, OK) as (service, key, site, _):
        id = await submit_as(service, key, reference="order-7")
        delivery = await ended(service, id)
        await until_rows(service, ("told", 200))
    (callback,) = callbacks_of(site)
    assert callback["type"] == "message.sent"
    assert callback["data"]["id"] == id
    assert callback["data"]["reference"] == "order-7"
    assert callback["data"]["status"] == "sent"
    assert callback["timestamp"] == delivery.finished_at.isoformat().replace("+00:00", "Z")
    assert callback["id"] == f"msg_{id}_{callback['version']}"


async def test_each_secret_signs(tmp_path):
    """So that the application can change its secret while callbacks arrive."""
    newer = "whsec_" + "A" * 32
    async with applying(tmp_path, OK, secrets=(newer, SECRET)) as (service, key, site, _):
        await submit_as(service, key)
        await until(lambda: site.requests)
    ((_, headers, body),) = site.requests
    assert checked(headers, body, SECRET) == checked(headers, body, newer)


async def test_nothing_is_written_for_other_keys_and_other_events(tmp_path):
    """A key without a callback, a message that nobody sent by key, and an event not asked for."""
    async with applying(tmp_path, OK, events=["failed"]) as (service, key, _, relay):
        other = made_key(tmp_path, "http://127.0.0.1:1/", name="other", events=["held"])
        relay.answer("RCPT", None)
        for sender in (None, other, key):
            await ended(service, await submit_as(service, sender))
        relay.answer("RCPT", "550 5.1.1 unknown")
        await ended(service, await submit_as(service, key))
        await until_rows(service, ("told", 200))


async def test_only_the_wanted_events_become_callbacks(tmp_path):
    """`cancelled` only where it is asked for; an event that is not asked for changes nothing."""
    later = {"send_at": now() + timedelta(hours=1)}
    async with applying(tmp_path, OK, events=["cancelled"]) as (service, key, site, _):
        await ended(service, await submit_as(service, key))
        id = await submit_as(service, key, **later)
        await service.cancel(id)
        await until_rows(service, ("told", 200))
        with contextlib.suppress(WrongState):
            await service.cancel(id)
    assert [each["type"] for each in callbacks_of(site)] == ["message.cancelled"]


@pytest.mark.usefixtures("hurried")
async def test_a_callback_that_fails_is_tried_again_under_the_same_id(tmp_path):
    """Until the application takes it; the last answer is kept."""
    async with applying(tmp_path, BROKEN, BROKEN, OK) as (service, key, site, _):
        await submit_as(service, key)
        await until_rows(service, ("told", 200))
        await until(lambda: _works(service))
    assert len(site.requests) == 3
    assert len({each["id"] for each in callbacks_of(site)}) == 1


async def test_a_newer_event_takes_the_place_of_one_that_waits(tmp_path):
    """Failed, put back by a person, sent: the application hears of the last alone."""
    async with applying(tmp_path, BROKEN, OK) as (service, key, site, relay):
        relay.answer("RCPT", "550 5.1.1 unknown")
        id = await submit_as(service, key)
        await ended(service, id)
        await until_rows(service, (None, 500))
        relay.answer("RCPT", None)
        await service.retry(id)
        await until_rows(service, ("told", 200))
        first, second = callbacks_of(site)
    assert (first["type"], second["type"]) == ("message.failed", "message.sent")
    assert second["version"] > first["version"]
    assert second["id"] != first["id"]


async def test_410_pauses_until_a_person_resumes(tmp_path):
    """That event is over. Those that follow wait, also over a restart, and are sent then."""
    async with Site(GONE, OK) as site, ScriptedRelay() as relay:
        key = made_key(tmp_path, f"http://127.0.0.1:{site.port}/hook")
        async with notifying(tmp_path, relay) as service:
            await ended(service, await submit_as(service, key))
            await until_rows(service, ("gone", 410))
            await until(lambda: _paused(service))
            assert "410" in (await state(service)).paused_why
            await ended(service, await submit_as(service, key))
        async with notifying(tmp_path, relay) as service:
            assert (await state(service)).waiting == 1
            assert len(site.requests) == 1
            await service.callbacks.resume("shop")
            await until_rows(service, ("gone", 410), ("told", 200))


async def _works(service):
    return (await state(service)).failing_since is None


async def _paused(service):
    return (await state(service)).paused_at


async def test_f49_a_callback_under_way_goes_again_after_a_restart(tmp_path):
    """Under the same id: the application may have taken it."""
    async with Site(HANG) as site, ScriptedRelay() as relay:
        key = made_key(tmp_path, f"http://127.0.0.1:{site.port}/hook")
        with patch.object(callbacks, "CLOSE_SECONDS", 0.01):
            async with notifying(tmp_path, relay) as service:
                await submit_as(service, key)
                await until(lambda: site.requests)
        site.answers = [OK]
        async with notifying(tmp_path, relay) as service:
            await until_rows(service, ("told", 200))
    first, second = callbacks_of(site)
    assert first["id"] == second["id"]


async def test_f50_an_application_that_hangs_gets_few_at_a_time_and_delays_no_other(tmp_path):
    """Mail and the other applications go on."""
    async with Site(HANG) as slow, applying(tmp_path, OK) as (service, key, site, _):
        hanging = made_key(tmp_path, f"http://127.0.0.1:{slow.port}/", name="slow")
        service.keys.look_at = 0.0
        service.keys.reload_if_changed()
        for _ in range(12):
            await ended(service, await submit_as(service, hanging))
        await until(lambda: slow.requests)
        for _ in range(12):
            await ended(service, await submit_as(service, key))
        await until(lambda: len(site.requests) == 12)
        assert len(slow.requests) <= receiver.AT_A_TIME
        slow.let_go()


@pytest.mark.usefixtures("hurried")
async def test_an_application_that_comes_back_gets_its_delayed_callbacks(tmp_path):
    """All of it at once, although each would have waited on."""
    with patch.object(answers, "PAUSES", (3600.0,)):
        async with applying(tmp_path, (503, b"down")) as (service, key, site, _):
            for _ in range(5):
                await ended(service, await submit_as(service, key))
            await until(lambda: len(site.requests) >= 3)
            site.answers = [OK]
            await submit_as(service, key)
            await until_rows(service, *[("told", 200)] * 6)


async def test_an_application_that_refuses_every_callback_fails(tmp_path, monkeypatch):
    """As after a mistyped secret. It does not rest, and the first callback it takes ends it."""
    monkeypatch.setattr(answers, "PAUSES", (3600.0,))
    async with applying(tmp_path, (400, b"bad signature")) as (service, key, site, _):
        for _ in range(4):
            await ended(service, await submit_as(service, key))
        await until_rows(service, *[(None, 400)] * 4)
        await until(lambda: _fails(service))
        assert (await state(service)).trouble == "400 bad signature"
        assert not service.callbacks._receivers["shop"].resting
        site.answers = [OK]
        for count in (1, 2):  # the second is sent after whatever the first has set off
            await ended(service, await submit_as(service, key))
            await until(partial(_told, service, count))
        assert await _works(service)
        # Those it refused keep their pauses, or each that it takes would bring them back.
        waiting = await Rows(service.journal).waiting("shop", 10)
        assert [each.due_at - now() > timedelta(minutes=30) for each in waiting] == [True] * 4


async def _told(service, count):
    return [outcome for outcome, _ in await rows(service)].count("told") == count


async def _fails(service):
    return (await state(service)).failing_since


async def test_waiting_callbacks_are_counted_less_often_when_counting_is_slow(
    tmp_path, monkeypatch
):
    """A look for the lease does not wait for it; a person who asks gets the present count."""
    monkeypatch.setattr(callbacks, "COUNT_SHARE", 1e9)
    async with applying(tmp_path, BROKEN) as (service, key, _, _):
        await service.callbacks._look()
        await ended(service, await submit_as(service, key))
        await until_rows(service, (None, 500))
        await service.callbacks._look()
        (seen,) = service.callbacks.states
        assert seen.waiting == 0
        assert (await state(service)).waiting == 1


@pytest.mark.usefixtures("hurried")
async def test_deferred_callbacks_survive_a_restart(tmp_path):
    """All of it at once, as without a restart."""
    with patch.object(answers, "PAUSES", (3600.0,)):
        async with Site((503, b"down")) as site, ScriptedRelay() as relay:
            key = made_key(tmp_path, f"http://127.0.0.1:{site.port}/hook")
            async with notifying(tmp_path, relay) as service:
                await ended(service, await submit_as(service, key))
                await until_rows(service, (None, 503))
                await until(lambda: _fails(service))
            site.answers = [OK]
            async with notifying(tmp_path, relay) as service:
                await submit_as(service, key)
                await until_rows(service, *[("told", 200)] * 2)


async def test_a_callback_is_replayed_under_its_id(tmp_path):
    """Those since a time; those before it are left alone."""
    async with applying(tmp_path, OK) as (service, key, site, _):
        first = await ended(service, await submit_as(service, key))
        await until_rows(service, ("told", 200))
        second = await ended(service, await submit_as(service, key))
        await until_rows(service, *[("told", 200)] * 2)
        assert await service.callbacks.replay("shop", second.finished_at) == 1
        await until(lambda: len(site.requests) == 3)
        assert first.finished_at < second.finished_at
    ids = [each["id"] for each in callbacks_of(site)]
    assert ids[1] == ids[2] != ids[0]


async def test_a_new_callback_in_the_file_is_followed_without_a_restart(tmp_path):
    """Its URL, its end, and one that comes later."""
    async with (
        Site(OK) as first,
        Site(OK) as second,
        ScriptedRelay() as relay,
        notifying(tmp_path, relay) as service,
    ):
        key = made_key(tmp_path, f"http://127.0.0.1:{first.port}/")
        _reload(service)
        await ended(service, await submit_as(service, key))
        await until(lambda: first.requests)
        text = (tmp_path / "keys.toml").read_text()
        (tmp_path / "keys.toml").write_text(text.replace(str(first.port), str(second.port)))
        _reload(service)
        await ended(service, await submit_as(service, key))
        await until(lambda: second.requests)
        assert len(first.requests) == 1


def _reload(service):
    service.keys.look_at = 0.0
    assert service.keys.reload_if_changed()


async def test_a_pruned_message_has_no_callback(tmp_path):
    """There is nothing to show any more; its row goes."""
    async with applying(tmp_path, BROKEN) as (service, key, site, _):
        await ended(service, await submit_as(service, key))
        await until_rows(service, (None, 500))
        await service.journal.prune(
            finished_before=service._clock(), contents_before=service._clock(), now=service._clock()
        )
        await Rows(service.journal).start_again("shop", service._clock())
        service.callbacks._stir.set()
        await until_rows(service)
        assert len(site.requests) == 1


async def test_a_test_is_sent_also_while_it_is_paused(tmp_path):
    """The answer is what the application said."""
    async with applying(tmp_path, GONE, (204, b"")) as (service, key, site, _):
        await ended(service, await submit_as(service, key))
        await until(lambda: _paused(service))
        answer = await service.callbacks.test("shop")
        await asyncio.sleep(0)
    assert answer.accepted
    assert answer.code == 204
    assert callbacks_of(site)[1]["type"] == "callback.test"


async def test_one_replica_sends_the_callbacks_and_another_takes_over(tmp_path, postgres):
    """Each callback comes from one of them; the one that dies is missed for a lease."""
    url = await postgres.database()
    async with Site(OK) as site, ScriptedRelay() as relay:
        key = made_key(tmp_path, f"http://127.0.0.1:{site.port}/hook")
        async with contextlib.AsyncExitStack() as stack:
            open_one = partial(notifying, tmp_path, relay, journal=url)
            first, second = [await stack.enter_async_context(open_one()) for _ in range(2)]
            for service in (first, second):
                await ended(service, await submit_as(service, key))
            await until_rows(first, *[("told", 200)] * 2)
            assert [bool(each.callbacks._ours) for each in (first, second)] == [True, False]
            first.callbacks._looking.cancel()  # as if its process had died
            first.callbacks._receivers["shop"].heed(Kept(), ours=False)
            await first.journal.execute(Statement("UPDATE callback_urls SET sender_until = 0"))
            second.callbacks._renew_at = 0.0
            await ended(second, await submit_as(second, key))
            await until_rows(second, *[("told", 200)] * 3)
            assert len(site.requests) == 3


async def test_the_receiver_of_the_guide_takes_what_is_sent(tmp_path):
    """As it stands on the page, in a process of its own; what others sign it refuses."""
    page = (PACKAGE / "guide" / "callbacks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code.replace("8080", str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with ScriptedRelay() as relay:
            key = made_key(tmp_path, f"http://127.0.0.1:{port}/")
            await until(lambda: _listens(port))
            async with notifying(tmp_path, relay) as service:
                id = await submit_as(service, key)
                await until_rows(service, ("told", 204))
            async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
                forged = await http.post(f"http://127.0.0.1:{port}/", content=b"{}")
            assert forged.status_code == 400
        said = await process.stdout.readline()
    finally:
        process.kill()
        await process.wait()
    assert said.split()[:2] == [b"message.sent", id.encode()]


async def _listens(port):
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


async def test_later_reports_are_sent_as_callbacks(tmp_path):
    """A bounce after the end, once, with what was said of the recipient."""
    async with applying(tmp_path, OK) as (service, key, site, _):
        id = await submit_as(service, key)
        await ended(service, id)
        await until_rows(service, ("told", 200))
        report = Report(
            state=LaterState.BOUNCED, road="http", envelope_id=id, code="5.1.1", text="unknown",
            recipients=("ann@example.org",),
        )  # fmt: skip
        for _ in range(2):
            await service.reports.take_event(report)
        await until(lambda: len(site.requests) == 2)
        await until_rows(service, ("told", 200))
    first, second = callbacks_of(site)
    assert (first["type"], second["type"]) == ("message.sent", "message.bounced")
    assert second["version"] > first["version"]
    assert "bounced" in {each["what"] for each in second["data"]["timeline"]}


async def test_a_callback_is_given_up_after_three_days(tmp_path):
    """The last failed try ends it; a replay tells it."""
    clock = WallClock()
    async with applying(tmp_path, BROKEN, clock=clock) as (service, key, site, _):
        delivery = await ended(service, await submit_as(service, key))
        await until_rows(service, (None, 500))
        clock.shift = timedelta(days=3)
        service.callbacks._receivers["shop"].stir()
        await until_rows(service, ("given_up", 500))
        site.answers = [OK]
        assert await service.callbacks.replay("shop", delivery.finished_at) == 1
        await until_rows(service, ("told", 200))


async def test_callback_is_given_up_after_three_days_of_failures(tmp_path):
    """An application that is gone for good leaves nothing that waits for ever."""
    clock = WallClock()
    async with applying(tmp_path, (502, b"down"), clock=clock) as (service, key, _, _):
        for _ in range(3):
            await ended(service, await submit_as(service, key))
        await until(lambda: service.callbacks._receivers["shop"].resting)
        await ended(service, await submit_as(service, key))
        clock.shift = timedelta(days=3, seconds=1)
        service.callbacks._prune_at = 0.0
        await service.callbacks._look()
        assert {outcome for outcome, _ in await rows(service)} == {"given_up"}
        assert service.callbacks.outcomes["shop", "given_up"] == 4


async def test_an_event_that_was_replaced_after_it_was_read_is_not_sent(tmp_path):
    """The newer one is, under its own id."""
    async with applying(tmp_path, BROKEN, OK) as (service, key, site, _):
        id = await submit_as(service, key)
        await ended(service, id)
        await until_rows(service, (None, 500))
        (older,) = await Rows(service.journal).waiting("shop", 1)
        await service.journal.amend(id, lambda each: each.with_event(now(), "bounced"))
        telling = service.callbacks._receivers["shop"]
        await telling._send(older, telling._breaker.begin())
        await until_rows(service, ("told", 200))
    assert [each["type"] for each in callbacks_of(site)] == ["message.sent", "message.bounced"]
