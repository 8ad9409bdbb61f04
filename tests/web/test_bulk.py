"""Changing the course of all messages that match."""

from datetime import UTC, datetime, timedelta

import pytest

from notifier.web.api import bulk
from tests.waiting import LIMIT
from tests.web_client import LETTER, serving


def tomorrow():
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, wait_limit=LIMIT, expire_after=100 * 86400.0) as (service, client):
        await service.pause()
        yield service, client


async def post(client, **changes):
    answer = await client.post("/v1/messages", json=LETTER | changes)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def change(client, verb, query):
    answer = await client.post(f"/v1/messages/{verb}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def states(client):
    items = (await client.get("/v1/messages")).json()["items"]
    return {each["reference"]: each["status"] for each in items}


async def test_all_that_match_are_called_off(client):
    """And only those; the count says how many."""
    for number in range(3):
        await post(client, reference=f"a{number}", tags=["sale"])
    await post(client, reference="b")
    assert await change(client, "cancel", "tag=sale") == {"count": 3}
    assert await states(client) == {
        **dict.fromkeys(("a0", "a1", "a2"), "cancelled"),
        "b": "queued",
    }


async def test_acts_that_the_state_forbids_are_skipped(client):
    """Not counted, and not an error: 0 is an answer, too."""
    await post(client, tags=["t"])
    assert await change(client, "cancel", "tag=t") == {"count": 1}
    assert await change(client, "cancel", "tag=t") == {"count": 0}
    assert await change(client, "send-now", "tag=t") == {"count": 0}
    assert await change(client, "retry", "tag=t") == {"count": 1}
    assert await change(client, "cancel/", "tag=nobody") == {"count": 0}


async def test_scheduled_message_is_sent_at_once(web):
    """All that match and wait, through the workers."""
    service, client = web
    ids = [await post(client, reference=f"r{n}", send_at=tomorrow()) for n in range(3)]
    assert set((await states(client)).values()) == {"scheduled"}
    await service.resume()
    assert await change(client, "send-now", "status=scheduled") == {"count": 3}
    for id in ids:
        assert (await service.outcome(id, timeout=LIMIT)).status == "sent"


async def test_failed_message_is_tried_again(web):
    """All of it at once, after whatever was wrong has been mended."""
    service, client = web
    await service.resume()
    ids = [await post(client, to=["perm-fail@simulator.notifier"]) for _ in range(3)]
    for id in ids:
        assert (await service.outcome(id, timeout=LIMIT)).status == "failed"
    await service.pause()
    assert await change(client, "retry", "status=failed&channel=email") == {"count": 3}
    assert set((await states(client)).values()) == {"queued"}


@pytest.mark.parametrize(
    "query",
    [
        "status=queued",
        "channel=email",
        "user_id=7",
        "reference=r",
        "tag=t",
        "to=ann@example.net",
        "created_after=2020-01-01T00:00:00Z",
        "status=held,queued&tag=t",
    ],
)
async def test_every_filter_of_the_list_is_one(client, query):
    """What the list would show is what is changed."""
    await post(client, user_id=7, reference="r", tags=["t"])
    assert len((await client.get(f"/v1/messages?{query}")).json()["items"]) == 1
    assert await change(client, "cancel", query) == {"count": 1}


@pytest.mark.parametrize("verb", ["cancel", "retry", "send-now"])
@pytest.mark.parametrize("query", ["", "?", "?status=", "?reference=", "?tag=&status=,,"])
async def test_without_a_filter_nothing_is_changed(client, verb, query):
    """An empty filter counts as missing: an empty variable of a script must not cancel all."""
    await post(client, reference="r")
    answer = await client.post(f"/v1/messages/{verb}{query}")
    assert answer.status_code == 422
    assert "at least one filter" in answer.json()["detail"]
    assert await states(client) == {"r": "queued"}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("tag=t&colour=red", "colour"),
        ("tag=t&limit=1", "limit"),
        ("tag=t&cursor=x", "cursor"),
        ("status=lost", "status"),
        ("created_before=0.5", "created_before"),
        ("created_before=1e9", "created_before"),
        ("created_before=null", "created_before"),
    ],
)
async def test_an_unknown_parameter_changes_nothing(client, query, name):
    """Passed over it would have changed more than was meant."""
    await post(client, reference="r", tags=["t"])
    answer = await client.post(f"/v1/messages/cancel?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == name
    assert await states(client) == {"r": "queued"}


async def test_null_is_a_word_like_any_other(client):
    """As in the list: it does not stand for no filter."""
    await post(client, reference="r", tags=["t"])
    assert await change(client, "cancel", "tag=t&reference=null") == {"count": 0}
    assert await change(client, "cancel", "tag=t&user_id=null") == {"count": 0}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_of_another_site_changes_nothing(client, site):
    """403, as for one message."""
    await post(client, reference="r", tags=["t"])
    answer = await client.post("/v1/messages/cancel?tag=t", headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    assert await states(client) == {"r": "queued"}


async def test_matching_messages_can_be_counted_first(client):
    """By any filter, words among them; so that a person knows what a call would be about."""
    for number in range(3):
        await post(client, reference=f"a{number}", subject=f"Invoice no-{number}")
    await post(client, subject="Else")
    for query, count in (("q=invoice", 3), ("q=INVOICE+NO-2", 1), ("", 4), ("status=held", 0)):
        answer = await client.get(f"/v1/messages/count?{query}")
        assert answer.json() == {"count": count, "more": False}, query
    assert await change(client, "cancel", "q=invoice") == {"count": 3}


async def test_counting_stops_at_a_bound(client, monkeypatch):
    """As many as the bound are all there are; one more, and nobody has counted the rest."""
    monkeypatch.setattr(bulk, "MOST_COUNTED", 2)
    for more in (False, True, True):
        await post(client)
        if not more:
            await post(client)
        answer = await client.get("/v1/messages/count")
        assert answer.json() == {"count": 2, "more": more}
