"""
Real processes, killed and stopped at bad moments.

Each test ends with the four sets of Jepsen's queue tests: what was *acknowledged* with a
2xx, what was *attempted*, what was *received* by the relay, and what was *recovered*
(received, though never acknowledged).
"""

import asyncio
import random
from collections import Counter

import pytest

from tests.four_sets import Sets, number_of
from tests.process import Server, client_of, message, until_all
from tests.relay import ScriptedRelay
from tests.waiting import LIMIT, until

WORKERS = 4


async def until_nothing_is_under_way(client):
    async def nothing():
        return not (await client.get("/v1/messages?status=sending")).json()["items"]

    await until(nothing)


@pytest.fixture
async def relay():
    async with ScriptedRelay() as relay:
        yield relay


def server_for(relay, folder, **settings):
    url = f"smtp://{relay.host}:{relay.port}"
    return Server(folder, relays=url, workers=WORKERS, **settings)


async def test_fifty_accepted_messages_survive_sigkill(relay, tmp_path):
    """F03: killed with a backlog that no relay would take, it sends each once after its restart."""
    relay.answer("GREETING", "421 not now")
    sets = Sets()
    async with server_for(relay, tmp_path) as server:
        async with client_of(server) as client:
            await asyncio.gather(*(sets.send(client, number) for number in range(50)))
            assert len(sets.acknowledged) == 50
            assert (await client.post("/v1/queue/pause")).is_success
            await until_nothing_is_under_way(client)
        await server.kill()
        relay.answer("GREETING", None)
        await server.start()
        async with client_of(server) as client:
            assert (await client.post("/v1/queue/resume")).is_success
        found = await until_all(server, sets.acknowledged.values(), "sent")
    assert sets.received(relay) == Counter(range(50))
    assert {each["uncertain"] for each in found} == {0}


async def test_f02_an_answer_lost_on_the_way_costs_no_second_mail(relay, tmp_path):
    """Killed after the commit, it answers the repeated POST as it did the first one."""
    async with server_for(relay, tmp_path) as server:
        headers = {"Idempotency-Key": "order-17"}
        async with client_of(server) as client:
            first = await client.post("/v1/messages", json=message(1), headers=headers)
        await server.kill()
        await server.start()
        async with client_of(server) as client:
            second = await client.post("/v1/messages", json=message(1), headers=headers)
        assert second.status_code == 202
        assert second.headers["Idempotency-Replayed"] == "true"
        assert second.json()["id"] == first.json()["id"]
        await until_all(server, [first.json()["id"]], "sent")
    assert set(sets_received(relay)) == {1}


def sets_received(relay):
    return Counter(number_of(recipients[0]) for _, recipients, _ in relay.received)


async def test_f04_killed_before_the_dot_it_sends_once_and_says_that_it_cannot_know(
    relay, tmp_path
):
    """Between the mark and the dot the outcome is unknown: it is sent, and flagged."""
    relay.hold("MAIL")
    async with server_for(relay, tmp_path) as server:
        sets = Sets()
        async with client_of(server) as client:
            await sets.send(client, 1)
        await relay.until_held(1)
        await server.kill()
        relay.release()
        await server.start()
        (found,) = await until_all(server, sets.acknowledged.values(), "sent")
        assert found["uncertain"] == 1
        assert any(line.get("event") == "recovered_uncertain" for line in server.log)
    assert sets.received(relay) == Counter([1])


@pytest.mark.parametrize("policy", ["resend", "hold"])
async def test_f05_killed_after_the_dot(relay, tmp_path, policy):
    """The relay has it, we do not know: with resend the same bytes go again, with hold none do."""
    relay.hold("DOT")
    async with server_for(relay, tmp_path) as server:
        sets = Sets()
        async with client_of(server) as client:
            for number in range(WORKERS):
                await sets.send(client, number, on_uncertain=policy)
        await relay.until_held(WORKERS)
        await server.kill()
        relay.release()
        await server.start()
        wanted = "sent" if policy == "resend" else "held"
        found = await until_all(server, sets.acknowledged.values(), wanted)
    assert {each["uncertain"] for each in found} == {1}
    copies = 2 if policy == "resend" else 1
    assert set(sets.received(relay).values()) == {copies}
    assert len({content for _, _, content in relay.received}) == WORKERS


