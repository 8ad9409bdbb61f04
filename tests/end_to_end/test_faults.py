"""
Rows of the fault matrix that concern the service as a whole.

Each row is a number, F01 to F48. A test names it in its name or in its docstring, so that
`pytest -k f14` and a search for F14 find what holds it.
"""

import asyncio
import contextlib
import json
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import httpx2
import psutil
import pytest

from notifier.deliveries import Status
from notifier.errors import JournalUnavailable
from notifier.journal import Filter
from notifier.server import protocol as clients
from notifier.web import submissions
from tests.clocks import WallClock
from tests.disks import fill
from tests.process import Server, message
from tests.relay import ScriptedRelay
from tests.service import email, ended, notifying, submit, submit_one, until_status
from tests.waiting import LIMIT, until
from tests.web_client import JSON, LETTER, client_of, listening


@pytest.fixture
async def relay():
    async with ScriptedRelay() as relay:
        yield relay


@contextlib.asynccontextmanager
async def server_for(relay, folder, **settings):
    folder.mkdir(exist_ok=True)
    url = f"smtp://{relay.host}:{relay.port}"
    async with Server(folder, relays=url, workers=4, **settings) as server:
        yield server


def http(server):
    return httpx2.AsyncClient(base_url=server.url, timeout=60, trust_env=False)


# F11: slow clients


POST = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SLOW = {
    "nothing": (b"", b""),
    "an empty line": (b"\r\n", b""),
    "half a line": (b"POST /v1/mess", b"a"),
    "half a header": (POST, b"X"),
    "no body": (POST + b"Content-Length: 500\r\n\r\n", b""),
    "half a body": (POST + b"Content-Length: 500\r\n\r\n{", b" "),
    "a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b""),
}


@pytest.mark.parametrize("what", SLOW)
async def test_f11_a_client_that_does_not_come_to_an_end_gets_408(what, tmp_path, monkeypatch):
    """Before its limits it is waited for, past them it is hung up on; others are served."""
    monkeypatch.setattr(clients, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(clients, "BODY_SECONDS", 0.8)
    begin, more = SLOW[what]
    async with notifying(tmp_path) as service, listening(service) as port:
        begun = time.monotonic()  # the service counts from the connection
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)

        async def drip():
            with contextlib.suppress(ConnectionError):
                while more:
                    await asyncio.sleep(0.1)
                    writer.write(more)
                    await writer.drain()

        dripping = asyncio.create_task(drip())
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30
        ) as other:
            assert (await other.post("/v1/messages", json=LETTER)).status_code == 202
        async with asyncio.timeout(LIMIT):
            said = await reader.read(12)  # not to the end: what still drips resets the connection
        dripping.cancel()
        assert said == b"HTTP/1.1 408"
        assert time.monotonic() - begun > (0.8 if "\r\n\r\n" in begin.decode() else 0.4)
        writer.close()
        assert len((await service.journal.find(Filter())).deliveries) == 1


async def test_f11_a_header_without_an_end_is_431(tmp_path):
    """It is not kept in memory until its time is up."""
    async with notifying(tmp_path) as service, listening(service) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"X: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                writer.write(b"x" * 65536)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(LIMIT):
                assert (await reader.read(12)) == b"HTTP/1.1 431"
        writer.close()


async def test_f11_a_body_that_stalls_is_given_up_however_much_has_come(tmp_path, monkeypatch):
    """The limit follows the progress: nearly all of 200 kB buys no time."""
    monkeypatch.setattr(clients, "BODY_SECONDS", 0.4)
    monkeypatch.setattr(clients, "BODY_RATE", 1_000)
    async with notifying(tmp_path) as service, listening(service) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 200000\r\n\r\n" + b" " * 199_000)
        async with asyncio.timeout(LIMIT):
            assert await reader.read(12) == b"HTTP/1.1 408"
        writer.close()


