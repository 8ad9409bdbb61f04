"""Streams of server-sent events: how they begin, what keeps them, and how they end."""

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta

import pytest
import uvloop

from notifier.errors import MessageNotFound
from notifier.web.sse import KEEP_ALIVE, PORTION, KeepAlive, Stream
from tests.service import email, notifying, now, submit_one
from tests.waiting import LIMIT, until
from tests.web_client import listening, problem_of, serving


class Reader:
    """Takes what a stream writes, as a server would hand it on, until it `leaves` or has enough."""

    def __init__(self):
        self.read = []
        self.room = asyncio.Event()
        self.room.set()
        self.leaves = asyncio.Event()

    async def send(self, message):
        await self.room.wait()
        self.read.append(message.get("body", message["type"]))

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    def follow(self, tell, keep_alive):
        stream = Stream(tell, keep_alive)
        return asyncio.ensure_future(stream({}, self.receive, self.send))


async def one_event(stream):
    await stream.write(b"event")
    await asyncio.Event().wait()


async def ended(*streams):
    async with asyncio.timeout(LIMIT):
        return await asyncio.gather(*streams)


async def test_a_silent_stream_says_that_it_is_still_there():
    """Again and again; one that speaks meanwhile need not."""
    keep_alive = KeepAlive(quiet=0.05)
    silent, busy = Reader(), Reader()

    async def speak(stream):
        while silent.read.count(KEEP_ALIVE) < 3:
            await stream.write(b"event")
            await asyncio.sleep(0.001)

    following = silent.follow(one_event, keep_alive)
    await ended(busy.follow(speak, keep_alive))
    assert silent.read[:4] == ["http.response.start", b"event", KEEP_ALIVE, KEEP_ALIVE]
    assert KEEP_ALIVE not in busy.read
    silent.leaves.set()
    await ended(following)
    assert not keep_alive._due


def test_thousands_are_kept_in_portions():
    """All are due at the same time, and get theirs; in no turn of the loop more than a few."""
    count = 10 * PORTION

    async def keep():
        keep_alive = KeepAlive(quiet=0.05)
        readers = [Reader() for _ in range(count)]
        turns = {}

        async def told(stream):
            await stream.write(b"event")
            send = stream._send

            async def noting(message):
                turns.setdefault(stream, keep_alive._timer)
                await send(message)

            stream._send = noting
            await asyncio.Event().wait()

        streams = [reader.follow(told, keep_alive) for reader in readers]
        await until(lambda: len(turns) == count)
        for reader in readers:
            reader.leaves.set()
        await ended(*streams)
        return Counter(map(id, turns.values()))

    for loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=loop) as runner:
            turns = runner.run(keep())
        assert max(turns.values()) <= PORTION
        assert sum(turns.values()) == count


async def test_a_reader_that_takes_nothing_is_not_waited_for():
    """Nothing gathers for it, not even a task, and others get what they are to get."""
    keep_alive = KeepAlive(quiet=0.02)
    stuck, well = Reader(), Reader()
    streams = [each.follow(one_event, keep_alive) for each in (stuck, well)]
    await until(lambda: stuck.read and well.read)
    stuck.room.clear()
    before = len(asyncio.all_tasks())
    await until(lambda: well.read.count(KEEP_ALIVE) >= 5)
    assert len(asyncio.all_tasks()) == before
    assert KEEP_ALIVE not in stuck.read
    stuck.room.set()
    await until(lambda: KEEP_ALIVE in stuck.read)
    assert stuck.read.count(KEEP_ALIVE) == 1
    for each in (stuck, well):
        each.leaves.set()
    await ended(*streams)


async def test_what_fails_before_the_first_event_is_no_stream():
    """It is raised, for whoever answers such things; nothing has been said yet."""
    reader, keep_alive = Reader(), KeepAlive()

    async def fail(stream):
        raise MessageNotFound("x")

    with pytest.raises(MessageNotFound):
        await ended(reader.follow(fail, keep_alive))
    assert not reader.read


async def test_a_stream_that_the_server_stops_is_cancelled():
    """It does not end as if its reader had gone; and what it was told from ends too."""
    reader, keep_alive = Reader(), KeepAlive()
    stopped = asyncio.Event()

    async def tell(stream):
        with contextlib.suppress(asyncio.CancelledError):
            await one_event(stream)
        stopped.set()
        raise asyncio.CancelledError

    following = reader.follow(tell, keep_alive)
    await until(lambda: reader.read)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended(following)
    assert stopped.is_set()
    assert not keep_alive._due


# Of one message


@contextlib.asynccontextmanager
async def following(port, id):
    """The lines of the stream of one message, on a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/events?message=%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % id.encode())
    try:
        async with asyncio.timeout(LIMIT):
            yield reader
    finally:
        writer.close()


async def told(reader, words):
    """What has been read when these words have come."""
    return await reader.readuntil(words)


async def test_a_message_is_told_as_it_is_and_then_as_it_becomes(tmp_path):
    """Whoever comes late has missed nothing that matters; and is told when we stop."""
    async with notifying(tmp_path) as service, listening(service) as port:
        id = await submit_one(service, email(send_at=now() + timedelta(days=1)))
        async with following(port, id) as reader:
            assert b"event: message\ndata: " in await told(reader, b'"status":"scheduled"')
            await service.send_now(id)
            await told(reader, b'"status":"sent"')
            async with following(port, id) as late:
                await told(late, b'"status":"sent"')
                service.drain()
                for each in (reader, late):
                    assert b"event: closing\ndata: {}\n\n" in await told(each, b"\r\n0\r\n\r\n")


async def test_a_reader_that_goes_is_forgotten(tmp_path):
    """At once, though nothing happens to its message."""
    async with notifying(tmp_path) as service, listening(service) as port:
        id = await submit_one(service, email(send_at=now() + timedelta(days=1)))
        async with following(port, id) as reader:
            await told(reader, b'"status":"scheduled"')
            assert service.feed.followed == (id,)
        await until(lambda: not service.feed.followed)


@pytest.mark.parametrize("id", ["none", "01a21320c233db91e9bc0f0821811b5e", "%00", "%F0%9F%98%80"])
async def test_a_message_that_is_not_there_cannot_be_followed(tmp_path, id):
    """404, as where one looks at it; and nobody is left waiting for it."""
    async with serving(tmp_path) as (service, client):
        answer = await client.get(f"/v1/events?message={id}")
        problem = problem_of(answer, 404, "message-not-found")
        assert "no message" in problem["detail"]
        assert not service.feed.followed
