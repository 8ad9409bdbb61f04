"""A closer look at one message: its conversation, its source, and why it is where it is."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email import message_from_bytes

import httpx2
import pytest
from msgspec.structs import replace

from notifier.attempts import Attempt, Failure, Scope, Stage
from notifier.deliveries import Delivery, Route, Status
from notifier.housekeeping.pruning import prune
from notifier.later import reported
from notifier.recipients import Later, LaterState, Recipient
from notifier.relayspec import Tls
from notifier.smtp import State
from notifier.web.api.explanation import Situation, explain
from notifier.web.api.relays import RelayResource, TroubleResource
from tests.process import Server
from tests.waiting import LIMIT
from tests.web_client import LETTER, TEXT, serving


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, wait_limit=LIMIT, retry_schedule=(0.1,)) as (service, client):
        yield service, client


async def settled(client, **changes):
    answer = await client.post("/v1/messages", json=LETTER | changes, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    return answer.json()


# Conversation


async def test_the_conversation_of_each_attempt_is_shown(client):
    """Both sides' lines, up to the relay's last word, attempt by attempt."""
    message = await settled(client, to=["temp-fail@simulator.notifier"])
    answer = await client.get(f"/v1/messages/{message['id']}/conversation")
    assert answer.status_code == 200
    first, second = answer.json()["attempts"]
    assert (first["code"], second["code"]) == (451, 250)
    assert first["stage"] == "dot"
    for each, code in ((first, "451"), (second, "250")):
        lines = each["conversation"]
        assert any(line.startswith("C: MAIL FROM:<me@example.org>") for line in lines)
        assert any(line.startswith(f"S: {code}") for line in lines)
        assert not any("Hello." in line for line in lines)
    assert answer.json()["attempts_dropped"] == 0


async def test_before_the_first_attempt_nothing_was_said(web):
    """An empty list, not an error."""
    service, client = web
    await service.pause()
    id = (await client.post("/v1/messages", json=LETTER)).json()["id"]
    answer = await client.get(f"/v1/messages/{id}/conversation/")
    assert answer.json() == {"id": id, "attempts": [], "attempts_dropped": 0}


# Timeline


async def test_a_timeline_shows_its_gap(web):
    """The timeline says where events are missing and how many, if more happened than is kept."""
    service, client = web
    await service.pause()
    id = (await client.post("/v1/messages", json=LETTER)).json()["id"]
    for _ in range(25):
        await client.post(f"/v1/messages/{id}/send-now")
    timeline = (await client.get(f"/v1/messages/{id}")).json()["timeline"]
    shown = [each["what"] for each in timeline]
    assert shown == ["accepted", *["hurried"] * 3, "left_out", *["hurried"] * 17]
    assert timeline[4]["detail"] == "5 events are not kept"


# Source


async def test_the_source_is_what_was_sent(web):
    """The very bytes that the relay got, for an email."""
    service, client = web
    message = await settled(client)
    answer = await client.get(f"/v1/messages/{message['id']}/source")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == await service.journal.content(message["id"])
    (caught,) = await service.mailbox.list()
    received = message_from_bytes(await service.mailbox.source(caught.id))
    assert received["Message-ID"] == message_from_bytes(answer.content)["Message-ID"]


async def test_the_source_of_a_text_message_is_shown_as_text(client):
    """The mails to the gateway, one after the other."""
    long = TEXT | {"text": "0123456789 " * 30}
    id = (await client.post("/v1/messages", json=long)).json()["id"]
    answer = await client.get(f"/v1/messages/{id}/source")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert [answer.text.count(f"({n}/3)") for n in (1, 2, 3)] == [1, 1, 1]


async def test_a_source_that_has_been_pruned_is_a_problem(web):
    """404 saying why, while the message itself is still there."""
    service, client = web
    message = await settled(client)
    later = datetime.now(UTC) + timedelta(days=8)
    assert await prune(service.journal, service.settings, later)
    answer = await client.get(f"/v1/messages/{message['id']}/source")
    assert answer.status_code == 404
    assert "NOTIFIER_BODY_RETENTION" in answer.json()["detail"]
    assert (await client.get(f"/v1/messages/{message['id']}")).status_code == 200


@pytest.mark.parametrize("view", ["conversation", "source", "explain"])
@pytest.mark.parametrize("id", ["nothing", "%00", "a" * 65])
async def test_unknown_message_has_no_views(client, view, id):
    """404 as for the message."""
    answer = await client.get(f"/v1/messages/{id}/{view}")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith(":message-not-found")


@pytest.mark.parametrize("view", ["conversation", "source", "explain"])
async def test_a_view_can_be_asked_for_without_its_body(client, view):
    """HEAD has the length, and forbids storing."""
    message = await settled(client)
    path = f"/v1/messages/{message['id']}/{view}"
    head, full = await client.head(path), await client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(full.content))
    assert head.headers["cache-control"] == "no-store"


# Explanations

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
LATER = NOW + timedelta(minutes=20)
QUEUED = Delivery(
    id="0195519f3d40",
    channel="email",
    subject="Hi",
    sender="me@example.org",
    recipients=(Recipient("ann@example.net"), Recipient("bob@example.net")),
    size=100,
    created_at=NOW,
    due_at=NOW,
    expires_at=NOW + timedelta(hours=48),
)
WORKING = RelayResource(
    name="mx",
    kind="smtp",
    host="mx.example.org",
    port=587,
    tls=Tls.STARTTLS,
    state=State.CLOSED,
    busy=0,
    limit=4,
    trouble=None,
    token=None,
    opens_at=None,
    sent=0,
    failed=0,
)
RESTING = replace(
    WORKING,
    state=State.OPEN,
    trouble=TroubleResource("connection_refused", "connection refused.", NOW),
    opens_at=LATER,
)
OUT = replace(WORKING, name="spare", state=State.PAUSED)
PROBING = replace(RESTING, state=State.PROBING, opens_at=None)


def without(name, text):
    return replace(RESTING, trouble=TroubleResource(name, text, NOW))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("token_denied", "mx has no token to log in with (the secret has ended)"),
        ("token_unavailable", "mx has no token to log in with (the secret has ended)"),
        ("token_refused", "mx refuses our token, also a new one (the secret has ended)"),
    ],
)
def test_a_missing_token_is_explained(name, words):
    """In words of its own, as nothing is wrong with the relay."""
    situation = Situation(now=NOW, relays=[without(name, "the secret has ended.")])
    assert words in explain(QUEUED, situation).explanation


def refused(*, relay=False, code=451, reply="4.7.1 Greylisted.", permanent=False):
    failure = Failure(
        scope=Scope.RELAY if relay else Scope.RECIPIENT,
        permanent=permanent,
        stage=Stage.RCPT,
        reply=reply,
        code=code,
    )
    return Attempt(
        relay="mx",
        started_at=NOW,
        seconds=0.1,
        stage=Stage.RCPT,
        reply=reply,
        code=code,
        failures=dict.fromkeys(("ann@example.net", "bob@example.net"), failure),
    )


def taken(*accepted):
    return Attempt(
        relay="mx",
        started_at=NOW,
        seconds=0.1,
        stage=Stage.DOT,
        reply="2.0.0 Ok.",
        code=250,
        accepted=accepted,
        failures={
            each.address: Failure(
                scope=Scope.RECIPIENT, permanent=True, stage=Stage.RCPT, reply="5.1.1 No", code=550
            )
            for each in QUEUED.recipients
            if each.address not in accepted
        },
    )


def after(attempt):
    return QUEUED.after(attempt, retry_at=SOON, now=NOW)


DEFERRED = after(refused())
GONE = Later(LaterState.BOUNCED, NOW + timedelta(minutes=1), "5.1.1", "550 User unknown.", "http")
CASES = {
    "scheduled": (
        replace(QUEUED, status=Status.SCHEDULED, due_at=SOON),
        {},
        ["is scheduled for 2026-03-01 09:35:00 UTC", "first attempt is at 2026-03-01 09:35:00"],
        SOON,
    ),
    "queued": (QUEUED, {}, ["No attempt has been made", "after those ahead of it"], NOW),
    "paused": (QUEUED, {"paused": True}, ["queue is paused", "POST /v1/queue/resume"], None),
    "draining": (QUEUED, {"draining": True}, ["service is stopping"], None),
    "trouble": (QUEUED, {"trouble": "disk full"}, ["cannot be written: disk full."], None),
    "resting": (
        QUEUED,
        {"relays": (RESTING,)},
        [
            "No relay can be used now: mx failed (connection_refused: connection refused)",
            "09:50:00 UTC",
        ],
        LATER,
    ),
    "resting, with a spare": (QUEUED, {"relays": (RESTING, WORKING)}, ["after those ahead"], NOW),
    "resting, the spare paused": (
        QUEUED,
        {"relays": (RESTING, OUT)},
        ["mx failed (connection_refused", "spare is paused", "The next attempt is at"],
        LATER,
    ),
    "a relay that wants fewer messages": (
        QUEUED,
        {
            "relays": (
                replace(WORKING, pace=0.5, trouble=TroubleResource("throttled", "451 no", NOW)),
            )
        },
        ["after those ahead", "mx wants fewer messages (451 no). It gets one every 2 seconds."],
        NOW,
    ),
    "a relay that is asked again later": (
        QUEUED,
        {"relays": (replace(WORKING, held_until=LATER, pace=20.0),)},
        ["mx wants fewer messages", "It gets the next one at 2"],
        NOW,
    ),
    "a relay whose quota is used up": (
        QUEUED,
        {"relays": (without("quota_exceeded", "550 5.4.5 limit"),)},
        ["mx says that our quota is used up (550 5.4.5 limit)"],
        LATER,
    ),
    "probing": (QUEUED, {"relays": (PROBING,)}, ["mx failed", "test attempt is under way"], None),
    "every relay paused": (
        QUEUED,
        {"relays": (OUT,)},
        ["Every relay is paused: spare", "POST /v1/relays/{name}/resume"],
        None,
    ),
    "the provider rests": (
        replace(QUEUED, channel="sms", route=Route.PROVIDER),
        {"relays": (replace(RESTING, name="twilio", trouble=TroubleResource("", "429", None)),)},
        ["No relay can be used now: twilio failed (429)."],
        LATER,
    ),
    "deferred": (
        DEFERRED,
        {},
        ["1 attempt was", "at mx ended at rcpt with 451 4.7.1 Greylisted.", "next attempt is at"],
        SOON,
    ),
    "deferred by the relay's fault": (
        after(refused(relay=True)),
        {},
        ["relay was at fault, so this attempt does not count"],
        SOON,
    ),
    "deferred, and the relay rests longer": (
        DEFERRED,
        {"relays": (RESTING,)},
        ["The next attempt is at 2026-03-01 09:50:00 UTC"],
        LATER,
    ),
    "deferred for longer than the relay rests": (
        DEFERRED,
        {"relays": (replace(RESTING, opens_at=NOW),)},
        ["mx failed (connection_refused", f"The next attempt is at {SOON:%Y-%m-%d %H:%M:%S} UTC"],
        SOON,
    ),
    "many attempts": (
        after(refused()).after(refused(), retry_at=SOON, now=NOW),
        {},
        ["2 attempts were made"],
        SOON,
    ),
    "expires first": (
        replace(DEFERRED, expires_at=NOW + timedelta(minutes=1)),
        {},
        ["expires at 2026-03-01 09:31:00 UTC, before another attempt"],
        NOW + timedelta(minutes=1),
    ),
    "paused until it expires": (
        QUEUED,
        {"paused": True},
        ["The message expires at 2026-03-03 09:30:00 UTC"],
        None,
    ),
    "sending": (
        replace(QUEUED, status=Status.SENDING),
        {},
        ["A worker is sending the message"],
        None,
    ),
    "held": (
        QUEUED.held("the outcome was uncertain 3 times"),
        {},
        [
            "waits for a decision: the outcome was uncertain 3 times.",
            "POST /v1/messages/0195519f3d40/retry",
            "POST /v1/messages/0195519f3d40/cancel",
        ],
        None,
    ),
    "sent": (
        after(taken("ann@example.net", "bob@example.net")),
        {"paused": True},
        [
            "mx accepted the message at 2026-03-01 09:30:00 UTC with the reply 2.0.0 Ok.",
            "Nothing more will be sent.",
        ],
        None,
    ),
    "partial": (
        after(taken("ann@example.net")),
        {},
        ["were refused: bob@example.net (5.1.1 No).", "/retry"],
        None,
    ),
    "bounced": (
        reported(
            after(taken("ann@example.net", "bob@example.net")), "ann@example.net", GONE, now=NOW
        ),
        {},
        [
            "mx accepted the message at",
            "At 2026-03-01 09:31:00 UTC it came back from ann@example.net: example.net said that"
            " there is no such mailbox (5.1.1 550 User unknown).",
        ],
        None,
    ),
    "settled by a report": (
        reported(
            replace(DEFERRED, uncertain=1, recipients=DEFERRED.recipients[:1]),
            "ann@example.net",
            replace(GONE, state=LaterState.DELIVERED, code="2.0.0"),
            now=NOW,
        ),
        {},
        ["A report proves that mx took the message, so it was settled at", "in the mailbox of"],
        None,
    ),
    "by a gateway": (
        replace(after(taken("ann@example.net", "bob@example.net")), handed_to="gateway"),
        {},
        ["carrier's gateway", "does not report delivery"],
        None,
    ),
    "failed": (
        after(refused(permanent=True, code=550, reply="5.1.1 No such user")),
        {},
        ["failed at 2026-03-01", "with 550 5.1.1 No such user.", "/retry"],
        None,
    ),
    "expired": (
        DEFERRED.expired(NOW),
        {},
        ["expired before a relay took it; last reply: 4.7.1 Greylisted", "/retry"],
        None,
    ),
    "cancelled": (QUEUED.cancelled(NOW), {}, ["was cancelled at 2026-03-01 09:30:00 UTC"], None),
    "superseded": (
        QUEUED.superseded(NOW, "abc"),
        {},
        ["The message was superseded by abc at"],
        None,
    ),
    "in doubt": (replace(QUEUED, uncertain=2), {}, ["The outcome of 2 attempts is unknown"], NOW),
    "words on several lines": (
        after(refused(reply="4.7.1 Come\r\nlater..")),
        {},
        ["451 4.7.1 Come later. The next attempt"],
        SOON,
    ),
    "not a word": (after(refused(reply="", code=None)), {}, ["with no reply."], SOON),
}


@pytest.mark.parametrize("name", CASES)
def test_an_explanation_says_what_to_expect_and_what_to_do(name):
    """The reason, the next step, and its time where it comes without anybody's doing."""
    delivery, knowing, words, at = CASES[name]
    shown = explain(delivery, Situation(**{"now": NOW, "relays": (WORKING,)} | knowing))
    for each in words:
        assert each in shown.explanation
    assert shown.next_step_at == at
    assert (shown.id, shown.status) == (delivery.id, delivery.status)
    assert shown.explanation.endswith((".", ")"))
    assert "  " not in shown.explanation
    assert ".." not in shown.explanation


