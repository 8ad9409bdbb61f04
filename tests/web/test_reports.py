"""POST /v1/reports, and where what was reported shows."""

import asyncio

import pytest

from notifier.keys import KeyScope
from notifier.web.api.examples import REPORTS
from tests.api_keys import made
from tests.waiting import LIMIT
from tests.web_client import LETTER, final, serving

MAIL = {"Content-Type": "message/rfc822"}
EXAMPLE_ID = "0195519f3d40a1b2c3d4e5f60718293a"


@pytest.fixture
async def client(tmp_path):
    async with serving(tmp_path) as (_, client):
        yield client


async def sent(client, letter=LETTER):
    async with asyncio.timeout(LIMIT):
        id = (await client.post("/v1/messages", json=letter)).json()["id"]
        return await final(client, id)


def bounce_of(id):
    return REPORTS["bounce"].replace(EXAMPLE_ID, id).encode()


async def test_a_bounce_shows_in_every_view(client):
    """Resource, list, count, timeline, explanation and figures tell of the bounce."""
    before = await sent(client)
    assert before["bounced"] is False
    assert "later" not in before["recipients"][0]
    answer = await client.post("/v1/reports", content=bounce_of(before["id"]), headers=MAIL)
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"] == "taken"
    assert answer.json()["reports"][0]["recipient"] == "ann@example.net"
    message = (await client.get(f"/v1/messages/{before['id']}")).json()
    assert (message["status"], message["bounced"]) == ("sent", True)
    later = message["recipients"][0]["later"]
    assert later.pop("at") >= message["created_at"]
    assert later == {
        "state": "bounced",
        "code": "5.1.1",
        "text": "550 5.1.1 User unknown",
        "road": "http",
        "class": "no_mailbox",
    }
    assert [each["by"] for each in message["timeline"] if each["what"] == "bounced"] == [
        "report:http"
    ]
    await sent(client)
    found = (await client.get("/v1/messages?bounced=true")).json()["items"]
    assert [each["id"] for each in found] == [before["id"]]
    assert (await client.get("/v1/messages/count?bounced=false")).json()["count"] == 1
    told = (await client.get(f"/v1/messages/{before['id']}/explain")).json()["explanation"]
    assert "example.net said that there is no such mailbox" in told
    figures = (await client.get("/metrics")).text
    assert 'notifier_reports_total{class="no_mailbox",state="bounced"} 1.0' in figures


async def test_a_report_that_is_not_taken_says_why(client):
    """A mail that is no report, and a report of a message that is not here."""
    plain = await client.post("/v1/reports", content=b"Subject: Hi\n\nHello", headers=MAIL)
    assert plain.json() == {
        "result": "ignored",
        "reports": [
            {
                "result": "ignored",
                "why": "the mail is not a report",
                "message": None,
                "recipient": None,
                "later": None,
            }
        ],
    }
    unknown = await client.post("/v1/reports", content=bounce_of("f" * 32), headers=MAIL)
    assert unknown.json()["result"] == "unknown"
    assert "no longer has" in unknown.json()["reports"][0]["why"]


async def test_a_mail_must_say_that_it_is_one(client):
    """Another Content-Type is refused."""
    answer = await client.post("/v1/reports", json={})
    assert answer.status_code == 415
    assert "message/rfc822" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("scope", "status"), [("report", 200), ("manage", 200), ("send", 403), ("read", 403)]
)
async def test_bringing_reports_has_a_scope_of_its_own(tmp_path, scope, status):
    """A key that may only report can do nothing else; `manage` may report, too."""
    shown = made(tmp_path, "one", KeyScope(scope))
    async with serving(tmp_path) as (_, client):
        answer = await client.post("/v1/reports", content=b"", headers=MAIL | shown)
        assert answer.status_code == status, answer.text
        if scope == "report":
            assert (await client.get("/v1/messages", headers=shown)).status_code == 403