async def test_f06_killed_again_and_again_it_loses_nothing(relay, tmp_path):
    """Under load and SIGKILL: nothing acknowledged is lost, copies are few and each is flagged."""
    kills, sets, numbers = 2, Sets(), iter(range(10**6))
    random.seed(6)
    server = server_for(relay, tmp_path)
    try:
        await server.start()
        for _ in range(kills):
            async with client_of(server) as client, asyncio.TaskGroup() as load:

                async def post(client=client):
                    while server.process.returncode is None:
                        await sets.send(client, next(numbers))

                for _ in range(16):
                    load.create_task(post())
                goal = len(sets.acknowledged) + random.randint(20, 200)
                await until(lambda goal=goal: len(sets.acknowledged) >= goal)
                await server.kill()
            await server.start()
        found = await until_all(server, sets.acknowledged.values(), "sent", "held")
        flagged = {
            number
            for number, each in zip(sets.acknowledged, found, strict=True)
            if each["uncertain"]
        }
    finally:
        await server.kill()
    received = sets.received(relay)
    repeated = {number for number, times in received.items() if times > 1}
    assert sets.acknowledged.keys() <= received.keys(), "lost"
    assert received.keys() <= sets.attempted, "unexpected"
    assert sum(received.values()) - len(received) <= WORKERS * kills
    assert repeated & sets.acknowledged.keys() <= flagged


async def test_f07_sigterm_finishes_what_is_under_way(relay, tmp_path):
    """With workers at the dot and a queue behind them: no copy, nothing lost, exit 0, last line."""
    relay.hold("DOT")
    sets = Sets()
    async with server_for(relay, tmp_path, grace="20s") as server:
        async with client_of(server) as client:
            await asyncio.gather(*(sets.send(client, number) for number in range(60)))
        await relay.until_held(WORKERS)
        server.terminate()
        await until(lambda: any(line.get("event") == "draining" for line in server.log))
        relay.release()
        assert await server.stop() == 0
        assert server.log[-1]["event"] == "stopped"
        assert sets.received(relay).total() == WORKERS
        await server.start()
        found = await until_all(server, sets.acknowledged.values(), "sent")
    assert sets.received(relay) == Counter(range(60))
    assert {each["uncertain"] for each in found} == {0}


async def test_f08_past_the_grace_the_doubt_is_on_record(relay, tmp_path):
    """A relay silent at the dot does not hold up the stop, and what is unknown is written down."""
    relay.hold("DOT")
    sets = Sets()
    async with server_for(relay, tmp_path, grace="300ms", retry_schedule="100ms") as server:
        async with client_of(server) as client:
            await sets.send(client, 1)
        await relay.until_held(1)
        async with asyncio.timeout(LIMIT):  # it would wait for minutes
            assert await server.stop() == 0
        relay.release()
        await server.start()
        (found,) = await until_all(server, sets.acknowledged.values(), "sent")
    assert found["uncertain"] == 1
    assert found["attempts"][0]["stage"] == "dot"


async def test_sigterm_does_not_wait_for_open_streams(relay, tmp_path):
    """The stream of a page ends, and the process ends at once, with 0."""
    async with (
        server_for(relay, tmp_path, grace="10m") as server,
        client_of(server) as client,
        client.stream("GET", "/v1/events", timeout=2 * LIMIT) as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        async with asyncio.timeout(LIMIT):
            server.terminate()
            async for _ in lines:
                pass
            assert await server.stop() == 0


async def test_f09_a_client_that_leaves_while_it_waits_loses_nothing(relay, tmp_path):
    """The handler runs to its end: the message is kept and sent, once."""
    relay.hold("DOT")
    async with server_for(relay, tmp_path) as server:
        body = (
            b'{"email_to": "n1@example.org", "email_from": "us@example.org",'
            b' "subject": "s", "message": "m"}'
        )
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /send-async/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await relay.until_held(1)
        writer.transport.abort()
        relay.release()
        async with client_of(server) as client:
            (kept,) = (await client.get("/v1/messages")).json()["items"]
        await until_all(server, [kept["id"]], "sent")
    assert sets_received(relay) == Counter([1])


async def test_f10_a_client_that_leaves_in_the_middle_of_its_body_stores_nothing(relay, tmp_path):
    """Half a request is no request."""
    async with server_for(relay, tmp_path) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 500\r\n\r\n{"to": ["n1@example.org"], "text": "half'
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with client_of(server) as client:
            assert (await client.get("/v1/messages")).json()["items"] == []
    assert not relay.received


@pytest.mark.parametrize("where", ["on its port too", "on another port"])
async def test_f17_a_second_process_on_the_journal_is_refused(relay, tmp_path, where):
    """The second one exits with 75 and names the first; the first goes on."""
    async with server_for(relay, tmp_path) as server:
        (tmp_path / "second").mkdir()
        second = server_for(relay, tmp_path / "second", data_dir=tmp_path / "data")
        if where == "on its port too":
            second.settings["port"] = server.port
        await second.start(ready=False)
        async with asyncio.timeout(LIMIT):
            assert await second.process.wait() == 75
        said = (tmp_path / "second" / "log.jsonl").read_text()
        assert f"in use by pid {server.process.pid}" in said
        await server.until_ready()
