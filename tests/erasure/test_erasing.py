"""A person is forgotten, over HTTP and in both journals."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from notifier.deliveries import Status
from notifier.erasure.local_places import CapturedMails, LogFiles
from notifier.erasure.requests import Requests
from notifier.errors import MessageNotFound
from tests.relay import ScriptedRelay
from tests.waiting import LIMIT
from tests.web_client import LETTER, final, problem_of, serving

PATH = "/v1/recipients/erase"
ANN = "Ann.Lee@example.net"
LATER = (datetime.now(UTC) + timedelta(days=30)).isoformat()


async def sent(client, **changes):
    answer = await client.post("/v1/messages", json=LETTER | changes)
    assert answer.status_code == 202, answer.text
    if "send_at" not in changes:
        await final(client, answer.json()["id"])
    return answer.json()["id"]


async def erased(client, address=ANN):
    """The answer once all is done."""
    answer = await client.post(PATH, json={"address": address})
    assert answer.status_code in (200, 202), answer.text
    async with asyncio.timeout(LIMIT):
        while (told := answer.json())["state"] != "done":
            await asyncio.sleep(0.05)
            answer = await client.get(f"{PATH}/{told['id']}")
    return told


async def shown(client, id):
    return (await client.get(f"/v1/messages/{id}")).json()


async def test_a_message_keeps_its_states_and_nothing_of_the_person(web):
    """Its content, subject and all that the caller wrote are gone, and a pseudonym is there."""
    service, client = web
    id = await sent(client, to=[ANN], reference="r-7", tags=["t"], metadata={"a": 1}, user_id="u7")
    other = await sent(client, to=["joann.lee@example.net"])
    told = await erased(client, "Ann <ann.LEE@EXAMPLE.net>")
    assert told["counts"] == {"messages": 1, "captured_mails": 1}
    message = await shown(client, id)
    assert [each["address"] for each in message["recipients"]] == [told["erased"]]
    assert (message["status"], message["subject"], message["metadata"]) == ("sent", "", {})
    assert (message["reference"], message["tags"], message["user_id"]) == (None, [], None)
    assert message["timeline"][-1]["what"] == "erased"
    with pytest.raises(MessageNotFound):
        await service.content(id)
    for search in (f"to={ANN}", "reference=r-7", "tag=t", "user_id=u7"):
        assert (await client.get(f"/v1/messages?{search}")).json()["items"] == []
    found = (await client.get("/v1/messages?q=ann.lee%40example.net")).json()["items"]
    assert [each["id"] for each in found] == [other]  # joann.lee
    assert (await shown(client, other))["subject"] == LETTER["subject"]


async def test_erasure_cancels_waiting_messages(web):
    """A scheduled message to the person alone is never sent, and cannot be retried."""
    _, client = web
    id = await sent(client, to=[ANN], send_at=LATER)
    told = await erased(client)
    assert told["counts"]["cancelled"] == 1
    message = await shown(client, id)
    assert (message["status"], message["reason"]) == (Status.CANCELLED, "erased")
    answer = await client.post(f"/v1/messages/{id}/retry")
    assert answer.status_code == 409, answer.text
    assert "erased" in answer.json()["detail"]


async def test_a_message_goes_on_to_its_other_recipients(web):
    """They get it as it was composed, the person does not, and then its content is gone."""
    service, client = web
    id = await sent(client, to=[ANN, "bob@example.net"], send_at=LATER)
    answer = await client.post(PATH, json={"address": ANN})
    assert answer.status_code == 202
    told = answer.json()
    async with asyncio.timeout(LIMIT):
        while told["state"] != "waiting":
            await asyncio.sleep(0.05)
            told = (await client.get(f"{PATH}/{told['id']}")).json()
    assert (told["counts"], told["waiting_for"]) == ({"taken_off": 1}, 1)
    assert (await client.post(f"/v1/messages/{id}/send-now")).status_code == 200
    await final(client, id)
    async with asyncio.timeout(LIMIT):
        while (await client.get(f"{PATH}/{told['id']}")).json()["state"] != "done":
            await asyncio.sleep(0.05)
    message = await shown(client, id)
    states = {each["address"]: each["status"] for each in message["recipients"]}
    assert states == {told["erased"]: "suppressed", "bob@example.net": "accepted"}
    with pytest.raises(MessageNotFound):
        await service.content(id)


async def test_person_named_in_a_text_is_erased_there_too(web):
    """A mail to somebody else that names the person anywhere loses its content."""
    service, client = web
    named = await sent(client, to=["bob@example.net"], text="äöü: write to ANN.lee@example.net")
    by_metadata = await sent(client, to=["bob@example.net"], metadata={"of": [ANN]})
    told = await erased(client)
    assert told["counts"]["messages"] == 2
    with pytest.raises(MessageNotFound):
        await service.content(named)
    message = await shown(client, by_metadata)
    assert (message["metadata"], message["recipients"][0]["address"]) == ({}, "bob@example.net")


async def test_erasure_keeps_the_suppression(web):
    """The entry has the pseudonym; nothing is sent to the address, until it is taken off."""
    _, client = web
    await client.post("/v1/suppressions", json={"address": ANN, "source": f"{ANN} asked for it"})
    told = await erased(client)
    assert told["counts"]["suppressions"] >= 1
    (entry,) = (await client.get("/v1/suppressions")).json()["items"]
    assert (entry["address"], entry["source"]) == (told["erased"], f"{told['erased']} asked for it")
    answer = await client.post("/v1/messages", json=LETTER | {"to": [ANN]})
    message = await final(client, answer.json()["id"])
    assert [each["status"] for each in message["recipients"]] == ["suppressed"]
    assert (await client.delete(f"/v1/suppressions/{ANN}")).status_code == 200
    assert (await shown(client, await sent(client, to=[ANN])))["status"] == "sent"


async def test_the_audit_records_an_erasure_under_the_pseudonym(web):
    """What was done before to the address is told by the pseudonym, and the erasure itself."""
    _, client = web
    await client.post("/v1/suppressions", json={"address": ANN})
    told = await erased(client)
    records = (await client.get("/v1/audit")).json()["items"]
    by_what = {each["what"]: each for each in records}
    assert by_what["erase-recipient"]["on"] == told["erased"]
    assert by_what["add-suppression"]["on"] == told["erased"]
    assert told["counts"]["audit"] == 1


async def test_an_answer_kept_under_an_idempotency_key_is_wiped(web):
    """The request is still known, so that nothing is sent twice."""
    service, client = web
    headers = {"idempotency-key": "once"}
    body = LETTER | {"to": [ANN]}
    first = await client.post("/v1/messages", json=body, headers=headers)
    await final(client, first.json()["id"])
    await erased(client)
    again = await client.post("/v1/messages", json=body, headers=headers)
    assert (again.status_code, again.headers.get("idempotency-replayed")) == (202, "true")
    assert again.json()["id"] == first.json()["id"]
    rows = await service.journal.query("SELECT answer FROM idempotency")
    assert all(b"ann.lee" not in bytes(answer).lower() for (answer,) in rows)


async def test_a_number_is_forgotten_in_any_spelling(web):
    """A text's recipient is a number, which people write in many ways."""
    _, client = web
    answer = await client.post("/v1/suppressions", json={"address": "+12025550123"})
    assert answer.status_code == 200, answer.text
    told = await erased(client, "+1 (202) 555-0123")
    assert told["counts"]["suppressions"] == 1