async def test_f11_a_body_that_comes_on_is_not_cut_short(tmp_path, monkeypatch):
    """A slow line is no attack: as long as it makes progress, it is waited for."""
    monkeypatch.setattr(clients, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(clients, "BODY_RATE", 10_000)
    async with notifying(tmp_path) as service, listening(service) as port:
        body = b'{"to": ["a@example.org"], "from": "b@example.org", "text": "%s"}' % (b"x" * 50_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        for begin in range(0, len(body), 4000):
            writer.write(body[begin : begin + 4000])
            await asyncio.sleep(0.1)
        async with asyncio.timeout(LIMIT):
            assert (await reader.readline()).split()[1] == b"202"
        writer.close()


async def test_f11_a_body_that_we_do_not_read_is_not_its_clients_fault(tmp_path, monkeypatch):
    """A client whose body the service does not read is not closed by the time limit."""
    monkeypatch.setattr(clients, "BODY_SECONDS", 0.3)
    may_read, read_json = asyncio.Event(), submissions.read_json

    async def later(request, headers, *, limit):
        if int(headers[b"content-length"]) > 500:
            await may_read.wait()
        return await read_json(request, headers, limit=limit)

    monkeypatch.setattr(submissions, "read_json", later)
    body = json.dumps(LETTER | {"text": "x" * 500_000}).encode()
    async with notifying(tmp_path) as service, listening(service) as port, asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await others_are_cut_off(port)
        may_read.set()
        assert await reader.read(12) == b"HTTP/1.1 202"
        writer.close()


async def others_are_cut_off(port):
    """Other clients run out of time, one by one: all that may be cut off are cut off by now."""
    for _ in range(4):
        idle, idler = await asyncio.open_connection("127.0.0.1", port)
        idler.write(POST + b"Content-Length: 500\r\n\r\n{")
        assert await idle.read(12) == b"HTTP/1.1 408"
        idler.close()


async def test_f11_our_own_time_does_not_count(tmp_path, monkeypatch):
    """A client that has sent all of its request waits for the answer longer than the limits."""
    monkeypatch.setattr(clients, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(clients, "BODY_SECONDS", 0.3)
    body = json.dumps(LETTER).encode()
    async with notifying(tmp_path) as service, listening(service) as port, asyncio.timeout(LIMIT):
        await service.pause()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Prefer: wait=20\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await others_are_cut_off(port)
        await service.resume()
        assert await reader.read(12) == b"HTTP/1.1 200"
        writer.close()


async def test_f11_an_unread_answer_is_given_up(tmp_path, monkeypatch):
    """A client that asks and does not read holds its answer in our memory only for so long."""
    monkeypatch.setattr(clients, "UNREAD_SECONDS", 0.3)
    async with notifying(tmp_path) as service, listening(service) as port:
        text = "\r\n".join(["x" * 900] * 9000)
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30
        ) as other:
            kept = await other.post("/v1/messages", json=LETTER | {"text": text}, timeout=30)
        source = f"/v1/messages/{kept.json()['id']}/source"
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(f"GET {source} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(lambda: not any(each.status == "ESTABLISHED" for each in served(port)))
        writer.close()


def served(port):
    """Our ends of the connections to a port of ours."""
    connections = psutil.Process().net_connections("tcp")
    return [each for each in connections if each.laddr.port == port and each.raddr]


# F12, F13: no space left


async def test_f12_on_a_full_disk_the_service_says_503_and_goes_on_by_itself(
    relay,
    mounted,
    tmp_path,
):
    """
    New messages get `insufficient_storage` and `Retry-After`, accepted ones are sent, and then 202
    is given again.
    """
    folder = mounted("size=128m")
    relay.answer("GREETING", "421 not now", times=1)
    async with server_for(relay, tmp_path / "s", data_dir=folder) as server, http(server) as client:
        answers = [await client.post("/v1/messages", json=message(n)) for n in range(20)]
        assert {each.status_code for each in answers} == {202}
        filler = fill(folder)
        async with asyncio.timeout(LIMIT):
            while (refused := await client.post("/v1/messages", json=message(99))).is_success:
                await asyncio.sleep(0.1)
        assert refused.status_code == 503
        assert "insufficient_storage" in refused.json()["detail"]
        assert int(refused.headers["Retry-After"]) >= 1
        await relay.until(lambda: len({r for _, r, _ in relay.received}) >= 20, limit=30)
        assert (await client.get("/livez")).status_code == 200
        filler.unlink()
        async with asyncio.timeout(LIMIT):
            while not (await client.post("/v1/messages", json=message(50))).is_success:
                await asyncio.sleep(0.1)
        async with asyncio.timeout(LIMIT):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
    assert set(Counter(r for _, r, _ in relay.received).values()) == {1}


async def test_f13_while_no_record_can_be_written_nothing_is_sent(relay, tmp_path, monkeypatch):
    """Not ready, and said so; no idle worker begins anything; then each is sent, one copy each."""
    monkeypatch.setattr("notifier.dispatch.sending.JOURNAL_SECONDS", 0.02)
    relay.hold("DOT")
    async with notifying(tmp_path, relay, workers=16) as service:
        record, broken, refused = service.journal.record, asyncio.Event(), []

        async def full(delivery):
            if broken.is_set():
                return await record(delivery)
            refused.append(delivery.id)
            raise JournalUnavailable("insufficient_storage: no space left")

        monkeypatch.setattr(service.journal, "record", full)
        first = await submit(service, *(email_to(n) for n in range(4)))
        await relay.until_held(4)
        relay.release()
        await until(lambda: {*refused} == {*first})
        async with client_of(service) as client:
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert "cannot be recorded" in answer.json()["reasons"][0]
        later = await submit(service, *(email_to(n) for n in range(4, 20)))
        # Idle workers have them in hand; since then each of the four was tried again often.
        await until(lambda: {each.id for each in service.dispatcher.doing if each} & {*later})
        often = len(refused) + 40
        await until(lambda: len(refused) >= often)
        assert relay.verbs().count("MAIL") == 4
        broken.set()
        for id in (*first, *later):
            assert (await ended(service, id)).status is Status.SENT
        assert service.health().ready
    assert len(relay.received) == 20


def email_to(number):
    return email(f"n{number}@example.org")


# F14: a disk that fails


@pytest.fixture(scope="module")
def failing_fsync(tmp_path_factory):
    """The library for LD_PRELOAD."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, to build a library that makes fsync fail")
    library = tmp_path_factory.mktemp("preload") / "failing_fsync.so"
    source = Path(__file__).with_name("failing_fsync.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


async def test_f14_a_failed_fsync_ends_the_process_with_74(
    relay, tmp_path, failing_fsync, monkeypatch
):
    """503 for who waits, exit 74 with the reason; the next start serves, and nothing is lost."""
    sign = tmp_path / "eio"
    monkeypatch.setenv("FAILING_FSYNC", str(sign))
    monkeypatch.setenv("LD_PRELOAD", str(failing_fsync))
    async with server_for(relay, tmp_path / "s") as server, http(server) as client:
        kept = await client.post("/v1/messages", json=message(1))
        assert kept.status_code == 202
        location = f"/v1/messages/{kept.json()['id']}"

        async def settled():
            return (await client.get(location)).json()["status"] == "sent"

        await until(settled)  # else the outcome's fsync may fail first, and nobody waits
        sign.touch()
        refused = await client.post("/v1/messages", json=message(2))
        assert refused.status_code == 503
        async with asyncio.timeout(LIMIT):
            assert await server.process.wait() == 74
        said = [line for line in server.log if line["event"] == "journal_io_error"]
        assert "SQLITE_IOERR" in said[0]["reason"]
        sign.unlink()
        await server.start()
        again = await client.post("/v1/messages", json=message(3))
        assert again.status_code == 202
        await relay.until(lambda: len({r for _, r, _ in relay.received}) >= 2)
        assert (await client.get(location)).json()["status"] == "sent"


# F37: the clock is set


@pytest.mark.parametrize("hours", [-1, 1])
async def test_f37_after_a_jump_of_the_clock_all_goes_on(relay, tmp_path, hours, monkeypatch):
    """New ones leave; deferred ones leave once; nothing waits for the clock to come back."""
    monkeypatch.setattr("notifier.dispatch.dispatcher.POLL_SECONDS", 0.1)
    monkeypatch.setattr("notifier.housekeeping.set_back.CLOCK_SECONDS", 0.05)
    clock = WallClock()
    relay.answer("RCPT", "451 later", to="ann@example.org", times=1)
    async with notifying(tmp_path, relay, clock=clock, retry_schedule=(0.5,)) as service:
        jumped = asyncio.Event()

        def jump(delivery):
            if delivery.status is Status.DEFERRED and not jumped.is_set():
                clock.shift = timedelta(hours=hours)
                jumped.set()

        service.feed.listen(jump)
        deferred = await submit_one(service)
        await asyncio.wait_for(jumped.wait(), LIMIT)
        fresh = await submit_one(service, email_to(1))
        assert (await ended(service, fresh)).status is Status.SENT
        kept = await ended(service, deferred)
        assert kept.status is Status.SENT
        assert kept.tries == 2
        assert all(0 <= attempt.seconds < LIMIT for attempt in kept.attempts)
    assert len(relay.received) == 2


async def test_f37_expiry_is_judged_by_the_wall_clock(relay, tmp_path):
    """A message that is too old after a jump forward expires and is not sent."""
    clock = WallClock()
    relay.answer("GREETING", "421 not now")
    async with notifying(tmp_path, relay, clock=clock) as service:
        id = await submit_one(service)
        await until_status(service, id, Status.DEFERRED)
        clock.shift = timedelta(days=3)
        relay.answer("GREETING", None)
        assert (await ended(service, id)).status is Status.EXPIRED
    assert not relay.received


async def test_f37_a_jump_forward_is_no_stampede(relay, tmp_path):
    """A backlog that has all become due at once leaves as many at a time as ever."""
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock) as service:
        later = clock() + timedelta(minutes=50)
        ids = await submit(service, *(email(f"n{n}@example.org", send_at=later) for n in range(40)))
        clock.shift = timedelta(hours=1)
        relay.hold("DOT")
        await submit_one(service)  # it wakes the dispatcher
        await relay.until_held(4)
        assert relay.open <= 4
        relay.release()
        for id in ids:
            assert (await ended(service, id)).status is Status.SENT
    assert set(Counter(r for _, r, _ in relay.received).values()) == {1}


# F42, F43: many at a time

BUDGET = 400 * 1024 * 1024  # octets of memory, with fifty times 10 MB at the door
AFTERWARDS = 220 * 1024 * 1024  # once they are on disk; workers have some of them in hand


async def test_f42_fifty_large_messages_at_a_time_are_no_danger(relay, tmp_path):
    """
    Each is taken or told to come again; memory stays within its budget, and is given back;
    nothing is lost.
    """
    relay.answer("GREETING", "421 not now")
    async with server_for(relay, tmp_path / "s") as server, http(server) as client:
        watched = psutil.Process(server.process.pid)
        most = 0
        attachment = {"filename": "a.bin", "content": "QUJD" * 2_500_000}

        async def post(number):
            body = message(number, attachments=[attachment])
            return await client.post("/v1/messages", json=body, timeout=90)

        posting = [asyncio.create_task(post(number)) for number in range(50)]
        while not all(task.done() for task in posting):
            most = max(most, watched.memory_info().rss)
            await asyncio.sleep(0.02)
        answers = [task.result() for task in posting]
        # 408 where its body stood still while others waited, as on a machine that is busy.
        assert {each.status_code for each in answers} <= {202, 408, 503}
        assert all("Retry-After" in each.headers for each in answers if each.status_code == 503)
        assert sum(each.status_code == 202 for each in answers) >= 10
        assert most < BUDGET, most
        await until(lambda: watched.memory_info().rss < AFTERWARDS)
        small = await client.post("/v1/messages", json=message(99))
        assert small.status_code == 202


async def test_f43_one_key_fifty_times_at_once_is_one_message(relay, tmp_path):
    """One id and one mail; under the same key another body is a 422."""
    async with notifying(tmp_path, relay) as service, client_of(service) as client:
        headers = JSON | {"Idempotency-Key": "order-17"}
        answers = await asyncio.gather(
            *(client.post("/v1/messages", json=LETTER, headers=headers) for _ in range(50))
        )
        assert {each.status_code for each in answers} == {202}
        (id,) = {each.json()["id"] for each in answers}
        assert sum("Idempotency-Replayed" in each.headers for each in answers) == 49
        other = await client.post("/v1/messages", json=LETTER | {"text": "x"}, headers=headers)
        assert other.status_code == 422
        await ended(service, id)
    assert len(relay.received) == 1


# F47


async def test_f47_one_connection_alone_writes_and_checkpoints(tmp_path):
    """Under load and at the end: no other connection runs a statement that could do either."""
    async with notifying(tmp_path) as service:
        journal, said = service.journal, []
        for thread in (journal._reads, *journal._searches):
            await thread.ask(lambda db: db.set_trace_callback(said.append))
        for number in range(30):
            await submit_one(service, email_to(number))
            await journal.find(Filter())
        assert said
        words = {statement.split()[0].upper() for statement in said}
        assert words <= {"SELECT", "WITH", "PRAGMA", "--"}
        assert not any("checkpoint" in statement for statement in said)
        with pytest.raises(sqlite3.OperationalError):
            raise await _error_of(journal)


async def _error_of(journal):
    def write(db):
        try:
            db.execute("DELETE FROM words")
        except sqlite3.Error as error:
            return error
        return None

    return await journal._reads.ask(write)


async def test_f48_expired_while_the_relay_is_down_it_is_never_sent_later(relay, tmp_path):
    """The reason says so, with the relay's last word; when the relay is back nothing comes."""
    relay.answer("GREETING", "421 4.3.2 under repair")
    clock = WallClock()
    async with notifying(tmp_path, relay, clock=clock) as service:
        id = await submit_one(service, email(ttl=60))
        await until_status(service, id, Status.DEFERRED)
        clock.shift = timedelta(seconds=60)
        gone = await ended(service, id)
        assert gone.status is Status.EXPIRED
        assert "under repair" in gone.reason
        relay.answer("GREETING", None)
        service.transports.relays.resume("first")
        other = await submit_one(service, email_to(1))
        assert (await ended(service, other)).status is Status.SENT
    assert [recipients for _, recipients, _ in relay.received] == [("n1@example.org",)]
