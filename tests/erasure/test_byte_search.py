"""After an erasure a search over every octet of the data folder finds the address nowhere."""

import asyncio
import base64
import re
from datetime import UTC, datetime, timedelta

from tests.process import Server, client_of, message, until_all
from tests.waiting import LIMIT

ANN = "Ann.Lee@example.net"
PERCENT = "Ann.Lee%40example.net"
OTHER = "bob@example.net"
ERASE = "/v1/recipients/erase"
IN_A_MONTH = (datetime.now(UTC) + timedelta(days=30)).isoformat()


def found(folder):
    """The files that hold the address, in any form in which notifier may have written it."""
    local, _, domain = ANN.lower().partition("@")
    small = f"{local}@{domain}".encode()
    forms = [small, f"{local}%40{domain}".encode(), f"{local}=40{domain}".encode()]
    forms += [small.replace(b"@", b"\\u0040"), small.decode().encode("utf-16-le")]
    runs = [
        base64.b64encode(b"x" * before + written)[4 * (before > 0) : -4]
        for written in (ANN.encode(), small)
        for before in range(3)
    ]
    names = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            octets = path.read_bytes()
            whole, one_line = octets.lower(), re.sub(rb"[\r\n]", b"", octets)
            if any(form in whole for form in forms) or any(run in one_line for run in runs):
                names.append(path.name)
    return names


async def used(client):
    """Everything that takes an address gets hers."""
    attached = {"filename": "a.txt", "content": base64.b64encode(f"to {ANN}".encode()).decode()}
    alone = {"to": [ANN], "reference": f"for {ANN}", "metadata": {"who": ANN}, "tags": [ANN]}
    bodies = [
        alone | {"html": f"<p>Grüße, {ANN}</p>", "attachments": [attached]},
        {"to": [OTHER], "cc": [ANN], "bcc": ["eve@example.net"], "user_id": ANN},
        {"to": [OTHER], "text": f"ask ü {ANN} " * 30},
        {"to": [OTHER], "from": ANN},
        {"to": ["ann.lee@EXAMPLE.net"], "send_at": IN_A_MONTH},
        {"to": ["gone@simulator.notifier"], "metadata": {"of": PERCENT}},
    ]
    ids = []
    for number, changes in enumerate(bodies):
        headers = {"idempotency-key": f"{number}-welcome-{ANN}"}
        answer = await client.post("/v1/messages", json=message(number, **changes), headers=headers)
        assert answer.status_code == 202, answer.text
        ids.append(answer.json()["id"])
    source = f"From: {OTHER}\r\nTo: {ANN}\r\nSubject: raw\r\n\r\nHello {ANN}\r\n".encode()
    headers = {"content-type": "message/rfc822"}
    await client.post(f"/v1/messages?to={PERCENT}", content=source, headers=headers)
    listed = {"address": ANN, "source": f"{ANN} asked"}
    assert (await client.post("/v1/suppressions", json=listed)).status_code == 200
    await client.post(f"/v1/messages/cancel?to={PERCENT}&tag=none")
    return ids


async def ended(client, id):
    async with asyncio.timeout(60):
        while (told := (await client.get(f"{ERASE}/{id}")).json())["state"] != "done":
            await asyncio.sleep(0.05)
    return told


async def test_no_octet_of_the_address_is_left(tmp_path):
    """A real server that used everything; the answer tells what was wiped."""
    async with Server(tmp_path, log_dir=tmp_path / "data" / "logs") as server:
        async with client_of(server) as client:
            ids = await used(client)
            await until_all(server, [*ids[:4], ids[5]], "sent", "failed")
            assert "notifier.db" in " ".join(found(tmp_path / "data"))
            answer = await client.post(ERASE, json={"address": f"Ann Lee <{ANN}>"})
            told = await ended(client, answer.json()["id"])
        assert found(tmp_path / "data") == []
        assert told["counts"]["cancelled"] == 1
        assert told["counts"]["captured_mails"] >= 3
        await server.stop()
        assert found(tmp_path / "data") == []


async def test_an_erasure_goes_on_after_a_kill(tmp_path):
    """Killed as soon as it was asked for, it ends by itself after the next start."""
    server = Server(tmp_path)
    async with server, client_of(server) as client:
        ids = await used(client)
        bodies = [message(n, to=[ANN], subject=f"for {ANN}") for n in range(100)]
        answer = await client.post("/v1/messages/batch", json=bodies)
        assert answer.status_code in (200, 202), answer.text
        await until_all(server, [*ids[:4], ids[5]], "sent", "failed")
        # However far it comes before the kill: this one names her until it is sent.
        shared = message(100, to=[OTHER, ANN], send_at=IN_A_MONTH)
        waiting = (await client.post("/v1/messages", json=shared)).json()["id"]
        asking = asyncio.ensure_future(client.post(ERASE, json={"address": ANN}))
        async with asyncio.timeout(LIMIT):
            while not any(line["event"] == "erasure_asked_for" for line in server.log):
                await asyncio.sleep(0.005)
        (id,) = [line["id"] for line in server.log if line["event"] == "erasure_asked_for"]
        await server.kill()
        await asyncio.gather(asking, return_exceptions=True)
    assert found(tmp_path / "data") != []
    async with server, client_of(server) as client:
        answer = await client.post(f"/v1/messages/{waiting}/send-now")
        assert answer.status_code == 200, answer.text
        await ended(client, id)
        assert found(tmp_path / "data") == []