@pytest.mark.parametrize("address", ["nobody", "@example.org", "a@b@c", "+12"])
async def test_invalid_address_is_rejected(web, address):
    """The answer names the field, and says that the address is wrong."""
    _, client = web
    answer = await client.post(PATH, json={"address": address})
    problem = problem_of(answer, 422, "invalid-address")
    assert problem["title"] == "The address is not valid"
    assert problem["errors"][0]["pointer"] == "/address"


async def test_erased_person_is_listed_by_the_pseudonym(web):
    """The list of messages knows the address no more, and finds them by what took its place."""
    _, client = web
    id = await sent(client, to=[ANN])
    told = await erased(client)
    by_address, by_pseudonym = [
        (await client.get("/v1/messages", params={"to": each})).json()["items"]
        for each in (ANN, told["erased"])
    ]
    assert by_address == []
    assert [each["id"] for each in by_pseudonym] == [id]


async def test_old_erasures_are_pruned(web):
    """With what each replica has wiped; one that has not ended stays."""
    service, client = web
    told = await erased(client)
    await sent(client, to=[ANN, "bob@example.net"], send_at=LATER)
    waiting = (await client.post(PATH, json={"address": ANN})).json()["id"]
    requests = Requests(service.journal)
    now = datetime.now(UTC)
    assert await requests.prune(now - timedelta(days=1)) == 0
    assert await requests.prune(now + timedelta(days=1)) == 1
    assert await requests.shares(told["id"]) == {}
    assert (await client.get(f"{PATH}/{told['id']}")).status_code == 404
    assert (await client.get(f"{PATH}/{waiting}")).status_code == 200


