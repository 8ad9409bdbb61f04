"""Alerts: trouble is told by another road, once, and so is its end."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from notifier import alerts
from tests.notifying import ended, notifying, subjects, submit_one, until
from tests.relay import ScriptedRelay


class Posts(BaseHTTPRequestHandler):
    """Keeps what is posted; answers as it was told."""

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
    with ThreadingHTTPServer(("127.0.0.1", 0), Posts) as server:
        server.posted, server.status, server.refused = [], 200, 0
        server.url = f"http://127.0.0.1:{server.server_port}/hook"
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join(10)


def told(chat):
    return [(each["alert"], each["state"], each["subject"]) for each in chat.posted]


async def test_a_relay_that_breaks_and_comes_back_is_told_once_each(tmp_path, chat):
    """By HTTP, and by mail through the relay that works."""
    async with ScriptedRelay() as first, ScriptedRelay() as second:
        first.answer("GREETING", "554 closed")
        options = {"alert_url": chat.url, "alert_to": "ops@example.org", "alert_after": 0.05}
        async with notifying(tmp_path, first, second, **options) as service:
            for _ in range(3):
                await ended(service, await submit_one(service))
            await until(lambda: told(chat) == [("relay_down", "raised", "first")])
            assert "554 closed" in chat.posted[0]["text"]
            await until(lambda: "notifier: relay_down raised: first" in subjects(second))
            first.answer("GREETING", None)
            await service.resume("first")
            await ended(service, await submit_one(service))
            await until(lambda: ("relay_down", "over", "first") in told(chat))
            mail = "notifier: relay_down over: first"
            await until(lambda: mail in subjects(first) + subjects(second))
    assert len(chat.posted) == 2
    assert [each for each in subjects(second) if "raised" in each] == [
        "notifier: relay_down raised: first"
    ]


async def test_a_road_that_is_closed_is_tried_again(tmp_path, chat):
    """The disk is low, and whoever takes alerts is down just then."""
    chat.status = 503
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "LOW_DISK_BYTES", 2**62)
        async with ScriptedRelay() as relay, notifying(tmp_path, relay, alert_url=chat.url):
            await until(lambda: chat.refused >= 2)
            chat.status = 200
            await until(lambda: told(chat) == [("disk_low", "raised", str(tmp_path))])
            patch.setattr(alerts, "LOW_DISK_BYTES", 0)
            await until(lambda: told(chat)[1:] == [("disk_low", "over", str(tmp_path))])


async def test_a_message_that_waits_too_long_is_told(tmp_path, chat):
    """Whatever keeps it; not where a person has stopped the queue."""
    async with ScriptedRelay() as relay:
        relay.hold("DOT")
        options = {"alert_url": chat.url, "alert_after": 0.05, "workers": 1, "queue_size": 1}
        async with notifying(tmp_path, relay, **options) as service:
            for _ in range(4):
                await submit_one(service)
            await until(lambda: service.dispatcher.doing[0] is not None)
            await service.upkeep.refresh()
            await until(lambda: told(chat) == [("messages_wait", "raised", "queue")])
            relay.release()
