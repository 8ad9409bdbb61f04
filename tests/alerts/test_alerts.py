"""Alerts: trouble is reported through another channel, once, and so is its end."""

import contextlib
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import AsyncMock

import pytest
import structlog
from msgspec.structs import replace

from notifier import alerts
from notifier.alerts import conditions
from notifier.callbacks import CallbackState
from notifier.errors import JournalUnavailable
from notifier.housekeeping.health import Health
from notifier.quotas import Quota
from notifier.settings import Settings
from tests.clocks import WallClock
from tests.relay import ScriptedRelay
from tests.service import email, ended, notifying, subjects, submit, submit_one
from tests.token_endpoint import TokenEndpoint
from tests.waiting import until


class Posts(BaseHTTPRequestHandler):
    """Keeps what is posted; answers as the test says."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.end_headers()
        if self.server.status == 200:
            self.server.posted.append(json.loads(body))
        else:
            self.server.refused += 1

    def log_message(self, *_):
        pass


@pytest.fixture
def chat(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(alerts, "LOOK_SECONDS", 0.02)
    look = conditions.Conditions.look

    def counted(self, health):
        server.looks += 1
        return look(self, health)

    monkeypatch.setattr(conditions.Conditions, "look", counted)
    with ThreadingHTTPServer(("127.0.0.1", 0), Posts) as server:
        server.posted, server.status, server.refused, server.looks = [], 200, 0, 0
        server.url = f"http://127.0.0.1:{server.server_port}/hook"
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join(10)


def alerts_of(chat):
    return [(each["alert"], each["state"], each["subject"]) for each in chat.posted]


async def test_a_token_that_cannot_be_had_is_an_alert_of_its_own(tmp_path, chat):
    """The alert comes while messages still go by open connections. Its end is reported, too."""
    denied = 401, {"error": "invalid_client", "error_description": "The secret has ended."}
    async with TokenEndpoint(*[denied] * 2) as endpoint, ScriptedRelay() as relay:
        (tmp_path / "oauth.toml").write_text(endpoint.section(tmp_path))
        spec = replace(relay.spec, name="m365", username="us@corp.example", oauth="m365")
        options = {"alert_url": chat.url, "alert_after": 0.05, "relays": (spec,)}
        async with notifying(tmp_path, oauth=str(tmp_path / "oauth.toml"), **options) as service:
            await until(lambda: ("token_missing", "raised", "m365") in alerts_of(chat))
            (alert,) = (each for each in chat.posted if each["alert"] == "token_missing")
            assert "gets no new token to log in with" in alert["text"]
            assert "The secret has ended." in alert["text"]
            await submit_one(service)  # somebody needs one: it is asked for at once
            await until(lambda: len(endpoint.requests) == 2)
            await submit_one(service)
            await until(lambda: ("token_missing", "over", "m365") in alerts_of(chat))


async def test_a_relay_that_breaks_and_comes_back_raises_one_alert_each(tmp_path, chat):
    """By HTTP, and by mail through the relay that works."""
    async with ScriptedRelay() as first, ScriptedRelay() as second:
        first.answer("GREETING", "554 closed")
        options = {"alert_url": chat.url, "alert_to": "ops@example.org", "alert_after": 0.05}
        async with notifying(tmp_path, first, second, **options) as service:
            for _ in range(3):
                await ended(service, await submit_one(service))
            await until(lambda: alerts_of(chat) == [("relay_down", "raised", "first")])
            assert "554 closed" in chat.posted[0]["text"]
            await until(lambda: "notifier: relay_down raised: first" in subjects(second))
            first.answer("GREETING", None)
            await service.resume("first")
            await ended(service, await submit_one(service))
            await until(lambda: ("relay_down", "over", "first") in alerts_of(chat))
            mail = "notifier: relay_down over: first"
            await until(lambda: mail in subjects(first) + subjects(second))
    assert len(chat.posted) == 2
    assert [each for each in subjects(second) if "raised" in each] == [
        "notifier: relay_down raised: first"
    ]


async def test_a_channel_that_fails_is_tried_again(tmp_path, chat):
    """
    The alert about a full disk is delivered once its channel works again; the log reports the
    failure once.
    """
    chat.status = 503
    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as lines:
        patch.setattr(conditions, "LOW_DISK_BYTES", 2**62)
        async with ScriptedRelay() as relay, notifying(tmp_path, relay, alert_url=chat.url):
            await until(lambda: chat.refused >= 3)
            assert [each["event"] for each in lines].count("alert_failed") == 1
            chat.status = 200
            await until(lambda: alerts_of(chat) == [("disk_low", "raised", str(tmp_path))])
            patch.setattr(conditions, "LOW_DISK_BYTES", 0)
            await until(lambda: alerts_of(chat)[1:] == [("disk_low", "over", str(tmp_path))])


async def test_a_message_that_waits_too_long_raises_an_alert(tmp_path, chat):
    """An alert names it, whatever keeps it, unless a person has stopped the queue."""
    async with ScriptedRelay() as relay:
        relay.hold("DOT")
        options = {"alert_url": chat.url, "alert_after": 0.05, "workers": 1, "queue_size": 1}
        async with notifying(tmp_path, relay, **options) as service:
            for _ in range(4):
                await submit_one(service)
            await until(lambda: service.dispatcher.doing[0] is not None)
            await service.figures.refresh()
            await until(lambda: alerts_of(chat) == [("messages_wait", "raised", "queue")])
            relay.release()


async def nothing_told(chat, *, looks=3):
    """It has been looked so often since, and there was nothing to report."""
    before, enough = list(chat.posted), chat.looks + looks
    await until(lambda: chat.looks >= enough)
    assert chat.posted == before


def relay_state(service):
    return service.transports.relays.states()[0].state


async def test_a_restart_repeats_no_alert_and_delivers_its_end(tmp_path, chat):
    """
    A relay is down before and after it. It is not known to work until it has taken a message:
    then its end is reported, with the time when it began.
    """
    clock = WallClock()
    raised = {("relay_down", "raised", "first"), ("messages_wait", "raised", "queue")}
    over = {("relay_down", "over", "first"), ("messages_wait", "over", "queue")}
    async with ScriptedRelay() as relay:
        relay.answer("GREETING", "554 closed")
        options = {"clock": clock, "alert_url": chat.url, "alert_after": 600}
        async with notifying(tmp_path, relay, **options) as service:
            id = await submit_one(service)
            await until(lambda: relay_state(service) == "open")
            await nothing_told(chat)
            clock.shift += timedelta(seconds=601)
            await until(lambda: set(alerts_of(chat)) == raised)
            await nothing_told(chat)
        async with notifying(tmp_path, relay, **options) as service:
            await nothing_told(chat)
            await until(lambda: relay_state(service) == "open")
            await service.figures.refresh()  # it is deferred, and so not due any more
            await nothing_told(chat)
            relay.answer("GREETING", None)
            await service.resume("first")
            await ended(service, id)
            await until(lambda: set(alerts_of(chat)[2:]) == over)
            await nothing_told(chat)
        async with notifying(tmp_path, relay, **options):
            await nothing_told(chat)
    began = {each["alert"]: each["since"] for each in chat.posted[:2]}
    assert {each["alert"]: each["since"] for each in chat.posted[2:]} == began


async def test_alerts_that_ended_during_downtime_are_over(tmp_path, chat):
    """The disk was low when the service died, and is not when it starts again."""
    low, over = ("disk_low", "raised", str(tmp_path)), ("disk_low", "over", str(tmp_path))
    async with ScriptedRelay() as relay:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conditions, "LOW_DISK_BYTES", 2**62)
            async with notifying(tmp_path, relay, alert_url=chat.url):
                await until(lambda: alerts_of(chat) == [low])
                await nothing_told(chat)
        async with notifying(tmp_path, relay, alert_url=chat.url):
            await until(lambda: alerts_of(chat) == [low, over])
    assert "has free space again" in chat.posted[1]["text"]


async def test_an_alert_that_cannot_be_noted_is_delivered_once(tmp_path, chat, monkeypatch):
    """While a full disk prevents writing the ledger, an alert is still delivered once."""
    monkeypatch.setattr(conditions, "LOW_DISK_BYTES", 2**62)
    low = ("disk_low", "raised", str(tmp_path))
    async with ScriptedRelay() as relay:
        async with notifying(tmp_path, relay, alert_url=chat.url) as service:
            refused = AsyncMock(side_effect=JournalUnavailable("the disk is full"))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(service.journal, "put", refused)
                await until(lambda: alerts_of(chat) == [low])
                await nothing_told(chat)
            await nothing_told(chat)  # it is kept meanwhile
        async with notifying(tmp_path, relay, alert_url=chat.url):
            await nothing_told(chat)


async def test_one_of_the_replicas_raises_an_alert(tmp_path, chat, postgres):
    """Three replicas find the same messages waiting. One reports that, and its end."""
    url = await postgres.database()
    clock = WallClock()
    options = {"clock": clock, "alert_url": chat.url, "alert_after": 600, "journal": url}
    waits = ("messages_wait", "raised", "queue")
    async with ScriptedRelay() as relay, contextlib.AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(
                notifying(tmp_path / str(port), relay, port=port, **options)
            )
            for port in (1, 2, 3)
        ]
        relay.hold("DOT")
        await submit(replicas[0], *(email() for _ in range(200)))  # more than all may claim
        await until(lambda: all(any(each.dispatcher.doing) for each in replicas))
        clock.shift += timedelta(seconds=601)
        for each in replicas:
            await each.figures.refresh()
        await until(lambda: alerts_of(chat) == [waits])
        await nothing_told(chat, looks=9)
        relay.release()
        await until(lambda: alerts_of(chat) == [waits, ("messages_wait", "over", "queue")])
        await nothing_told(chat, looks=9)


def test_an_application_that_accepts_no_callbacks_raises_an_alert_after_a_day(tmp_path):
    """And at once where it wants none; both end when they are over."""
    clock = WallClock()
    seen = conditions.Conditions(Settings(data_dir=str(tmp_path)), clock=clock)
    at = clock()
    failing = CallbackState(key="shop", waiting=7, failing_since=at, trouble="503 busy")
    paused = CallbackState(key="hr", paused_at=at, paused_why="it answered 410")
    health = Health(
        ready=True,
        reasons=(),
        relays=(),
        counts={},
        oldest_due_at=None,
        paused=False,
        callbacks=(failing, paused),
    )
    first = seen.look(health)
    assert ("callbacks_fail", "shop") in first.unclear
    assert "it answered 410" in first.wrong["callbacks_paused", "hr"][1]
    clock.shift = timedelta(days=1, seconds=1)
    since, words = seen.look(health).wrong["callbacks_fail", "shop"]
    assert since == at
    assert words.endswith("does not accept callbacks: 503 busy; 7 wait")
    after = seen.look(replace(health, callbacks=()))
    assert not {("callbacks_fail", "shop"), ("callbacks_paused", "hr")} & {
        *after.wrong,
        *after.unclear,
    }


async def test_a_storm_is_one_alert_while_it_lasts(tmp_path, chat):
    """However many messages it holds; it is over when recipients have their quota again."""
    clock = WallClock()
    options = {"clock": clock, "alert_url": chat.url, "per_recipient": Quota(1, "d")}
    async with ScriptedRelay() as relay, notifying(tmp_path, relay, **options) as service:
        await submit(service, *[email() for _ in range(3)])
        await until(lambda: alerts_of(chat) == [("storm", "raised", "recipients")])
        await submit(service, *[email() for _ in range(3)])
        await nothing_told(chat)
        assert "ann@example.org gets no more than 1 a day" in chat.posted[0]["text"]
        clock.shift += timedelta(days=1)
        await until(lambda: alerts_of(chat)[1:] == [("storm", "over", "recipients")])
