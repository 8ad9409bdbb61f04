"""
Several replicas on one PostgreSQL, as real processes, killed, stopped and restarted under
load. Each test ends with what was *acknowledged* with a 2xx and what was *received*.
"""

import asyncio
import contextlib
import itertools
import re
import signal
import time

import httpx2
import pytest

from notifier.deliveries import Status
from tests.four_sets import Sets
from tests.nginx import CONFIGURATION, Proxy
from tests.paths import ROOT
from tests.process import Server, client_of, free_port, message, states, until_all
from tests.relay import ScriptedRelay
from tests.service import ended, notifying, submit_one
from tests.waiting import until

LEASE = 1.5  # where a lease must run out; elsewhere the default, so that a slow machine loses none
WORKERS = 4
LIMIT = 60.0  # seconds for any one wait: nothing here is about speed
PAUSE = 0.2  # seconds of each client between its messages: starts have most of the machine
SHUNNED = 0.5  # seconds for which a caller leaves alone what did not answer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def relay():
    async with ScriptedRelay() as relay:
        yield relay


@pytest.fixture
async def url(postgres):
    return await postgres.database()


def replica(relay, url, folder, name, **settings):
    (folder / name).mkdir()
    given = {"workers": WORKERS, "retry_schedule": "200ms"} | settings
    return Server(folder / name, relays=f"smtp://{relay.host}:{relay.port}", journal=url, **given)


@contextlib.asynccontextmanager
async def replicas(relay, url, folder, count, **settings):
    servers = [replica(relay, url, folder, f"r{number}", **settings) for number in range(count)]
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            stack.push_async_exit(server)
        await asyncio.gather(*(server.start() for server in servers))
        yield servers


@contextlib.contextmanager
def outage(postgres):
    """The database is gone meanwhile, and back afterwards, whatever has failed."""
    postgres.down()
    try:
        yield
    finally:
        postgres.up()


async def settled(server, caller):
    return await until_all(server, caller.sets.acknowledged.values(), "sent", limit=LIMIT)


class Caller:
    """
    Eight clients that go round the replicas, and on to the next one where one cannot be reached
    or asks to be asked later, with an Idempotency-Key, for as long as their patience lasts.
    """

    def __init__(self, servers):
        self._servers = servers
        self.sets = Sets()
        self.answers = []  # every status that any replica gave
        self._numbers = itertools.count()
        self._turns = itertools.cycle(servers)
        self._shunned = {}  # server -> until when
        self._stopped = False

    async def send(self):
        number = next(self._numbers)
        self.sets.attempted.add(number)
        async with asyncio.timeout(LIMIT):
            while number not in self.sets.acknowledged:
                await self._try(self._next(), number)

    def _next(self):
        now = time.monotonic()
        for server in itertools.islice(self._turns, len(self._servers)):
            if self._shunned.get(server, 0) < now:
                return server
        return next(self._turns)

    async def _try(self, server, number):
        try:
            answer = await self._client.post(
                f"{server.url}/v1/messages",
                json=message(number),
                headers={"Idempotency-Key": f"n{number}"},
            )
        except httpx2.TransportError:
            self._shunned[server] = time.monotonic() + SHUNNED
            await asyncio.sleep(0.05)
            return
        self.answers.append(answer.status_code)
        if answer.status_code == 202:
            self.sets.acknowledged[number] = answer.json()["id"]
        else:
            assert answer.headers["Retry-After"], answer.text
            await asyncio.sleep(0.05)

    async def _keep_sending(self):
        while not self._stopped:
            await self.send()
            await asyncio.sleep(PAUSE)

    async def reach(self, count):
        """Until so many more have been acknowledged."""
        goal = len(self.sets.acknowledged) + count
        async with asyncio.timeout(LIMIT):
            while len(self.sets.acknowledged) < goal:
                for failed in filter(asyncio.Task.done, self._sending):
                    failed.result()
                await asyncio.sleep(0.01)

    async def __aenter__(self):
        self._client = httpx2.AsyncClient(timeout=2, trust_env=False)
        self._sending = [asyncio.create_task(self._keep_sending()) for _ in range(8)]
        return self

    async def __aexit__(self, *exc_info):
        self._stopped = True
        await asyncio.gather(*self._sending)
        await self._client.aclose()


