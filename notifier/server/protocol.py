"""
Clients' connections: uvicorn's, with an end to their patience and to their number. uvicorn itself
waits for ever for the rest of a request, takes a header of any length, waits for ever for its
answer to be read, and takes connections until there are no files left.
"""

import asyncio
import json
import math
import sys
import time
from collections import OrderedDict
from collections.abc import Iterable
from http import HTTPStatus
from itertools import islice
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0  # for a request's line and header, from its first octet or the connection on
HEAD_BYTES = 64 * 1024  # and what came in one piece with the last of them
BODY_SECONDS = 30.0  # without progress of its body; slower than this, in octets a second, is none:
BODY_RATE = 16 * 1024
LINGER_SECONDS = 30.0  # in which a body is passed over that was answered before its end
UNREAD_SECONDS = 60.0  # without the client reading any of its answer
LOOK_TURNS = 10  # in which all clients have been looked at
TELL_SECONDS = 60.0  # between two lines of the log that tell of too many connections
LARGE_PIECE = 64 * 1024  # octets: not copied to be sent with others in one piece

log = structlog.get_logger()


class Corked:
    """
    A transport that sends what is written in one turn of the loop as one piece: uvicorn writes
    the head of an answer and then its body, and each would wake the client.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def _flush(self) -> None:
        if not (pieces := self._pieces):
            return
        self._pieces = []
        if sum(map(len, pieces)) < LARGE_PIECE:
            self._transport.write(b"".join(pieces))
        else:
            # A file that many ask for and do not read is in memory once.
            for piece in pieces:
                self._transport.write(piece)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connections:
    """
    At most so many. Where one more comes, the one that has kept us waiting for a request, or for
    the rest of one, for longest is closed; where each is being served, the one that came.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Client] = set()
        self._waiting: OrderedDict[Client, None] = OrderedDict()  # the oldest first
        self._told = -math.inf
        self._closed = 0

    def came(self, client: "Client") -> None:
        self._open.add(client)
        self._waiting[client] = None
        while len(self._open) > self._most:
            oldest = next(iter(self._waiting))
            self.went(oldest)
            oldest.transport.abort()
            self._closed += 1
            self._tell()

    def went(self, client: "Client") -> None:
        self._open.discard(client)
        self._waiting.pop(client, None)

    def serve(self, client: "Client") -> None:
        """All that it asks has come."""
        self._waiting.pop(client, None)

    def wait(self, client: "Client") -> None:
        """It is its turn to send something."""
        if client in self._open:
            self._waiting[client] = None
            self._waiting.move_to_end(client)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            log.warning(
                "too_many_connections",
                most=self._most,
                closed=self._closed,
                why="the connections that waited longest were closed; `ulimit -n` allows no more",
            )


class Client(HttpToolsProtocol):
    """
    A request that does not come to its end in time is answered with 408, a header without an
    end with 431, and the connection closed. The time that we take ourselves does not count.
    """

    among = Connections(most=sys.maxsize)
    _deadline = 0.0  # by the loop's clock: of this head, or of the next progress of this body
    _head = 0  # octets of an unfinished head, but for those that came with its begin
    _body: int | None = None  # octets since the last look; None: it is no body that is waited for
    _whole = False  # a request has come, and no other has begun
    _unread_since: float | None = None

    def connection_made(self, transport: object) -> None:
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # uvicorn wants less than it is given
        self._deadline = self.loop.time() + HEAD_SECONDS
        self.among.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.among.went(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._body is None and not self._whole:
            self._head += len(data)
            if self._head > HEAD_BYTES + len(data):
                return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._whole = False
        self._deadline = self.loop.time() + HEAD_SECONDS

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head = self._body = 0
        self._deadline = self.loop.time() + BODY_SECONDS

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._body = (self._body or 0) + len(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._body = None
        self._whole = True
        if not self.cycle.response_complete:
            self.among.serve(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # and no other has been asked for meanwhile
            self.among.wait(self)
        if self._body is not None:
            self._deadline = self.loop.time() + LINGER_SECONDS

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None

    def look(self, now: float) -> None:
        """
        Give up a client that has kept us waiting for too long. To be called again and again,
        so it must be quick with those, maybe thousands, who wait for us.
        """
        if self._unread_since is not None and now - self._unread_since > UNREAD_SECONDS:
            self.transport.abort()
        elif self._whole:
            if self.timeout_keep_alive_task is None and self.cycle.response_complete:
                # Something has come that is not the begin of a request, an empty line say.
                self._whole, self._deadline = False, now + HEAD_SECONDS
        elif self._body is not None:
            self._look_at_body(now)
        elif now > self._deadline and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _look_at_body(self, now: float) -> None:
        if self.cycle.response_complete:
            if now > self._deadline:
                self.transport.close()
            return
        arrived, self._body = self._body or 0, 0
        if self.flow.read_paused:  # it is we who do not read
            self._deadline = now + BODY_SECONDS
        else:
            self._deadline = min(now + BODY_SECONDS, self._deadline + arrived / BODY_RATE)
        if arrived:
            self.among.wait(self)
        if now > self._deadline and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in the application's place, unless it has begun to, and hang up."""
        cycle = self.cycle
        underway = cycle is not None and not cycle.response_complete
        if not (underway and cycle.response_started):
            self.transport.write(_problem(status))
        if underway:
            cycle.disconnected = True  # what it says from here on goes nowhere
            cycle.message_event.set()
        self.transport.close()


def look_at(clients: Iterable[object], now: float, turn: int) -> None:
    """
    Look at one in ten of a server's connections, in the next turn at others: at thousands in
    one go would hold up the loop.
    """
    for client in [*islice(clients, turn % LOOK_TURNS, None, LOOK_TURNS)]:
        if isinstance(client, Client):
            client.look(now)


def _problem(status: HTTPStatus) -> bytes:
    body = json.dumps(
        {
            "type": "about:blank",
            "title": status.phrase,
            "status": status,
            "detail": status.description or status.phrase,
        }
    ).encode()
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (status, status.phrase.encode(), len(body), body)
    )
