"""All that is held of a person, over HTTP and from both journals."""

import base64
import json

import pytest

from notifier.erasure.export import PIECE
from notifier.journal.statements import Statement
from notifier.keys import KeyScope
from tests.api_keys import look, made
from tests.web_client import LETTER, final, problem_of, serving

PATH = "/v1/recipients/export"
KINDS = ["messages", "suppressions", "strikes", "audit", "captured_mails", "log_files"]


async def exported(client, address):
    """The lines of an export between its first and its last one, by kind."""
    answer = await client.post(PATH, json={"address": address})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/jsonl")
    first, *items, last = map(json.loads, answer.text.splitlines())
    assert (first["kind"], last["kind"]) == ("export", "end")
    found = {kind: [each for each in items if each["kind"] == kind] for kind in KINDS}
    assert last["counts"] == {kind: len(of_it) for kind, of_it in found.items()}
    assert sum(last["counts"].values()) == len(items)
    assert any("backups" in each for each in last["not_covered"])
    return first, found


async def send(client, **changes):
    answer = await client.post("/v1/messages", json=LETTER | changes)
    assert answer.status_code == 202, answer.text
    await final(client, answer.json()["id"])
    return answer.json()["id"]


async def test_export_holds_all_data_of_a_person(web):
    """Messages to and from, with contents and conversations; the lists, the audit, the inbox."""
    _, client = web
    to_her = await send(client, to=["Ann@Example.net", "bob@example.net"])
    of_her = await send(client, to=["eve@example.net"], **{"from": "ann@example.net"})
    for other in ("joann@example.net", "ann@example.net.example"):
        await send(client, to=[other])
    await client.post("/v1/suppressions", json={"address": "ann@example.net", "key": "shop"})
    await client.post("/v1/suppressions", json={"address": "joann@example.net"})
    await client.post("/v1/messages/cancel?to=ann%40example.net&tag=none")
    first, found = await exported(client, "Ann Lee <ANN@example.NET>")
    assert first["address"] == "ann@example.net"
    assert [each["message"]["id"] for each in found["messages"]] == [of_her, to_her]
    (_, message) = found["messages"]
    assert message["message"]["status"] == "sent"
    assert any("RCPT TO" in line for line in message["message"]["attempts"][0]["conversation"])
    assert b"To: Ann@example.net" in base64.b64decode(message["content"])
    assert [each["key"] for each in found["suppressions"]] == ["shop"]
    acts = {each["what"] for each in found["audit"]}
    assert acts == {"add-suppression", "cancel", "export-recipient"}
    assert len(found["captured_mails"]) == 2
    assert all(b"nn@" in base64.b64decode(each["content"]) for each in found["captured_mails"])


async def test_times_of_callbacks_are_timestamps(web):
    """As all times of an export are, and not the journal's numbers."""
    service, client = web
    id = await send(client, to=["ann@example.net"])
    columns = "message, key, event, at, version, since, answered_at"
    row = Statement(f"INSERT INTO callbacks ({columns}) VALUES (?, '', 'sent', 1, 1, 0, 2)", (id,))
    await service.journal.execute(row)
    _, found = await exported(client, "ann@example.net")
    ((callback,),) = (each["callbacks"] for each in found["messages"])
    assert callback["at"] == "1970-01-01T00:00:00.000001Z"
    assert callback["answered_at"] == "1970-01-01T00:00:00.000002Z"


@pytest.mark.parametrize(
    "named",
    [
        {"metadata": {"of": "ANN@Example.net"}},
        {"metadata": {"ann@example.net": 1}},
        {"metadata": {"link": "https://example.org/?a=ann%40example.net"}},
        {"reference": "https://example.org/?a=ann%40example.net"},
        {"collapse_key": "ann@example.net"},
    ],
)
async def test_messages_to_others_that_name_a_person_are_exported(web, named):
    """Wherever it stands but in the content, and also percent-encoded, as erasing finds it."""
    _, client = web
    of_her = await send(client, to=["bob@example.net"], **named)
    await send(client, to=["bob@example.net"])
    _, found = await exported(client, "ann@example.net")
    assert [each["message"]["id"] for each in found["messages"]] == [of_her]


async def test_export_holds_what_the_person_did(web):
    """Somebody who signs in with an address is in the audit under it."""
    service, client = web
    await service.audit.note("monitor:ann@example.net", "pause-queue")
    await service.audit.note("monitor:joann@example.net", "resume-queue")
    _, found = await exported(client, "ann@example.net")
    assert [each["what"] for each in found["audit"]] == ["pause-queue", "export-recipient"]


async def test_a_large_content_is_whole(web):
    """In pieces, it is the same line."""
    _, client = web
    file = {"filename": "x", "content": base64.b64encode(bytes(range(256)) * 4000).decode()}
    id = await send(client, attachments=[file])
    source = (await client.get(f"/v1/messages/{id}/source")).content
    _, found = await exported(client, "ann@example.net")
    (message,) = found["messages"]
    assert base64.b64decode(message["content"], validate=True) == source
    assert len(source) > PIECE


async def test_export_of_an_unknown_person_is_empty(web):
    """The export is whole, and empty but for the audit's record of this very request."""
    _, client = web
    await send(client)
    _, found = await exported(client, "nobody@example.net")
    assert {kind for kind, of_it in found.items() if of_it} == {"audit"}
    (record,) = found["audit"]
    assert record["what"] == "export-recipient"
    assert "nobody" not in record["on"]


async def test_a_number_and_a_domain_in_letters_are_known_in_each_spelling(web):
    """What was put on the list in one spelling is found by another."""
    _, client = web
    for address in ("+12025550123", "ann@bücher.example"):
        await client.post("/v1/suppressions", json={"address": address})
    for spelling in ("+1 (202) 555-0123", "Ann@BÜCHER.example", "ann@xn--bcher-kva.example"):
        _, found = await exported(client, spelling)
        assert len(found["suppressions"]) == 1


async def test_erased_data_is_exported_under_the_pseudonym(web):
    """The caller names the address; the export finds the pseudonym."""
    service, client = web
    first, _ = await exported(client, "ann@example.net")
    pseudonym = first["pseudonym"]
    id = await send(client, to=["bob@example.net"], reference=pseudonym)
    await service.audit.note("key:shop", "cancel", on=pseudonym)
    _, found = await exported(client, "ann@example.net")
    assert [each["message"]["id"] for each in found["messages"]] == [id]
    assert "cancel" in {each["what"] for each in found["audit"]}


async def test_get_answers_the_same(web):
    """With the address in the query, also with a plus that is meant as one."""
    _, client = web
    await client.post("/v1/suppressions", json={"address": "+12025550123"})
    for query in ("+12025550123", "%2B12025550123"):
        answer = await client.get(f"{PATH}?address={query}")
        assert json.loads(answer.text.splitlines()[0])["address"] == "+12025550123"
    for query, said in (("", "is missing"), ("?address=nobody", "is not a telephone number")):
        assert said in (await client.get(f"{PATH}{query}")).text


async def test_export_needs_the_manage_scope(tmp_path):
    """A key with `read` may read messages one by one, and export nobody."""
    async with serving(tmp_path) as (service, client):
        headers = made(tmp_path, "reader", KeyScope.READ)
        look(service)
        for call in (
            client.post(PATH, json={"address": "ann@example.net"}, headers=headers),
            client.get(f"{PATH}?address=ann@example.net", headers=headers),
        ):
            problem_of(await call, 403, "forbidden")