def check(relay, found, acknowledged, *, most):
    """Nothing is lost; what came more than once is flagged, and is not more than `most`."""
    received = Sets().received(relay)
    assert set(acknowledged) - set(received) == set()
    flagged = {
        number for number, each in zip(acknowledged, found, strict=True) if each["uncertain"] > 0
    }
    copied = {number for number, count in received.items() if count > 1 and number in acknowledged}
    assert copied <= flagged
    assert sum(received[number] - 1 for number in copied) <= most


async def test_f45_a_stopped_replica_is_taken_over_and_its_record_refused(relay, url, tmp_path):
    """SIGSTOP past the lease: the other sends; what wakes up records nothing and sends no more."""
    relay.hold("DOT")
    lease = {"lease": f"{LEASE}s"}
    async with replicas(relay, url, tmp_path, 1, **lease) as [stale]:
        sets = Sets()
        async with client_of(stale) as client:
            await asyncio.gather(*(sets.send(client, number) for number in range(12)))
        await until(lambda: relay.heard.count("DATA") == WORKERS)
        stale.process.send_signal(signal.SIGSTOP)
        async with replica(relay, url, tmp_path, "other", **lease) as other:
            relay.release()
            found = await until_all(other, sets.acknowledged.values(), "sent", limit=LIMIT)
            stale.process.send_signal(signal.SIGCONT)
            await until(lambda: any(line.get("event") == "lease_lost" for line in stale.log))
            assert await stale.stop() == 0
            assert await states(other, sets.acknowledged.values()) == found
    assert {len(each["attempts"]) for each in found} == {1}
    check(relay, found, sets.acknowledged, most=WORKERS)


async def test_f46_a_database_that_restarts_loses_nothing(relay, url, tmp_path, postgres):
    """Meanwhile 503 with Retry-After, and unready; then each route goes on by itself."""
    async with replicas(relay, url, tmp_path, 2) as servers:
        caller = Caller(servers)
        async with caller, httpx2.AsyncClient(trust_env=False, timeout=30) as client:
            await caller.reach(30)
            with outage(postgres):
                await until(lambda: 503 in caller.answers)
                async with asyncio.timeout(LIMIT):
                    while (await client.get(f"{servers[0].url}/readyz")).status_code != 503:
                        await asyncio.sleep(0.05)
            await caller.reach(30)
            for server in servers:
                await server.until_ready()
                assert await deaths(client, server) == {0.0}
                assert await simulated(client, server) == "sent"
        found = await settled(servers[1], caller)
        assert [server.process.returncode for server in servers] == [None, None]
    assert set(caller.answers) == {202, 503}
    check(relay, found, caller.sets.acknowledged, most=2 * WORKERS)


async def deaths(client, server):
    """How often background tasks have died."""
    figures = (await client.get(f"{server.url}/metrics")).text
    return {
        float(line.split()[-1])
        for line in figures.splitlines()
        if line.startswith("notifier_task_deaths_total")
    }


async def simulated(client, server):
    """The status of a message that leaves by another route than the relay's."""
    answer = await client.post(
        f"{server.url}/v1/messages",
        json=message(0, to=["success@simulator.notifier"]),
        headers={"Prefer": "wait=10"},
        timeout=LIMIT,
    )
    return answer.json()["status"]


async def test_three_replicas_lose_nothing_in_any_trouble(relay, url, tmp_path, postgres):
    """Under load one is killed, one stopped past its lease, and the database restarted."""
    async with replicas(relay, url, tmp_path, 3, lease=f"{LEASE}s") as servers:
        killed, stopped, steady = servers
        caller = Caller(servers)
        async with caller:
            await caller.reach(30)
            await killed.kill()
            await caller.reach(30)
            stopped.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2 * LEASE)  # what is tested is that this time passes
            await caller.reach(20)
            with outage(postgres):
                await until(lambda: 503 in caller.answers)
            await caller.reach(20)
            stopped.process.send_signal(signal.SIGCONT)
            await killed.start()
            await caller.reach(30)
        found = await settled(steady, caller)
    check(relay, found, caller.sets.acknowledged, most=3 * WORKERS * 3)


async def test_a_rolling_restart_is_not_noticed(relay, url, tmp_path):
    """One after the other is stopped and started again: no copy, and no 5xx but 503."""
    async with replicas(relay, url, tmp_path, 3) as servers:
        caller = Caller(servers)
        async with caller:
            for server in servers:
                await caller.reach(20)
                assert await server.stop() == 0
                await server.start()
        found = await settled(servers[0], caller)
    assert set(caller.answers) <= {202, 503}
    assert {each["uncertain"] for each in found} == {0}
    check(relay, found, caller.sets.acknowledged, most=0)


