"""/metrics: what is counted is what has happened, and the files beside it name what is there."""

import json
import re
from datetime import timedelta

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from notifier.deliveries import Route
from notifier.journal import journal_at
from notifier.keys import KeyScope
from notifier.metrics import Histogram
from notifier.service import Notifier
from notifier.settings import Settings
from tests.api_keys import made
from tests.applications import add_callback
from tests.clocks import WallClock
from tests.deliveries import entry
from tests.paths import ROOT
from tests.relay import ScriptedRelay
from tests.service import email, ended, notifying, now, specs_of, submit_one
from tests.token_endpoint import TokenEndpoint
from tests.waiting import until
from tests.web_client import JSON, LETTER, client_of, final, serving

SHIPPED = ROOT / "notifier" / "metrics"

NAME = re.compile(r"\b(?:notifier|process|python)_\w+")


async def scraped(client):
    """Each sample's value by its name and labels."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_messages_attempts_and_relays_are_counted(tmp_path):
    """One is sent and one refused: each shows under its channel, outcome, stage and reply."""
    async with ScriptedRelay() as relay:
        relay.answer("RCPT", "550 no such user", to="bob@example.net")
        async with serving(tmp_path, relays=specs_of(relay)) as (service, client):
            for to in ("ann@example.net", "bob@example.net"):
                sent = await client.post("/v1/messages", json=LETTER | {"to": [to]})
                await final(client, sent.json()["id"])
            await until(lambda: service.tally.attempts.total() == 2)  # the last that it counts
            figures = await scraped(client)
    assert figures["notifier_messages_accepted_total", ("channel", "email")] == 2
    # Others are there from the beginning, so that the first one is seen to be more than none.
    assert figures["notifier_messages_accepted_total", ("channel", "sms")] == 0
    expired = ("channel", "email"), ("outcome", "expired")
    assert figures["notifier_messages_finished_total", *expired] == 0
    for outcome in ("sent", "failed"):
        labels = ("channel", "email"), ("outcome", outcome)
        assert figures["notifier_messages_finished_total", *labels] == 1
        relayed = ("outcome", outcome), ("relay", "first")
        assert figures["notifier_relay_messages_total", *relayed] == 1
    accepted = ("relay", "first"), ("reply", "2xx"), ("stage", "dot")
    refused = ("relay", "first"), ("reply", "5xx"), ("stage", "rcpt")
    assert figures["notifier_attempts_total", *accepted] == 1
    assert figures["notifier_attempts_total", *refused] == 1
    assert figures["notifier_attempt_seconds_count", ("relay", "first")] == 2
    assert figures["notifier_accept_to_sent_seconds_count",] == 1
    assert figures["notifier_relay_state", ("relay", "first"), ("state", "closed")] == 1
    assert figures["notifier_journal_commit_seconds_count",] >= 4
    assert figures["notifier_log_dropped_lines_total",] == 0


async def test_the_life_of_a_token_is_a_figure(tmp_path):
    """Of relays that have one; 0 where there is none."""
    async with TokenEndpoint(expires_in=1000) as endpoint, ScriptedRelay() as relay:
        (tmp_path / "oauth.toml").write_text(endpoint.section(tmp_path))
        plain, login = relay.spec, {"username": "us@corp.example", "oauth": "m365"}
        relays = plain, replace(plain, name="m365", **login)
        oauth = str(tmp_path / "oauth.toml")
        async with serving(tmp_path, relays=relays, oauth=oauth) as (service, client):
            await until(lambda: service.health().relays[1].token.good_until)
            figures = await scraped(client)
            (_, shown) = (await client.get("/v1/relays")).json()["items"]
    expires = {key[1]: value for key, value in figures.items() if "token_expires" in key[0]}
    assert list(expires) == [("relay", "m365")]
    assert 900 < expires["relay", "m365"] <= 1000
    assert shown["token"]["source"] == endpoint.url
    assert "token-1" not in str(shown)


async def ends_of(client):
    """How many messages have come to which end, and how many were accepted; without the noughts."""
    figures = await scraped(client)
    ends = {
        dict(labels)["outcome"]: value
        for (name, *labels), value in figures.items()
        if name == "notifier_messages_finished_total" and value
    }
    return ends, figures["notifier_messages_accepted_total", ("channel", "email")]


async def test_every_end_is_counted(tmp_path):
    """Expired, cancelled and superseded ones as well; each message once, by its own outcome."""
    clock = WallClock()
    settings = Settings(data_dir=str(tmp_path))
    async with Notifier(settings, clock=clock) as service, client_of(service) as client:
        await service.pause()
        later = {"send_at": (clock() + timedelta(hours=9)).isoformat()}
        bodies = [{"ttl": 60}, later, *([later | {"collapse_key": "c"}] * 2)]
        answers = [await client.post("/v1/messages", json=LETTER | body) for body in bodies]
        old, cancelled, superseded, _ = [each.json()["id"] for each in answers]
        await client.post(f"/v1/messages/{cancelled}/cancel")
        await final(client, superseded)
        clock.shift = timedelta(minutes=2)
        await final(client, old)
        await until(lambda: service.tally.ended["email", "expired"])
        ends, accepted = await ends_of(client)
    assert ends == {"expired": 1, "cancelled": 1, "superseded": 1}
    assert accepted == 4


async def test_uncertain_outcomes_are_counted(tmp_path):
    """Each time that a relay vanished behind the dot."""
    async with serving(tmp_path) as (service, client):
        lost = {"to": ["drop-after-dot@simulator.notifier"], "on_uncertain": "hold"}
        held = await client.post("/v1/messages", json=LETTER | lost)
        await final(client, held.json()["id"])
        await until(lambda: service.tally.attempts)
        assert (await scraped(client))["notifier_uncertain_total",] == 1


async def test_recovered_message_is_not_accepted_again(tmp_path):
    """A message that a dead process left sending ends as any other, and is not accepted anew."""
    journal = journal_at("sqlite:", data_dir=str(tmp_path))
    await journal.open()
    left = entry("left", route=Route.SIMULATOR, expires_at=now() + timedelta(hours=1))
    await journal.add([left])
    assert await journal.claim(Route.SIMULATOR, 1, now=now)
    await journal.close()
    async with serving(tmp_path) as (_, client):
        found = await final(client, "left")
        assert "recovered" in [each["what"] for each in found["timeline"]]

        async def counted():
            return (await ends_of(client))[0]

        await until(counted)  # a message is counted just after its end can be read
        assert await ends_of(client) == ({"sent": 1}, 0)


async def test_waiting_messages_show_their_age(tmp_path):
    """Depth, and since when the oldest one has been due."""
    async with serving(tmp_path) as (service, client):
        await service.pause()
        await client.post("/v1/messages", json=LETTER)
        await service.figures.refresh()
        figures = await scraped(client)
    assert figures["notifier_queue_depth",] == 1
    assert figures["notifier_messages", ("status", "queued")] == 1
    assert 0 < figures["notifier_oldest_waiting_seconds",] < 60
    assert figures["notifier_queue_paused",] == 1


async def test_requests_are_counted_by_route(tmp_path):
    """Whatever id is asked for, or path tried, there are as many series as routes."""
    async with serving(tmp_path) as (_, client):
        for path in ("/v1/messages/abc", "/v1/messages/def", "/no", "/such/path"):
            await client.get(path)
        await client.post("/v1/messages", content=b"{", headers=JSON)
        figures = await scraped(client)
    counted = {
        (labels["method"], labels["path"], labels["status"]): value
        for (name, *pairs), value in figures.items()
        if name == "notifier_http_requests_total" and (labels := dict(pairs))
    }
    assert counted == {
        ("GET", "/v1/messages/{id}", "404"): 2,
        ("GET", "(none)", "404"): 2,
        ("POST", "/v1/messages", "400"): 1,
    }


async def test_openmetrics_is_given_on_request(tmp_path):
    """Prometheus prefers OpenMetrics. The call is not part of the API's document."""
    async with serving(tmp_path) as (_, client):
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = await client.get("/metrics", headers=accept)
        assert "openmetrics" in answer.headers["content-type"]
        assert answer.text.endswith("# EOF\n")
        assert "/metrics" not in (await client.get("/openapi.json")).json()["paths"]


