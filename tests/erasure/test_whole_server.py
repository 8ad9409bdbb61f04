"""
A real server with everything switched on, to which a person is known in every way there is: after
an erase nothing of the address is left in its data directory, and all of other people's is.
"""

import asyncio
import base64
import itertools
import smtplib
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import asyncpg
import httpx2
import pytest

from notifier.keys import Keys, KeyScope, new_key
from tests.applications import add_callback
from tests.bounces import dsn
from tests.erasure.remains import remains
from tests.process import Server, free_port
from tests.provider import Site
from tests.waiting import until

LOCAL = "Zoe.Quintanilla.Wandermuth"
ANN = f"{LOCAL}@Forgotten.example"
BOB = "bob.other.person@remembered.example"
EVE = "eve@remembered.example"
NUMBER = "+12025550187"
US = "us@example.org"
LATER = (datetime.now(UTC) + timedelta(days=9)).isoformat()
OF_HER = f"This is about {ANN}, as is <a href='mailto:{quote(ANN)}'>this</a>."


class Known:
    """A server to which the person and another one become known."""

    def __init__(self, server, client, smtp_port, login):
        self.server, self.client = server, client
        self._smtp_port, self._login = smtp_port, login
        self._numbers = itertools.count()
        self.bobs = []  # ids of messages that are his alone

    async def call(self, method, path, **given):
        answer = await self.client.request(method, path, **given)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json() if answer.content.startswith((b"{", b"[")) else answer.text

    async def send(self, to=ANN, *, state="sent", **changes):
        letter = {"from": US, "to": [to], "subject": f"For {to}", "text": f"Dear {to}"} | changes
        letter = {name: value for name, value in letter.items() if value is not None}
        headers = {"Idempotency-Key": f"{to}-{next(self._numbers)}"}
        id = (await self.call("POST", "/v1/messages", json=letter, headers=headers))["id"]
        if state:
            await self.reaches(id, state)
        if to == BOB:
            self.bobs.append(id)
        return id

    async def reaches(self, id, *states):
        async def there():
            return (await self.call("GET", f"/v1/messages/{id}"))["status"] in states

        await until(there)

    async def by_smtp(self, *recipients):
        def talk():
            with smtplib.SMTP("127.0.0.1", self._smtp_port, timeout=30) as client:
                client.login(*self._login)
                source = f"From: {US}\r\nTo: {', '.join(recipients)}\r\nSubject: x\r\n\r\n{OF_HER}"
                client.sendmail(US, recipients, source.encode())

        await asyncio.to_thread(talk)

    async def become_known(self):
        """All doors, all states, and whatever keeps an address besides."""
        call, send = self.call, self.send
        picture = {
            "filename": f"{ANN} .txt",
            "content": base64.b64encode(OF_HER.encode()).decode(),
        }
        html = f"<p>Grüße, {OF_HER}</p>"
        sent = await send(
            html=html, attachments=[picture], reference=f"order {ANN}", tags=[ANN],
            metadata={"who": ANN}, user_id=ANN, headers={"X-Who": ANN}, reply_to=ANN,
        )  # fmt: skip
        await send(BOB)
        await send(BOB, attachments=[picture | {"filename": "x", "content": "Qm9i"}], html="<b>Bob")
        await send(EVE, **{"from": ANN, "text": "From her"})
        await send(EVE, text=OF_HER)
        await send(text=None, template="hello", data={"name": ANN})
        await send(to=ANN, cc=[EVE])
        await send(state="scheduled", send_at=LATER)
        cancelled = await send(state="scheduled", send_at=LATER)
        await call("POST", f"/v1/messages/{cancelled}/cancel")
        for number in range(2):
            await send(state="", collapse_key=ANN, send_at=LATER, text=f"{number}")
        for code, state in ((550, "failed"), (450, "deferred")):
            text = f"no such <{ANN}> here"
            refusal = {"address": ANN, "code": code, "text": text, "times": 1}
            await call("POST", "/inbox/refusals", json=refusal)
            await send(state=state, text=f"{code}")
        await call("POST", "/inbox/refusals", json={"address": EVE, "code": 450, "times": 1})
        self.shared = await send(state="deferred", cc=[EVE])
        await call("POST", "/inbox/refusals", json={"address": ANN, "code": 550})
        await call("POST", "/v1/messages/batch", json=[self._letter(ANN), self._letter(BOB)])
        mail = f"From: {US}\r\nTo: {ANN}\r\nSubject: raw\r\n\r\n{OF_HER}".encode()
        await call("POST", "/v1/messages", content=mail, headers={"Content-Type": "message/rfc822"})
        await self.by_smtp(ANN)
        await self.by_smtp(BOB, ANN)
        copied = await send(EVE)
        await call("POST", f"/v1/messages/{copied}/copies", json={"to": [ANN]})
        await call("POST", "/v1/suppressions", json={"address": ANN, "key": "app", "source": ANN})
        await call("POST", "/v1/suppressions", json={"address": BOB, "key": "app"})
        report = dsn(ANN, envelope_id=sent)
        await call(
            "POST", "/v1/reports", content=report, headers={"Content-Type": "message/rfc822"}
        )
        for query in (f"to={quote(ANN)}", f"q={quote(ANN)}"):
            await call("GET", f"/v1/messages?{query}")
            await call("POST", f"/v1/messages/send-now?{query}&tag=none")
        await call("GET", f"/inbox/messages?q={quote(ANN)}")
        await self.client.get(f"/v1/{quote(ANN)}")
        await self.client.delete(f"/v1/suppressions/x.{quote(ANN)}")
        text = {"channel": "sms", "to": NUMBER, "carrier": "us cellular", "text": f"Hi {NUMBER}"}
        for later in ({}, {"send_at": LATER}):
            await call("POST", "/v1/messages", json=text | later)
        await call("POST", "/v1/suppressions", json={"address": NUMBER, "key": "none"})
        await call("DELETE", f"/v1/suppressions/{NUMBER}")
        for asked in (ANN, f"+1 {NUMBER[2:5]} {NUMBER[5:]}"):
            exported = await self.client.get(f"/v1/recipients/export?address={quote(asked)}")
            assert exported.status_code == 200
        await call("POST", "/v1/templates/hello/preview", json={"data": {"name": ANN}})

    async def settled(self):
        """Nothing is under way any more."""

        async def quiet():
            found = await self.call("GET", "/v1/messages?status=queued,sending&limit=1")
            callbacks = await self.call("GET", "/v1/callbacks")
            return not found["items"] and not any(each["waiting"] for each in callbacks["items"])

        await until(quiet)

    async def erase(self, address, *, shared=""):
        erasure = await self.call("POST", "/v1/recipients/erase", json={"address": address})

        async def state():
            return await self.call("GET", f"/v1/recipients/erase/{erasure['id']}")

        if shared:
            while erasure["state"] == "running":
                erasure = await state()
            assert (erasure["state"], erasure["waiting_for"]) == ("waiting", 1)
            # It still goes to Eve, as it was composed: with both addresses in its header.
            await self.call("POST", f"/v1/messages/{shared}/send-now")

        async def done():
            return (await state())["state"] == "done"

        await until(done)

    async def others_are_there(self):
        """Bob's messages, mails and suppression are as they were."""
        for id in self.bobs:
            message = await self.call("GET", f"/v1/messages/{id}")
            assert message["recipients"][0]["address"] == BOB
            assert BOB in (await self.call("GET", f"/v1/messages/{id}/source"))
        listed = (await self.call("GET", "/v1/suppressions"))["items"]
        assert BOB in {each["address"] for each in listed}
        mails = (await self.call("GET", "/inbox/messages?limit=200"))["items"]
        assert sum(BOB in each["recipients"] for each in mails) >= len(self.bobs)

    def _letter(self, to):
        return {"from": US, "to": [to], "subject": "In a batch", "text": f"Dear {to}"}


