"""Where reports of failed delivery go: from the settings, the keys and the request to the wire."""

import asyncio

import pytest

from notifier.attempts import Notify
from notifier.journal.shared_secret import RETURN_PATHS, shared_secret
from notifier.keys import Keys, new_key
from notifier.verp import Verp
from tests import replica_journals
from tests.process import Server, client_of, message
from tests.relay import CUT, FEATURES, ScriptedRelay
from tests.service import email, ended, notifying, now, specs_of, submit_one, until_status

DSN = (*FEATURES, "DSN")
PATH = "bounces+*@example.net"


def senders(relay):
    """Of what a scripted relay has received, in order."""
    return [sender for sender, _, _ in relay.received]


def mails_named(relay):
    """The options with which mails were announced, after the addresses."""
    return [line.partition("> ")[2] for line in relay.heard if line.startswith("RCPT")]


async def test_a_message_leaves_from_the_return_path(tmp_path):
    """The header From stays the sender; the token is one that this journal can read."""
    async with (
        ScriptedRelay() as relay,
        notifying(tmp_path, relay, return_path=PATH) as service,
    ):
        id = await submit_one(service, email("ann@example.org", "bob@example.org"))
        sent = await ended(service, id)
        verp = Verp(await shared_secret(service.journal, RETURN_PATHS))
    assert sent.sender == "us@example.org"
    marks = [verp.read_address(PATH, sender) for sender in senders(relay)]
    assert [mark.id for mark in marks] == [id, id]
    for mark, (_, (recipient,), content) in zip(marks, relay.received, strict=True):
        assert mark.names(recipient)
        assert b"\r\nFrom: us@example.org\r\n" in b"\r\n" + content


async def test_the_return_path_of_a_key_goes_before_that_of_the_service(tmp_path):
    """A message keeps it, whatever becomes of the settings."""
    key, _ = new_key("shop", now=now(), return_path="shop@example.net")
    async with ScriptedRelay() as relay:
        relay.answer("DOT", "451 later", times=1)
        options = {"return_path": "all@example.net", "retry_schedule": (3600.0,)}
        async with notifying(tmp_path, relay, **options) as service:
            submission = await service.submit([email()], key=key)
            id = submission.deliveries[0].id
            await until_status(service, id, "deferred")
        async with notifying(tmp_path, relay, return_path="new@example.net") as service:
            await service.send_now(id)
            await ended(service, id)
            await ended(service, await submit_one(service))
    assert senders(relay) == ["shop@example.net", "new@example.net"]


async def test_the_secret_outlives_a_restart(tmp_path):
    """A report of yesterday's mail is still matched."""
    async with ScriptedRelay() as relay:
        for _ in range(2):
            async with notifying(tmp_path, relay, return_path=PATH) as service:
                await ended(service, await submit_one(service))
                verp = Verp(await shared_secret(service.journal, RETURN_PATHS))
    assert all(verp.read_address(PATH, sender) for sender in senders(relay))


async def test_replicas_agree_on_the_secret(postgres):
    """Also when all of them start at once on an empty database."""
    async with replica_journals.opened(await postgres.database(), count=4) as journals:
        found = await asyncio.gather(*(shared_secret(each, "secret:test") for each in journals))
    assert len(set(found)) == 1


async def test_an_uncertain_one_of_several_recipients_is_tried_again_for_those_left(tmp_path):
    """Who has it is left alone; everybody gets it in the end."""
    async with (
        ScriptedRelay() as relay,
        notifying(tmp_path, relay, return_path=PATH) as service,
    ):
        relay.answer("DOT", CUT, after=1, times=1)
        sent = await ended(
            service, await submit_one(service, email("a@example.org", "b@example.org", "c@e.org"))
        )
    assert sent.status == "sent"
    assert sent.uncertain == 1
    got = [recipient for _, (recipient,), _ in relay.received]
    assert got == ["a@example.org", "b@example.org", "b@example.org", "c@e.org"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_notify_is_kept_and_asked_for(request, tmp_path, kind):
    """From the JSON of a message to its RCPT, by way of either journal."""
    changes = {"return_path": "bounces@example.net"}
    if kind == "postgres":
        changes["journal"] = await request.getfixturevalue("postgres").database()
    async with (
        ScriptedRelay(features=DSN) as relay,
        notifying(tmp_path, relay, **changes) as service,
    ):
        id = await submit_one(service, email(notify=(Notify.SUCCESS, Notify.FAILURE)))
        await ended(service, id)
        await ended(service, await submit_one(service, email(notify=())))
        await ended(service, await submit_one(service))
    assert [options.partition(" ")[0] for options in mails_named(relay)] == [
        "NOTIFY=FAILURE,SUCCESS",
        "NOTIFY=NEVER",
        "NOTIFY=FAILURE,DELAY",
    ]


async def test_a_process_with_a_return_path_and_a_key(tmp_path):
    """As an operator sets it up: the setting, and a key of its own, over HTTP."""
    key, secret = new_key("shop", now=now(), return_path="Shop+*@Example.net")
    (tmp_path / "data").mkdir()
    Keys.read(tmp_path / "data/keys.toml").add(key)
    async with ScriptedRelay(features=DSN) as relay:
        (spec,) = specs_of(relay)
        url = f"smtp://{spec.host}:{spec.port}"
        headers = {"Authorization": f"Bearer {secret}"}
        async with (
            Server(tmp_path, relays=url, return_path=PATH) as server,
            client_of(server) as client,
        ):
            client.headers.update(headers)
            wrong = await client.post("/v1/messages", json=message(1, notify=["never"]))
            assert wrong.status_code == 422, wrong.text
            assert wrong.json()["errors"][0]["pointer"] == "/notify/0"
            done = await client.post(
                "/v1/messages", json=message(2, notify=[]), headers={"Prefer": "wait=10"}
            )
    assert done.json()["status"] == "sent", done.text
    ((sender, _, _),) = relay.received
    assert sender.startswith("Shop+")
    assert mails_named(relay) == ["NOTIFY=NEVER ORCPT=rfc822;n2@example.org"]
