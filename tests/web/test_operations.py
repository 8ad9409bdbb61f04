"""Figures, and what an operator can stop and start again; and templates."""

import asyncio
from datetime import datetime, timedelta

import pytest

from notifier.relayspec import RelaySpec
from tests.process import free_port
from tests.web_client import JSON, LETTER, serving

LEVERS = ["/v1/queue/pause", "/v1/queue/resume", "/v1/relays/capture/pause",
          "/v1/relays/capture/resume"]  # fmt: skip


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, wait_limit=30.0, workers=4, grace=0.1) as (service, client):
        yield service, client


async def got(client, path):
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


async def pulled(client, path):
    answer = await client.post(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until(client, path, fits):
    async with asyncio.timeout(30):
        while not fits(found := await got(client, path)):
            await asyncio.sleep(0.01)
    return found


async def posted(client, *, wait):
    """The message once it has been sent, or as it is after so many seconds."""
    answer = await client.post("/v1/messages", json=LETTER, headers={"Prefer": f"wait={wait}"})
    return answer.json()


async def sent(client):
    """What has become of a message, of which nothing else than that it is sent is expected."""
    return (await posted(client, wait=30))["status"]


# The queue


async def test_a_paused_queue_accepts_and_sends_nothing(client):
    """Until it is resumed; then what has come meanwhile goes."""
    assert await pulled(client, "/v1/queue/pause") == {"paused": True}
    id = (await client.post("/v1/messages", json=LETTER)).json()["id"]
    assert (await got(client, "/v1/stats"))["paused"] is True
    assert (await got(client, f"/v1/messages/{id}?wait=1"))["status"] == "queued"
    assert await pulled(client, "/v1/queue/resume/") == {"paused": False}
    await until(client, f"/v1/messages/{id}", lambda found: found["status"] == "sent")


async def test_a_pause_outlives_the_service(tmp_path):
    """The queue and each relay are found as they were left."""
    async with serving(tmp_path) as (_, client):
        await pulled(client, "/v1/queue/pause")
        await pulled(client, "/v1/relays/capture/pause")
    async with serving(tmp_path) as (_, client):
        assert (await got(client, "/v1/stats"))["paused"] is True
        assert (await got(client, "/v1/relays"))["items"][0]["state"] == "paused"
        await pulled(client, "/v1/queue/resume")
    async with serving(tmp_path) as (_, client):
        assert (await got(client, "/v1/stats"))["paused"] is False


# Relays


async def test_relays_are_listed_in_their_order(tmp_path):
    """Each by its name, with what is known of it; never its password."""
    first = RelaySpec(name="first", host="127.0.0.1", port=1, username="us", password="secret")
    second = RelaySpec(name="second", host="127.0.0.1", port=2)
    async with serving(tmp_path, relays=(first, second)) as (_, client):
        answer = await client.get("/v1/relays")
        assert [each["name"] for each in answer.json()["items"]] == ["first", "second"]
        assert "secret" not in answer.text
        assert (await pulled(client, "/v1/relays/second/pause"))["state"] == "paused"
        assert [each["state"] for each in (await got(client, "/v1/relays"))["items"]] == [
            "closed",
            "paused",
        ]


async def test_a_paused_relay_gets_nothing(client):
    """The answer is the relay as it is now, and so is the list."""
    assert (await pulled(client, "/v1/relays/capture/pause"))["state"] == "paused"
    waiting = await posted(client, wait=1)
    assert waiting["status"] == "queued"
    assert (await pulled(client, "/v1/relays/capture/resume"))["state"] == "closed"
    assert await sent(client) == "sent"
    await until(client, f"/v1/messages/{waiting['id']}", lambda found: found["status"] == "sent")
    (relay,) = (await got(client, "/v1/relays"))["items"]
    assert (relay["name"], relay["sent"], relay["failed"]) == ("capture", 2, 0)


async def test_a_provider_is_one_of_them(tmp_path):
    """It can be paused by its name, and stands behind the relays."""
    async with serving(tmp_path, sms_provider="https://127.0.0.1:1/") as (_, client):
        items = (await got(client, "/v1/relays"))["items"]
        assert [each["kind"] for each in items] == ["smtp", "provider"]
        name = items[1]["name"]
        assert (await pulled(client, f"/v1/relays/{name}/pause"))["state"] == "paused"
        assert [each["state"] for each in (await got(client, "/v1/relays"))["items"]] == [
            "closed",
            "paused",
        ]
        assert (await pulled(client, f"/v1/relays/{name}/resume"))["state"] == "closed"


async def test_a_relay_shows_its_trouble(tmp_path):
    """The relay shows its last failure, and when it is tried again."""
    dead = RelaySpec(name="dead", host="127.0.0.1", port=free_port())
    async with serving(tmp_path, relays=(dead,)) as (_, client):
        await client.post("/v1/messages/batch", json=[LETTER] * 3)
        listed = await until(
            client, "/v1/relays", lambda found: found["items"][0]["state"] == "open"
        )
    (relay,) = listed["items"]
    assert relay["trouble"]["name"] == "connection_refused"
    assert relay["opens_at"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
@pytest.mark.parametrize("name", ["nobody", "CAPTURE", "%00", "x" * 2000, "simulator"])
async def test_an_unknown_relay_cannot_be_paused(client, verb, name):
    """The 404 lists the relays."""
    answer = await client.post(f"/v1/relays/{name}/{verb}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "capture" in answer.json()["detail"]


@pytest.mark.parametrize("path", LEVERS)
async def test_a_page_of_another_site_pulls_no_lever(web, path):
    """403, and all is as before."""
    service, client = web
    answer = await client.post(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert not service.dispatcher.paused
    assert await sent(client) == "sent"


@pytest.mark.parametrize("path", LEVERS)
async def test_a_lever_is_not_pulled_by_looking(client, path):
    """GET is 405: no link and no crawler stops the mail."""
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


# Figures


async def test_the_figures_count_waiting_and_finished_messages(client):
    """Counts by status, how much waits, each worker and relay, and the last two minutes."""
    stats = await got(client, "/v1/stats")
    idle = {"message": None, "route": None, "recipients": 0, "subject": ""}
    assert stats == {
        "paused": False,
        "callbacks": 0,
        "waiting": 0,
        "rate": 0.0,
        "oldest_due_at": None,
        "bounced": 0,
        "counts": stats["counts"],
        "workers": [idle] * (4 + 2),  # and one for each way out but one
        "reasons": [],
        "relays": (await got(client, "/v1/relays"))["items"],
        "minutes": stats["minutes"],
    }
    before, running = (datetime.fromisoformat(each["at"]) for each in stats["minutes"])
    assert running - before == timedelta(minutes=1)
    await pulled(client, "/v1/queue/pause")
    await client.post("/v1/messages", json=LETTER)
    assert (await got(client, "/v1/stats"))["waiting"] == 1
    stats = await until(client, "/v1/stats", lambda found: found["counts"].get("queued") == 1)
    assert stats["oldest_due_at"]


def busy_of(stats):
    return [worker for worker in stats["workers"] if worker["message"]]


async def test_a_busy_worker_shows_its_message(client):
    """It shows the message, the route and the number of recipients."""
    body = LETTER | {"to": ["slow@simulator.notifier", "success@simulator.notifier"]}
    id = (await client.post("/v1/messages", json=body)).json()["id"]
    stats = await until(client, "/v1/stats", lambda found: any(busy_of(found)))
    busy = {"message": id, "route": "simulator", "recipients": 2, "subject": LETTER["subject"]}
    assert busy_of(stats) == [busy]


async def test_the_last_minutes_are_shown(client):
    """The answer has as many minutes as were asked for, up to this one, with their figures."""
    await client.post("/v1/messages", json=LETTER)
    found = await until(client, "/v1/stats/minutes?last=2", lambda found: _sent(found) == 1)
    assert len(found["items"]) == 2
    assert sum(each["accepted"] for each in found["items"]) == 1
    assert len((await got(client, "/v1/stats/minutes"))["items"]) == 60


def _sent(found):
    return sum(each["sent"] for each in found["items"])


@pytest.mark.parametrize("path", ["/v1/stats", "/v1/relays", "/v1/templates"])
async def test_a_static_file_takes_no_parameters(client, path):
    """And HEAD as well as GET."""
    assert (await client.get(f"{path}?verbose=1")).status_code == 422
    head = await client.head(f"{path}/")
    assert (head.status_code, head.content) == (200, b"")


# Templates


@pytest.fixture
async def templated(tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "shipped.subject.txt").write_text("Order {{ order }}")
    (folder / "shipped.txt").write_text("Dear {{ name }}, order {{ order }} is on its way.")
    (folder / "shipped.html").write_text("<p>Dear {{ name }}</p>")
    (folder / "endless.txt").write_text(
        "{% for a in range(1000) %}{% for b in range(1000) %}{{ a }}{% endfor %}{% endfor %}"
    )
    async with serving(tmp_path / "data", templates=str(folder)) as (_, client):
        yield client


async def test_templates_are_listed(templated, client):
    """With their parts and variables; without a folder there are none."""
    listed = await got(templated, "/v1/templates")
    shipped = next(each for each in listed["items"] if each["name"] == "shipped")
    assert set(shipped["parts"]) == {"subject", "text", "html"}
    assert set(shipped["variables"]) == {"name", "order"}
    assert listed["faults"] == []
    assert await got(client, "/v1/templates") == {"items": [], "faults": []}


async def test_a_preview_shows_what_would_come_out(templated):
    """All parts, escaped where they are HTML; nothing is sent."""
    data = {"data": {"name": "<Ann>", "order": 17}}
    answer = await templated.post("/v1/templates/shipped/preview/", json=data)
    assert answer.status_code == 200
    assert answer.json() == {
        "subject": "Order 17",
        "text": "Dear <Ann>, order 17 is on its way.",
        "html": "<p>Dear &lt;Ann&gt;</p>",
        "faults": [],
    }
    assert (await got(templated, "/v1/messages"))["items"] == []


async def test_a_preview_names_what_is_missing(templated):
    """The preview has 200, what could be filled in, and the names that are missing."""
    answer = await templated.post("/v1/templates/shipped/preview", json={})
    assert answer.status_code == 200
    assert {each["pointer"] for each in answer.json()["faults"]} == {"/data/name", "/data/order"}
    endless = await templated.post("/v1/templates/endless/preview", json={})
    assert endless.status_code == 200
    assert endless.json()["text"] is None
    assert endless.json()["faults"][0]["pointer"] == "/template"


@pytest.mark.parametrize("name", ["nobody", "..%2Fshipped", "%00", "SHIPPED"])
async def test_an_unknown_template_has_no_preview(templated, name):
    """The 404 lists the templates."""
    answer = await templated.post(f"/v1/templates/{name}/preview", json={})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 422),
        (b'{"data": 1}', 422),
        (b'{"date": {}}', 422),
        (b'{"data": {"a": "\\u0000"}}', 422),
        (b'{"data": {"a": 99999999999999999999}}', 422),
        (b'{"data": ' + b'{"a": ' * 500 + b"1" + b"}" * 501, 422),
    ],
)
async def test_data_that_cannot_be_taken_is_a_problem(templated, body, status):
    """The same as in a message."""
    answer = await templated.post("/v1/templates/shipped/preview", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
