"""Streams of server-sent events: how they begin, what keeps them, and how they end."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from notifier.errors import MessageNotFound
from notifier.web.sse import KEEP_ALIVE, Stream
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

    def follow(self, events, **terms):
        stream = Stream(events, **terms)
        return asyncio.ensure_future(stream({}, self.receive, self.send))


async def one_event(stream):
    await stream.write(b"event")
    await asyncio.Event().wait()


async def quiet_after_one_event(stream):
    await stream.write(b"event")
    while True:
        await asyncio.sleep(0.001)
        await stream.keep_alive()


async def ended(*streams):
    async with asyncio.timeout(LIMIT):
        return await asyncio.gather(*streams)


async def test_a_silent_stream_says_that_it_is_still_there():
    """Again and again; one with events meanwhile does not."""
    silent, busy = Reader(), Reader()

    async def many_events(stream):
        while silent.read.count(KEEP_ALIVE) < 3:
            await stream.write(b"event")
            await stream.keep_alive()
            await asyncio.sleep(0.001)

    following = silent.follow(quiet_after_one_event, quiet=0.2)
    await ended(busy.follow(many_events, quiet=0.5))  # it goes on for longer than that
    assert silent.read[:4] == ["http.response.start", b"event", KEEP_ALIVE, KEEP_ALIVE]
    assert KEEP_ALIVE not in busy.read
    silent.leaves.set()
    await ended(following)


async def test_a_reader_that_takes_nothing_is_not_waited_for():
    """Nothing gathers for it, not even a task, and others get what they are to get."""
    stuck, well = Reader(), Reader()
    streams = [each.follow(quiet_after_one_event, quiet=0.02) for each in (stuck, well)]
    await until(lambda: stuck.read and well.read)
    stuck.room.clear()
    before = len(asyncio.all_tasks())
    read = stuck.read.count(KEEP_ALIVE)
    await until(lambda: well.read.count(KEEP_ALIVE) >= 5)
    assert len(asyncio.all_tasks()) == before
    assert stuck.read.count(KEEP_ALIVE) == read
    stuck.room.set()
    await until(lambda: stuck.read.count(KEEP_ALIVE) > read)
    for each in (stuck, well):
        each.leaves.set()
    await ended(*streams)


async def test_failure_before_the_first_event_is_no_stream():
    """The exception is raised, to be answered as an error; nothing has been sent yet."""
    reader = Reader()

    async def fail(stream):
        raise MessageNotFound("x")

    with pytest.raises(MessageNotFound):
        await ended(reader.follow(fail))
    assert not reader.read


async def test_a_stream_that_the_server_stops_is_cancelled():
    """It does not end as if its reader had gone; and what writes to it ends too."""
    reader = Reader()
    stopped = asyncio.Event()

    async def write(stream):
        with contextlib.suppress(asyncio.CancelledError):
            await one_event(stream)
        stopped.set()
        raise asyncio.CancelledError

    following = reader.follow(write)
    await until(lambda: reader.read)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended(following)
    assert stopped.is_set()


async def test_a_stream_is_finished_once_its_reader_may_not_read_on():
    """ASGI's word that the reader has gone may be ours: it gets the end of its stream."""
    reader = Reader()
    following = reader.follow(one_event)
    await until(lambda: b"event" in reader.read)
    reader.leaves.set()
    await ended(following)
    assert reader.read == ["http.response.start", b"event", b""]


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


async def read_until(reader, words):
    """What has been read when these words have come."""
    return await reader.readuntil(words)


async def test_a_stream_shows_the_state_and_then_each_change(tmp_path):
    """A late reader has missed nothing that matters, and gets an event when the service stops."""
    async with notifying(tmp_path) as service, listening(service) as port:
        id = await submit_one(service, email(send_at=now() + timedelta(days=1)))
        async with following(port, id) as reader:
            assert b"event: message\ndata: " in await read_until(reader, b'"status":"scheduled"')
            await service.send_now(id)
            await read_until(reader, b'"status":"sent"')
            async with following(port, id) as late:
                await read_until(late, b'"status":"sent"')
                service.drain()
                for each in (reader, late):
                    assert b"event: closing\ndata: {}\n\n" in await read_until(
                        each, b"\r\n0\r\n\r\n"
                    )


async def test_a_reader_that_goes_is_forgotten(tmp_path):
    """At once, though nothing happens to its message."""
    async with notifying(tmp_path) as service, listening(service) as port:
        id = await submit_one(service, email(send_at=now() + timedelta(days=1)))
        async with following(port, id) as reader:
            await read_until(reader, b'"status":"scheduled"')
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