def test_every_status_is_explained():
    """None is forgotten in the table above."""
    assert {delivery.status for delivery, *_ in CASES.values()} == set(Status)


async def test_explain_shows_what_the_service_knows(web):
    """Paused queue, paused relay, and the end, each shown as it is."""
    service, client = web
    await service.pause()
    id = (await client.post("/v1/messages", json=LETTER)).json()["id"]

    async def shown():
        return (await client.get(f"/v1/messages/{id}/explain")).json()

    assert "queue is paused" in (await shown())["explanation"]
    await service.pause(service.transports.relays.states()[0].name)
    await service.resume()
    assert "Every relay is paused: capture" in (await shown())["explanation"]
    await service.resume("capture")
    await client.get(f"/v1/messages/{id}?wait=30")
    await service.outcome(id, timeout=LIMIT)
    end = await shown()
    assert (end["status"], end["next_step_at"]) == ("sent", None)
    assert "capture accepted the message" in end["explanation"]


async def test_only_usable_relays_hold_up_a_message(tmp_path):
    """A paused relay does not hold up what is simulated or goes by the provider."""
    settings = {"sms_provider": "https://127.0.0.1:1/", "sms_region": "US"}
    async with serving(tmp_path, **settings) as (service, client):
        for relay in (await client.get("/v1/relays")).json()["items"]:
            await service.pause(relay["name"])
        waiting = {}
        for name, body in {
            "relay": LETTER,
            "provider": TEXT | {"carrier": None},
            "simulator": LETTER | {"to": ["success@simulator.notifier"]},
        }.items():
            later = body | {"send_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
            id = (await client.post("/v1/messages", json=later)).json()["id"]
            waiting[name] = (await client.get(f"/v1/messages/{id}/explain")).json()
        paused = [name for name, shown in waiting.items() if "paused" in shown["explanation"]]
        assert paused == ["relay", "provider"]
        assert "capture" not in waiting["provider"]["explanation"]


async def test_a_digest_has_ids_alone(tmp_path):
    """A page gets the figures first, and then the changed ids, once a second."""
    async with (
        Server(tmp_path) as server,
        httpx2.AsyncClient(trust_env=False, timeout=30, base_url=server.url) as client,
        client.stream("GET", "/v1/events?digest=true", timeout=30) as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: queue"
        posted = [(await client.post("/v1/messages", json=LETTER)).json() for _ in range(3)]
        shown = set()
        async with asyncio.timeout(LIMIT):
            while shown < {each["id"] for each in posted}:
                if await anext(lines) == "event: changed":
                    shown |= set(json.loads((await anext(lines)).removeprefix("data: ")))
