"""Deaths of the server while it tells an application, which is unsteady, what came of messages."""

import asyncio
import contextlib
import random
import tempfile
from collections import defaultdict
from pathlib import Path

import httpx2

from tests.api_keys import made
from tests.applications import add_callback, checked
from tests.http_stub import HttpStub
from tests.process import Server, message
from tests.relay import CUT, ScriptedRelay
from tests.waiting import LIMIT

CLIENTS = 4
WORKERS = 4
LAST_SECONDS = 120.0  # for what is left in the end
REFUSED = 5  # each message of so many is refused by the relay


class UnsteadyApplication(HttpStub):
    """Accepts callbacks; or accepts them and cuts the connection; or fails."""

    def __init__(self, seed):
        super().__init__()
        self.random = random.Random(seed)
        self.steady = False
        self.came = []  # every callback, checked
        self.taken = []  # those that were answered with 2xx
        self.wrong = 0  # signatures

    async def answer(self, request):
        try:
            callback = checked(request.fields, request.body)
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            self.wrong += 1
            return 400, b""
        self.came.append(callback)
        luck = 0.0 if self.steady else self.random.random()
        if luck > 0.97:
            return CUT
        if luck > 0.94:
            return 500, b""
        self.taken.append(callback)
        return 200, b""


class CallbackRounds:
    """One seed's story: rounds of load, each ended by SIGKILL, and the callbacks in the end."""

    def __init__(self, folder, relay, application, seed):
        self.random = random.Random(seed)
        self.application = application
        self.acknowledged = set()
        self.numbers = iter(range(10**6))
        (folder / "data").mkdir()
        self.headers = made(folder / "data", "shop", "send", "manage")
        add_callback(folder / "data", "shop", f"http://127.0.0.1:{application.port}/")
        self.server = Server(
            folder,
            relays=f"smtp://{relay.host}:{relay.port}",
            workers=WORKERS,
            queue_size=WORKERS,
            retry_schedule="200ms",
        )

    def client(self):
        return httpx2.AsyncClient(
            base_url=self.server.url, headers=self.headers, timeout=LIMIT, trust_env=False
        )

    async def run(self, rounds):
        """What was broken."""
        try:
            await self.server.start()
            for _ in range(rounds):
                await self._round()
            self.application.steady = True
            return await self._verdict()
        finally:
            await self.server.kill()

    async def _round(self):
        """At a random time of the load, also before its first callback."""
        wait = self.random.uniform(0, 0.6)
        async with self.client() as client, asyncio.TaskGroup() as load:
            for _ in range(CLIENTS):
                load.create_task(self._post(client))
            await asyncio.sleep(wait)
            await self.server.kill()
        await self.server.start()

    async def _post(self, client):
        while self.server.process.returncode is None:
            number = next(self.numbers)
            body = message(number)
            if number % REFUSED == 0:
                body |= {"to": [f"nobody{number}@example.org"]}
            with contextlib.suppress(httpx2.TransportError):
                answer = await client.post("/v1/messages", json=body)
                if answer.status_code == 202:
                    self.acknowledged.add(answer.json()["id"])
            await asyncio.sleep(0)

    async def _verdict(self):
        async with self.client() as client:
            ends = await self._ends(client)
            await self._until_told(client)
        taken, ids = defaultdict(set), defaultdict(set)
        for each in self.application.taken:
            taken[each["data"]["id"]].add(each["type"])
        for each in self.application.came:
            ids[each["data"]["id"], each["type"], each["timestamp"]].add(each["id"])
        untold = {id for id, status in ends.items() if f"message.{status}" not in taken[id]}
        several = [key for key, found in ids.items() if len(found) > 1]
        came = len(self.application.came)
        print(
            f"acknowledged {len(self.acknowledged)}, ended {len(ends)}, callbacks {came},"
            f" repeated {came - len({each['id'] for each in self.application.came})},"
            f" untold {len(untold)}, under several ids {len(several)}"
        )
        faults = {
            "an end was not told": untold,
            "lost": self.acknowledged - ends.keys(),
            "one event under several ids": several,
            "a wrong signature": self.application.wrong,
        }
        return [name for name, found in faults.items() if found]

    async def _ends(self, client):
        """The status of each message, once all have ended."""
        async with asyncio.timeout(LAST_SECONDS):
            while await _count(client, status="queued,sending,deferred"):
                await asyncio.sleep(0.2)
        ends, more = {}, {}
        while more is not None:
            page = (await client.get("/v1/messages", params={"limit": 200, **more})).json()
            ends |= {each["id"]: each["status"] for each in page["items"]}
            more = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        return ends

    async def _until_told(self, client):
        async with asyncio.timeout(LAST_SECONDS):
            while True:
                (found,) = (await client.get("/v1/callbacks")).json()["items"]
                if not found["waiting"]:
                    return
                # What rests may be tried again: what made it rest is over.
                await client.post("/v1/callbacks/shop/resume")
                await asyncio.sleep(0.2)


async def _count(client, **query):
    return (await client.get("/v1/messages/count", params=query)).json()["count"]


async def repeat(rounds, seed):
    """So many deaths. Returns what was broken."""
    async with contextlib.AsyncExitStack() as parts:
        folder = parts.enter_context(tempfile.TemporaryDirectory())
        application = await parts.enter_async_context(UnsteadyApplication(seed))
        relay = await parts.enter_async_context(_RefusingRelay())
        return await CallbackRounds(Path(folder), relay, application, seed).run(rounds)


class _RefusingRelay(ScriptedRelay):
    """Refuses recipients whose name begins with `nobody`."""

    def answer_to(self, verb, argument, connection):
        if verb == "RCPT" and "<nobody" in argument:
            return "550 5.1.1 no such user"
        return super().answer_to(verb, argument, connection)