@pytest.fixture(params=["sqlite", "postgres"])
async def known(request, tmp_path):
    """The server, once the person is known to it, and whatever it does by itself is done."""
    data = tmp_path / "data"
    data.mkdir()
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "hello.txt").write_text("Dear {{ name }}")
    (templates / "hello.subject.txt").write_text("To {{ name }}")
    key, secret = new_key("app", now=datetime.now(UTC), scopes=tuple(KeyScope))
    Keys.read(data / "keys.toml").add(key)
    port = free_port()
    settings = {
        "log_dir": data / "logs", "log_level": "debug", "smtp_listen": f"127.0.0.1:{port}",
        "sms_from": US, "sms_region": "US", "templates": templates, "suppress": "bounces",
        "retry_schedule": "1h",
    }  # fmt: skip
    if request.param == "postgres":
        settings["journal"] = await request.getfixturevalue("postgres").database()
    async with Site((200, f"thanks for {ANN}".encode())) as application:
        add_callback(
            data, "app", f"http://127.0.0.1:{application.port}/", events=["sent", "failed"]
        )
        async with (
            Server(tmp_path, **settings) as server,
            httpx2.AsyncClient(
                base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30
            ) as client,
        ):
            known = Known(server, client, port, ("app", secret))
            await known.become_known()
            await known.settled()
            yield known


async def octets_of(server):
    """All that the journal and the files hold, by where it is."""
    folder = server.settings["data_dir"]
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if "journal" in server.settings:
        database = await asyncpg.connect(server.settings["journal"])
        try:
            tables = await database.fetch(
                "SELECT schemaname || '.' || tablename FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            for (table,) in tables:
                rows = await database.fetch(f"SELECT * FROM {table}")
                values = [value for row in rows for value in row.values()]
                found[table] = b"\n".join(
                    value if isinstance(value, bytes) else str(value).encode() for value in values
                )
        finally:
            await database.close()
    return found


async def left(server, local):
    found = {where: remains(octets, local) for where, octets in (await octets_of(server)).items()}
    return {where: what for where, what in found.items() if what}


async def test_nothing_of_a_person_is_left(known):
    """Neither in the journal nor in the inbox nor in the log; the same search found it before."""
    digits = NUMBER.removeprefix("+1")  # as a carrier's gateway has them
    assert len(await left(known.server, LOCAL)) > 1
    assert len(await left(known.server, digits)) > 1
    await known.erase(ANN, shared=known.shared)
    assert await left(known.server, LOCAL) == {}
    await known.erase(NUMBER)
    assert await left(known.server, digits) == {}
    await known.others_are_there()
    assert await known.server.stop() == 0
    for each in (LOCAL, digits):
        assert await left(known.server, each) == {}