async def test_behind_a_proxy_they_are_one_service(relay, url, tmp_path):
    """Each gets its turn; killed in the middle, one is passed over: 202 or 503, nothing lost."""
    async with (
        replicas(relay, url, tmp_path, 3, lease=f"{LEASE}s") as servers,
        Proxy(tmp_path, [server.port for server in servers]) as proxy,
        httpx2.AsyncClient(base_url=proxy.url, timeout=LIMIT, trust_env=False) as client,
        client.stream("GET", "/v1/events") as stream,
    ):
        events = stream.aiter_lines()
        caller = Caller([proxy])
        async with caller:
            async with asyncio.timeout(LIMIT):  # news are not kept back until a buffer is full
                while '"status":"sent"' not in await anext(events):
                    pass
            await until_each_has_accepted(servers)
            await servers[0].kill()
            await caller.reach(30)
        found = await settled(proxy, caller)
    assert set(caller.answers) <= {202, 503}
    check(relay, found, caller.sets.acknowledged, most=WORKERS)


async def until_each_has_accepted(servers):
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client, asyncio.timeout(LIMIT):
        for server in servers:
            told = ""
            while not re.search(r'messages_accepted_total\{channel="email"\} [1-9]', told):
                told = (await client.get(f"{server.url}/metrics")).text


async def test_the_proxy_hands_a_post_to_one_replica_alone(relay, url, tmp_path):
    """
    A replica that hangs up may have kept the POST: the caller gets an error, no other replica the
    POST.
    """
    taken = []

    async def hang_up(reader, writer):
        taken.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with (
        await asyncio.start_server(hang_up, "127.0.0.1", 0) as broken,
        replicas(relay, url, tmp_path, 1) as [good],
        Proxy(tmp_path, [broken.sockets[0].getsockname()[1], good.port, free_port()]) as proxy,
        client_of(proxy) as client,
    ):
        answers = [await client.post("/v1/messages", json=message(n)) for n in range(6)]
        refused = [answer for answer in answers if answer.status_code == 503]
        count = (await client.get("/v1/messages/count")).json()
    assert len(refused) == len(taken) > 0
    assert all(answer.headers["Retry-After"] for answer in refused)
    assert {answer.headers["Content-Type"] for answer in refused} == {"application/problem+json"}
    assert count["count"] == len(answers) - len(refused)


async def test_a_wait_on_one_ends_by_what_another_sends(relay, url, tmp_path):
    """
    A caller that waits at one replica gets its answer as soon as another replica has sent the
    message.
    """
    async with (
        notifying(tmp_path / "a", relay, journal=url) as here,
        notifying(tmp_path / "b", relay, journal=url),
    ):
        here.dispatcher.pause()  # this one alone: the journal is not told
        with here.feed.follow() as everything:
            id = await submit_one(here)
            assert (await ended(here, id)).status is Status.SENT
            async with asyncio.timeout(LIMIT):
                while Status.SENT not in [each.delivery.status for each in await everything.next()]:
                    pass


async def test_a_pause_holds_for_every_replica(relay, url, tmp_path):
    """The queue and a relay, paused and resumed at one, are so at the other."""
    async with (
        notifying(tmp_path / "a", relay, journal=url) as here,
        notifying(tmp_path / "b", relay, journal=url) as there,
    ):

        def states():
            return [each.state for each in there.transports.relays.states()]

        before = states()
        await here.pause()
        await until(lambda: there.dispatcher.paused)
        await here.pause("first")
        await until(lambda: states() != before)
        await there.resume()
        await until(lambda: not here.dispatcher.paused)
        await there.resume("first")
        id = await submit_one(here)
        assert (await ended(there, id)).status is Status.SENT


def test_compose_has_every_replica_that_its_proxy_names():
    """The profile `replicas` brings up what the proxy's configuration sends requests to."""
    compose = (ROOT / "compose.yaml").read_text()
    named = re.findall(r"server (\S+):8014", CONFIGURATION.read_text())
    assert len(named) == 3
    assert all(f"\n  {name}:" in compose for name in named)
    assert f"./{CONFIGURATION.relative_to(ROOT)}:/etc/nginx/nginx.conf:ro" in compose
