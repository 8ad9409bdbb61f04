"""
One client's connection: uvicorn's, with an end to its patience. uvicorn itself waits for ever
for the rest of a request, takes a header of any length, and for ever for its answer to be read.
"""

import asyncio
import json
from collections.abc import Iterable
from http import HTTPStatus
from itertools import islice
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0  # for a request's line and header, from its first octet or the connection on
HEAD_BYTES = 64 * 1024  # and what came in one piece with the last of them
BODY_SECONDS = 30.0  # for its body, and a second more for each so many octets that have come:
BODY_RATE = 16 * 1024
UNREAD_SECONDS = 60.0  # without the client reading any of its answer
LOOK_TURNS = 10  # in which all clients have been looked at


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
        if pieces := self._pieces:
            self._pieces = []
            self._transport.write(b"".join(pieces))

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Client(HttpToolsProtocol):
    """
    A request that does not come to its end in time is answered with 408, a header without an
    end with 431, and the connection closed. The time that we take ourselves does not count.
    """

    _began = 0.0  # by the loop's clock: this head, or this body
    _head = 0  # octets of an unfinished head, but for those that came with its begin
    _body: int | None = None  # octets of an unfinished body; None: it is no body that is waited for
    _whole = False  # a request has come, and no other has begun
    _unread_since: float | None = None

    def connection_made(self, transport: object) -> None:
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # uvicorn wants less than it is given
        self._began = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._body is None and not self._whole:
            self._head += len(data)
            if self._head > HEAD_BYTES + len(data):
                return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._whole = False
        self._began = self.loop.time()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head = self._body = 0
        self._began = self.loop.time()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._body = (self._body or 0) + len(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._body = None
        self._whole = True

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
                self._whole, self._began = False, now
        elif self.flow.read_paused:
            self._began = now  # it is we who do not read
        elif now - self._began > self._patience and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    @property
    def _patience(self) -> float:
        return HEAD_SECONDS if self._body is None else BODY_SECONDS + self._body / BODY_RATE

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in the application's place, unless it has begun to, and hang up."""
        cycle = self.cycle
        underway = cycle is not None and not cycle.response_complete
        if not (underway and cycle.response_started):
            self.transport.write(_problem(status))
        if underway:
            cycle.disconnected = True  # what it says from here on goes nowhere
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
