"""One client's connection to the real server: answers that leave in one piece, whatever it does."""

import asyncio
import contextlib
import json
import time

import psutil
import pytest

from notifier.settings import Settings
from tests.process import Server, message
from tests.waiting import LIMIT

LARGE = 4 * 1024 * 1024  # octets, more than any socket buffer takes


@pytest.fixture
async def server(tmp_path):
    async with Server(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def connected(server):
    """A connection whose reader takes little that it is not asked to take."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    try:
        async with asyncio.timeout(LIMIT):
            yield reader, writer
    finally:
        writer.close()


def request(method, path, body=b""):
    length = (
        b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body) if body else b""
    )
    return b"%b %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n%b" % (method, path, length, body)


async def answer(reader):
    """The next answer on a connection: its status, and its body."""
    status = int((await reader.readline()).split()[1])
    length = 0
    while (line := await reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, await reader.readexactly(length)


def letter(number, text="Hi."):
    return request(b"POST", b"/v1/messages", json.dumps(message(number, text=text)).encode())


async def test_idle_connections_shut_out_no_other_client(tmp_path):
    """With 128 files, 200 that say nothing: the oldest are closed, a request is answered."""
    server = Server(tmp_path)
    server.under = ("prlimit", "--nofile=128:128")
    async with server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
        async with connected(server) as (reader, writer):
            writer.write(letter(1))
            assert (await answer(reader))[0] == 202
            async with asyncio.timeout(LIMIT):
                assert await idle[0][0].read(1) == b""
            writer.write(request(b"GET", b"/livez"))  # it is younger than most
            assert (await answer(reader))[0] == 200
        for _, writer in idle:
            writer.close()
        told = [line for line in server.log if line["event"] == "too_many_connections"]
    assert len(told) == 1
    assert 32 <= told[0]["most"] < 128


async def test_streams_are_not_closed_for_idle_connections(tmp_path):
    """Who waits for events is served, however old the connection is."""
    server = Server(tmp_path)
    server.under = ("prlimit", "--nofile=128:128")
    async with server, connected(server) as (reader, writer):
        writer.write(request(b"GET", b"/v1/events"))
        assert b" 200 " in await reader.readline()
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
        async with connected(server) as (other, asking):
            asking.write(letter(1))
            id = json.loads((await answer(other))[1])["id"].encode()
        told = b""
        while id not in told:
            piece = await reader.read(65536)
            assert piece
            told += piece
        for _, closing in idle:
            closing.close()


async def test_the_soft_limit_of_files_is_raised(tmp_path):
    """To the hard one, which nobody need be asked for."""
    server = Server(tmp_path)
    server.under = ("prlimit", "--nofile=256:4096")
    async with server:
        assert psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (4096, 4096)


async def test_a_connection_may_be_idle_for_as_long_as_the_setting_says(tmp_path):
    """NOTIFIER_KEEP_ALIVE, 75 s if nothing is said: a load balancer's own limit comes first."""
    assert Settings().keep_alive == 75
    async with Server(tmp_path, keep_alive="1s") as server, connected(server) as (reader, writer):
        begun = time.monotonic()  # the service counts from its answer
        writer.write(request(b"GET", b"/livez"))
        assert (await answer(reader))[0] == 200
        assert await reader.read(1) == b""
        assert time.monotonic() - begun > 0.9


async def test_a_chunked_body_past_the_limit_gets_its_413_at_once(tmp_path):
    """While the client stalls in its middle, and while it goes on; others are served on."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with Server(tmp_path, max_body="100KB") as server:
        async with connected(server) as (reader, writer):
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2)
            assert (await answer(reader))[0] == 413
        async with connected(server) as (reader, writer):
            writer.write(head + b"Content-Length: 16000000\r\n\r\n" + b" " * 15_900_000)
            assert (await answer(reader))[0] == 413
            writer.write(b" " * 100_000 + request(b"GET", b"/livez"))
            assert (await answer(reader))[0] == 200


async def test_requests_in_one_piece_are_answered_in_their_order(server):
    """Good, bad and unknown ones, twenty in one write on one connection: each gets its own."""
    async with connected(server) as (reader, writer):
        asked = [
            piece
            for number in range(20)
            for piece in (
                letter(number),
                request(b"GET", b"/v1/messages/unknown-%d" % number),
                request(b"POST", b"/v1/messages", b"{"),
            )
        ]
        writer.write(b"".join(asked))
        for number in range(20):
            status, body = await answer(reader)
            assert status == 202
            assert json.loads(body)["subject"] == f"Message {number}"
            status, body = await answer(reader)
            assert status == 404
            assert f"unknown-{number}" in body.decode()
            assert (await answer(reader))[0] == 400


async def test_a_large_answer_is_whole_however_late_it_is_read(server):
    """Larger than all buffers, asked for three times before any is read; then one more request."""
    async with connected(server) as (reader, writer):
        writer.write(letter(1, text="\n".join(["x" * 70] * (LARGE // 71))))
        id = json.loads((await answer(reader))[1])["id"]
        source = request(b"GET", f"/v1/messages/{id}/source".encode())
        writer.write(source * 3 + request(b"GET", b"/livez"))
        async with connected(server) as (other, asking):  # nobody else waits for this one
            for _ in range(20):
                asking.write(request(b"GET", b"/livez"))
                assert (await answer(other))[0] == 200
        bodies = [await answer(reader) for _ in range(3)]
        assert {status for status, _ in bodies} == {200}
        assert len({body for _, body in bodies}) == 1
        assert bodies[0][1].count(b"x" * 70) == LARGE // 71
        assert (await answer(reader))[0] == 200


async def test_the_last_answer_leaves_before_the_connection_is_closed(server):
    """A client that asks to close, or does not speak HTTP, gets a whole answer before the end."""
    for asked, status in (
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"what is this\r\n\r\n", 400),
    ):
        async with connected(server) as (reader, writer):
            writer.write(asked)
            whole = await reader.read(-1)
            head, _, body = whole.partition(b"\r\n\r\n")
            assert int(head.split()[1]) == status
            assert body


async def test_events_come_one_by_one_and_at_once(server):
    """A stream's head does not wait for its first event, nor an event for the next one."""
    async with connected(server) as (reader, writer), connected(server) as (other, asking):
        writer.write(request(b"GET", b"/v1/events"))
        assert b" 200 " in await reader.readline()
        for number in range(3):
            asking.write(letter(number))
            id = json.loads((await answer(other))[1])["id"].encode()
            told = b""
            while id not in told:
                told += await reader.read(65536)
