"""The calls of the list of suppressions, and what messages tell of it."""

import csv
import io

import pytest

from notifier.keys import KeyScope
from tests.api_keys import made
from tests.web_client import LETTER, SIMPLE, problem_of, serving

PATH = "/v1/suppressions"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path) as (service, client):
        await service.pause()
        yield service, client


async def add(client, address, **given):
    answer = await client.post(PATH, json={"address": address} | given)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def addresses(client, **query):
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return [each["address"] for each in answer.json()["items"]]


async def test_a_suppression_is_added_shown_and_removed(client):
    """The answer is the entry as it is listed; DELETE names it in the path."""
    until = "2100-01-31T12:00:00Z"
    made = await add(client, "Ann@Example.ORG", key="shop", until=until, source="by phone")
    assert made | {"since": None} == {
        "address": "ann@example.org", "reason": "manual", "key": "shop", "since": None,
        "until": until, "source": "by phone",
    }  # fmt: skip
    plain = await add(client, "@example.net", reason="complaint")
    assert (plain["key"], plain["until"], plain["source"]) == (None, None, "anonymous")
    listed = (await client.get(PATH)).json()
    assert listed == {"items": [plain, made], "next_cursor": None}
    for path in ("ann%40example.org", "%40example.net?key=-"):
        answer = await client.delete(f"{PATH}/{path}")
        assert (answer.status_code, answer.json()) == (200, {"count": 1})
    answer = await client.delete(f"{PATH}/ann@example.org")
    assert answer.status_code == 404
    assert "ann@example.org" in answer.json()["detail"]


async def test_an_address_with_a_slash_can_be_taken_off(client):
    """A local part may have one."""
    await add(client, "a/b@example.org")
    assert (await client.delete(f"{PATH}/a%2Fb@example.org")).json() == {"count": 1}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"address": "nobody"}, "/address"),
        ({"address": "a@x.org, b@x.org"}, "/address"),
        ({"address": "a@x.org", "until": "2020-01-01T00:00:00Z"}, "/until"),
        ({"address": "a@x.org", "until": "9999-12-31T23:59:59-12:00"}, "/until"),
        ({"address": "a@x.org", "reason": "because"}, "/reason"),
        ({"address": "a@x.org", "key": "no key"}, "/key"),
        ({"address": "a@x.org", "source": "a\nb"}, "/source"),
        ({"address": "a@x.org", "untl": None}, "/untl"),
        ({}, "/address"),
    ],
)
async def test_a_wrong_field_is_named(client, body, pointer):
    """And nothing is put on the list."""
    problem = problem_of(await client.post(PATH, json=body), 422, "invalid-message")
    assert problem["errors"][0]["pointer"] == pointer
    assert await addresses(client) == []


async def test_pages_and_filters(client):
    """A cursor leads on; filters narrow; a call that would take off all is refused."""
    for number in range(5):
        await add(client, f"u{number}@x.org", reason="bounce" if number % 2 else "manual")
    found, cursor = [], {}
    for _ in range(3):
        page = (await client.get(PATH, params={"limit": 2} | cursor)).json()
        found += [each["address"] for each in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert (found, cursor) == ([f"u{n}@x.org" for n in range(5)], {"cursor": None})
    assert await addresses(client, reason="bounce") == ["u1@x.org", "u3@x.org"]
    assert await addresses(client, address="U4") == ["u4@x.org"]
    assert await addresses(client, domain="X.org", key="-", limit=1) == ["u0@x.org"]
    assert await addresses(client, key="shop") == []
    problem = problem_of(await client.delete(PATH), 422, "rejected")
    assert "address, domain, reason, key" in problem["detail"]
    problem_of(await client.get(PATH, params={"cursor": "x"}), 422, "invalid-parameter")
    answer = await client.delete(PATH, params={"reason": "bounce"})
    assert answer.json() == {"count": 2}
    assert len(await addresses(client)) == 3


async def test_the_list_goes_out_and_in_as_csv(client):
    """What was exported can be imported: the same entries."""
    await add(client, "ann@x.org", until="2100-01-31T12:00:00Z", source='said "no, thanks"')
    await add(client, "@y.org", key="shop", reason="bounce")
    before = (await client.get(PATH)).json()["items"]
    exported = await client.get(PATH, headers={"Accept": "text/csv"})
    assert exported.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="suppressions.csv"' in exported.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert [row["address"] for row in rows] == ["@y.org", "ann@x.org"]
    await client.delete(PATH, params={"domain": "x.org"})
    await client.delete(PATH, params={"domain": "y.org"})
    assert await addresses(client) == []
    for path in (PATH, f"{PATH}/import"):
        answer = await client.post(path, content=exported.content, headers=CSV)
        assert answer.json() == {"count": 2}
    after = (await client.get(PATH)).json()["items"]
    assert [each | {"since": 0} for each in after] == [each | {"since": 0} for each in before]


async def test_a_list_of_addresses_is_enough(client):
    """Without a line of names; with a byte order mark, empty lines, and lines of other systems."""
    content = "\ufeffann@x.org\r\n\r\n+1 202 555 0123\n@Y.org\n".encode()
    answer = await client.post(f"{PATH}/import", content=content, headers=CSV)
    assert answer.json() == {"count": 3}
    assert await addresses(client) == ["+12025550123", "@y.org", "ann@x.org"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("address,reason\nann@x.org,manual\nnobody,manual\nb@x.org,why", ["line 3: ", "line 4: "]),
        ("address,until\nann@x.org,tomorrow", ["line 2: until: 'tomorrow' is not a time"]),
        ("ann@x.org,manual", ["line 1: name the columns"]),
        ("address,wher\nann@x.org,x", ["line 1: unknown column 'wher'"]),
        ("address\n" + "x" * 200_000, ["line 2: "]),
        ("ann@x.org\n\xff", ["not UTF-8"]),
    ],
)
async def test_each_wrong_line_is_named(client, content, told):
    """And none of the lines is taken."""
    octets = content.encode("latin-1")
    answer = await client.post(f"{PATH}/import", content=octets, headers=CSV)
    problem = problem_of(answer, 422, "invalid-message")
    assert len(problem["errors"]) == len(told)
    for error, words in zip(problem["errors"], told, strict=True):
        assert error["message"].startswith(words) or words in error["message"]
    assert await addresses(client) == []