async def test_to_ask_twice_does_no_harm(web):
    """The second erasure finds nothing, under the same pseudonym."""
    _, client = web
    await sent(client, to=[ANN])
    first, second = await erased(client), await erased(client)
    assert first["erased"] == second["erased"]
    assert (second["counts"], (await client.get(f"{PATH}/none")).status_code) == ({}, 404)


async def test_each_replica_wipes_what_it_has_by_itself(postgres, tmp_path):
    """An erasure ends once the captured mails of the other replica are gone, too."""
    url = await postgres.database()
    async with (
        serving(tmp_path / "a", journal=url) as (one, client),
        serving(tmp_path / "b", journal=url, port=8015) as (other, _),
    ):
        for service in (one, other):
            await service.mailbox.put(b"\r\nhello", sender="me@example.org", recipients=[ANN])
        told = await erased(client)
        assert told["counts"]["captured_mails"] == 2
        assert (await one.mailbox.count(), await other.mailbox.count()) == (0, 0)


async def test_a_mail_that_comes_after_the_first_wipe_is_wiped_too(tmp_path, monkeypatch):
    """A message may be sent between the wipe of the mailbox and the search of the journal."""
    async with serving(tmp_path) as (service, client):
        wipe = CapturedMails.wipe

        async def wiped(place, person, count):
            await wipe(place, person, count)
            if not late:
                late.append(await place._mailbox().put(b"\r\nhi", sender="", recipients=[ANN]))

        late = []
        monkeypatch.setattr(CapturedMails, "wipe", wiped)
        assert (await erased(client))["state"] == "done"
        assert late
        assert await service.mailbox.count() == 0


async def test_place_that_cannot_be_wiped_is_named_and_blocks_no_other(tmp_path, monkeypatch):
    """The answer names the place and its fault; the erasure goes on once the fault is gone."""
    async with serving(tmp_path) as (service, _):
        broken = True

        async def wiped(place, person, count):
            if broken:
                raise OSError("no space left")

        monkeypatch.setattr(LogFiles, "wipe", wiped)
        await service.mailbox.put(b"\r\nhello", sender="me@example.org", recipients=[ANN])
        asked = await service.erasure.erase(ANN, by="key:a")
        async with asyncio.timeout(LIMIT):
            while "log_files of" not in (told := await service.erasure.state(asked)).not_reached[0]:
                await asyncio.sleep(0.01)
            assert told.not_reached[0].endswith("no space left; it will be tried again")
            assert await service.mailbox.count() == 0
            broken = False
            while (await service.erasure.state(asked)).request.state != "done":
                await asyncio.sleep(0.01)


async def test_erasure_waits_for_messages_being_sent(tmp_path):
    """A worker's outcome is recorded first; then its message is wiped, and nothing is lost."""
    async with ScriptedRelay() as relay:
        relay.hold("DATA")
        async with serving(tmp_path, relays=(relay.spec,)) as (service, client):
            answer = await client.post("/v1/messages", json=LETTER | {"to": [ANN]})
            id = answer.json()["id"]
            async with asyncio.timeout(LIMIT):
                while (await shown(client, id))["status"] != "sending":
                    await asyncio.sleep(0.01)
            asked = await service.erasure.erase(ANN, by="key:a")
            async with asyncio.timeout(LIMIT):
                while (await service.erasure.state(asked)).counts != {"in_flight": 1}:
                    await asyncio.sleep(0.01)
            relay.release()
            await final(client, id)
            told = await erased(client)
            message = await shown(client, id)
            assert (message["status"], message["subject"]) == ("sent", "")
            assert [each["address"] for each in message["recipients"]] == [told["erased"]]
