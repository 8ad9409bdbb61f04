"""Room for large bodies: it is taken by what has arrived, and nobody is shut out."""

import asyncio
import contextlib
import json

import pytest

from notifier.errors import Unavailable
from notifier.web import body_memory
from notifier.web.body_memory import BodyMemory, Place
from tests.process import Server, message
from tests.waiting import LIMIT

LARGEST = 1_000_000
BODIES = 4


@pytest.fixture(autouse=True)
def room_for_four(monkeypatch):
    monkeypatch.setattr(body_memory, "BODIES", BODIES)


class Body:
    """A body that arrives piece by piece, as the test says."""

    def __init__(self, of, caller):
        self.pieces = asyncio.Queue()
        self.place = Place(of, caller, self.pieces.get)
        self.room = of

    def taking(self, octets, *, last=False):
        self.pieces.put_nowait(
            {"type": "http.request", "body": b"x" * octets, "more_body": not last}
        )
        return asyncio.ensure_future(self.place.receive())

    def leave(self):
        self.room.give_back(self.place)


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def full_of(of, caller, bodies):
    """So many of the largest size, of which the last octets have not come."""
    taken = [Body(of, caller) for _ in range(bodies)]
    for body in taken:
        await body.taking(LARGEST)
    return taken


async def test_body_that_has_not_arrived_takes_no_memory():
    """A hundred that have begun, with small pieces: another one has all the room."""
    of = BodyMemory(largest=LARGEST)
    begun = [Body(of, "a") for _ in range(100)]
    for body in begun:
        await body.taking(100_000)
    assert [body.place.held for body in begun] == [0] * 100
    for body in await full_of(of, "b", BODIES - 1):
        assert body.place.held == LARGEST


async def test_one_caller_cannot_fill_the_room():
    """Its next waits; another caller's does not."""
    of = BodyMemory(largest=LARGEST)
    await full_of(of, "a", BODIES - 1)
    own = Body(of, "a").taking(LARGEST)
    await settled()
    assert not own.done()
    await asyncio.wait_for(Body(of, "b").taking(LARGEST), LIMIT)
    own.cancel()


async def test_callers_have_turns():
    """Three of one wait, then one of another: the other's is the second to be let in."""
    of = BodyMemory(largest=LARGEST)
    held = await full_of(of, "x", 2) + await full_of(of, "y", 2)
    waiting = [Body(of, "a") for _ in range(3)]
    coming = [body.taking(LARGEST) for body in waiting]
    await settled()
    other = Body(of, "b")
    others = other.taking(LARGEST)
    await settled()
    held[0].leave()
    await settled()
    assert [each.done() for each in coming] == [True, False, False]
    held[1].leave()
    await settled()
    assert others.done()
    assert [each.done() for each in coming] == [True, False, False]
    for each in coming:
        each.cancel()


async def test_the_first_to_begin_comes_to_its_end():
    """Eight at once, each with half of it here: none waits for ever."""
    of = BodyMemory(largest=LARGEST)
    bodies = [Body(of, "ab"[number % 2]) for number in range(8)]
    for body in bodies:
        await body.taking(LARGEST // 2)
    rest = [body.taking(LARGEST // 2, last=True) for body in bodies]
    for body, coming in zip(bodies, rest, strict=True):
        async with asyncio.timeout(LIMIT):
            await coming
        body.leave()


async def test_a_request_that_gives_up_lets_the_next_one_in():
    """What stood behind it in its caller's line, and fits, is let in at once."""
    of = BodyMemory(largest=LARGEST)
    held = await full_of(of, "x", 2) + await full_of(of, "y", 1)
    part = Body(of, "y")
    await part.taking(LARGEST // 2)
    large, small = Body(of, "a"), Body(of, "a")
    first = large.taking(LARGEST)
    await settled()
    second = small.taking(LARGEST // 2)
    await settled()
    assert not first.done()
    assert not second.done()
    first.cancel()
    await settled()
    assert second.done()
    for body in (*held, part, small):
        body.leave()
    assert of._left == BODIES * LARGEST


async def test_a_request_that_waits_too_long_gets_503(monkeypatch):
    """503, and it holds nothing afterwards."""
    monkeypatch.setattr(body_memory, "WAIT_SECONDS", 0.01)
    of = BodyMemory(largest=LARGEST)
    await full_of(of, "a", BODIES - 1)
    body = Body(of, "a")
    with pytest.raises(Unavailable):
        await body.taking(LARGEST)
    body.leave()
    assert not of.contended


HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%b\r\n"


async def posted(server, size):
    """The status that a large message gets."""
    body = json.dumps(message(1, text=("x" * 76 + "\n") * (size // 80))).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD % (b"Content-Length: %d\r\n" % len(body)) + body)
    async with asyncio.timeout(LIMIT):
        status = int((await reader.readline()).split()[1])
    writer.close()
    return status


@pytest.mark.parametrize(
    "claim", [b"Content-Length: 15000000\r\n", b"Transfer-Encoding: chunked\r\n"]
)
async def test_claims_shut_out_no_other_request(tmp_path, claim):
    """Eight requests that say how much they will bring and bring nothing: others are served."""
    async with Server(tmp_path) as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
        for _, writer in silent:
            writer.write(HEAD % claim)
        assert await posted(server, 14_000_000) == 202
        for _, writer in silent:
            writer.close()


async def test_silent_bodies_lose_their_place(tmp_path):
    """Four that have brought most of what they said and then nothing: another is served soon."""
    async with Server(tmp_path, max_body="2MB") as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
        for _, writer in silent:
            writer.write(HEAD % b"Content-Length: 2000000\r\n" + b" " * 1_900_000)
            await writer.drain()
        assert await posted(server, 1_900_000) == 202
        for _, writer in silent:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