async def test_an_entry_that_has_ended_is_not_imported(client):
    """So that an old export brings nothing back."""
    content = "address,until\nann@x.org,2020-01-01\nbob@x.org,2100-01-01\n"
    answer = await client.post(f"{PATH}/import", content=content, headers=CSV)
    assert answer.json() == {"count": 1}


async def test_a_message_to_the_suppressed_is_accepted_and_says_why(client):
    """202 also where nobody gets it; the preview and the explanation tell it; batches too."""
    await add(client, "ann@example.net", source="asked by phone")
    answer = await client.post("/v1/messages", json=LETTER)
    assert answer.status_code == 202
    message = answer.json()
    assert (message["status"], message["reason"]) == ("failed", "every recipient is suppressed")
    assert message["recipients"] == [
        {
            "address": "ann@example.net", "status": "suppressed", "code": None,
            "reply": "suppressed, manual: asked by phone",
        } | {name: None for name in message["recipients"][0] if name == "later"}
    ]  # fmt: skip
    explained = (await client.get(f"/v1/messages/{message['id']}/explain")).json()["explanation"]
    assert "every recipient is suppressed." in explained
    assert "Nothing is sent to ann@example.net (suppressed, manual: asked by phone)." in explained
    assert "first DELETE /v1/suppressions/{address}" in explained
    both = LETTER | {"to": ["Ann <ann@example.net>", "bob@example.net"]}
    preview = await client.post("/v1/messages?dry_run=true", json=both)
    assert preview.headers["x-notifier-suppressed"] == "ann@example.net"
    batch = await client.post("/v1/messages/batch", json=[LETTER, both])
    assert batch.status_code == 202
    assert [each["status"] for each in batch.json()["items"]] == ["failed", "queued"]
    anyway = await client.post("/v1/messages", json=LETTER | {"despite_suppression": True})
    assert anyway.json()["status"] == "queued"
    waited = await client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=30"})
    assert (waited.status_code, waited.json()["status"]) == (200, "failed")


async def test_a_message_that_reached_the_others_says_who_got_nothing(web):
    """The explanation of a sent message names who is suppressed, and calls nobody refused."""
    service, client = web
    await add(client, "ann@example.net")
    await service.resume()
    both = LETTER | {"to": ["ann@example.net", "bob@example.net"]}
    answer = await client.post("/v1/messages", json=both, headers={"Prefer": "wait=30"})
    message = answer.json()
    assert (message["status"], message["partial"]) == ("sent", True)
    explained = (await client.get(f"/v1/messages/{message['id']}/explain")).json()["explanation"]
    assert "Nothing is sent to ann@example.net" in explained
    assert "refused" not in explained


async def test_the_simple_calls_answer_a_suppressed_recipient_as_any_other_outcome(client):
    """At once 202; who waits for the outcome gets 502 with the reason."""
    await add(client, "ann@example.net")
    answer = await client.post("/send-email/", json=SIMPLE)
    assert answer.status_code == 202
    message = (await client.get(f"/v1/messages/{answer.json()['id']}")).json()
    assert message["status"] == "failed"
    problem = problem_of(await client.post("/send-async/", json=SIMPLE), 502, "not-sent")
    assert "every recipient is suppressed" in problem["detail"]


async def test_read_may_look_and_manage_may_change(tmp_path):
    """A key with `send` alone may neither."""
    allowed = {"send": (403, 403, 403), "read": (200, 403, 403), "manage": (200, 200, 200)}
    keys = {name: made(tmp_path, name, KeyScope(name)) for name in allowed}
    async with serving(tmp_path) as (_, client):
        for name, expected in allowed.items():
            headers = keys[name]
            body = {"address": "ann@x.org"}
            answers = (
                await client.get(PATH, headers=headers),
                await client.post(PATH, json=body, headers=headers),
                await client.delete(f"{PATH}/ann@x.org", headers=headers),
            )
            assert tuple(each.status_code for each in answers) == expected


async def test_metrics_count_suppressions(web):
    """How many there are by reason, and how many recipients got nothing."""
    service, client = web
    await add(client, "ann@example.net", reason="complaint")
    await client.post("/v1/messages", json=LETTER)
    await service.suppressions.look()
    metrics = (await client.get("/metrics")).text
    assert 'notifier_suppressions{reason="complaint"} 1.0' in metrics
    assert 'notifier_suppressions{reason="bounce"} 0.0' in metrics
    assert "notifier_suppressed_recipients_total 1.0" in metrics