async def test_dashboard_and_alerts_name_what_is_measured(tmp_path):
    """A query for a metric that is not there shows nothing, and an alert on it never fires."""
    reader = made(tmp_path, "shop", KeyScope.SEND, KeyScope.READ)
    add_callback(tmp_path, "shop", "http://127.0.0.1:9/")
    async with serving(tmp_path) as (service, client):
        client.headers.update(reader)
        await client.post("/v1/messages", json=LETTER)
        await until(lambda: service.tally.attempts and service.callbacks.states)
        await client.get("/livez")
        known = {name for name, *_ in await scraped(client)}
        for family in text_string_to_metric_families((await client.get("/metrics")).text):
            known.add(f"{family.name}_total" if family.type == "counter" else family.name)
    panels = json.loads((SHIPPED / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    queries += re.findall(
        r"expr: (.+?)\n +(?:for|labels):", (SHIPPED / "alerts.yaml").read_text(), re.DOTALL
    )
    named = {name for query in queries for name in NAME.findall(query)}
    assert len(named) > 15
    assert named <= known


async def test_a_scheduled_message_is_measured_from_its_time(tmp_path):
    """Also where it takes a second try: the days before are not a wait."""
    clock = WallClock()
    async with ScriptedRelay() as relay:
        relay.answer("DOT", "451 4.3.0 later", times=1)
        async with notifying(tmp_path, relay, clock=clock) as service:
            send_at = clock() + timedelta(days=3)
            id = await submit_one(service, email(send_at=send_at))
            clock.set(send_at)
            service.dispatcher.wake([Route.RELAY])
            assert (await ended(service, id)).tries == 2
            waited = service.tally.wait_seconds
            await until(lambda: sum(waited.counts))
    assert sum(waited.counts) == 1
    assert 0 < waited.total < 60


def test_a_histogram_counts_up_to_each_bound():
    """A value on a bound belongs to it; one above all of them to infinity."""
    histogram = Histogram((1, 2.5))
    for value in (0, 1, 1.1, 2.5, 99):
        histogram.observe(value)
    assert histogram.buckets() == [("1", 2), ("2.5", 4), ("+Inf", 5)]
    assert histogram.total == 103.6
