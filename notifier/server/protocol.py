"""
uvicorn's HTTP protocol with time limits, a limit on headers, and a limit on connections. uvicorn
itself waits forever for the rest of a request and for a client that does not read, takes a header
of any length, and accepts connections until the process has no file descriptors left.

It uses `cycle`, `flow` and `timeout_keep_alive_task` of uvicorn, which are not public; so
pyproject.toml pins uvicorn to a minor version.
"""

import asyncio
import json
import math
import sys
import time
from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto
from http import HTTPStatus
from itertools import islice
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0  # for the request line and header; counts from the first octet or the connect
HEAD_BYTES = 64 * 1024  # largest header, not counting the read that exceeds it
BODY_SECONDS = 30.0  # without progress of the body
BODY_RATE = 16 * 1024  # octets a second; a slower body counts as no progress
LINGER_SECONDS = 30.0  # for the rest of a body that was answered before its end
UNREAD_SECONDS = 60.0  # without the client reading any of its answer
CHECK_TICKS = 10  # ticks of the server in which all clients are checked once
LOG_SECONDS = 60.0  # between two log lines about too many connections
LARGE_PIECE = 64 * 1024  # octets; larger pieces are not copied to be joined with others

log = structlog.get_logger()


class CorkedTransport:
    """
    A transport that sends all writes of one turn of the loop as one piece.

    uvicorn writes the head and the body of an answer separately, and each write would wake the
    client.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        # What uvicorn asks for each request. To look it up by `__getattr__` takes a microsecond.
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
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
            # Not copied: a file that many clients fetch slowly is in memory once.
            for piece in pieces:
                self._transport.write(piece)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class ConnectionLimit:
    """
    At most `most` open connections. One more closes the connection that has waited longest for its
    client to send a request, or the rest of one. If all are being served, the new one is closed.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        # Without those whose request is complete, and worked on. The first to be closed is first.
        self.waiting: OrderedDict[Client, None] = OrderedDict()
        self._logged_at = -math.inf
        self._closed = 0

    def close_one(self) -> None:
        """Close the connection that has waited longest."""
        client, _ = self.waiting.popitem(last=False)
        client.connections.discard(client)  # it no longer counts
        client.transport.abort()
        self._closed += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning(
                "too_many_connections",
                most=self.most,
                closed=self._closed,
                why=(
                    "the process may open no more files (`ulimit -n`), so the connections"
                    " that waited longest were closed"
                ),
            )


class Awaited(Enum):
    """The part of a request that is still to come."""

    HEAD = auto()  # nothing has come yet, or the header is not complete
    BODY = auto()
    NOTHING = auto()


# Bound once: Python 3.11 takes a tenth of a microsecond to find a member in its enum.
HEAD, BODY, NOTHING = Awaited


class Client(HttpToolsProtocol):
    """
    One client's connection. A request that is not complete in time is answered with 408, a header
    that is too large with 431; then the connection is closed. Our own time does not count.
    """

    connection_limit = ConnectionLimit(most=sys.maxsize)
    _request: object = None  # the scope of the latest request that has begun
    _headed: object = None  # that of the latest whose header is complete
    _awaited: Awaited = HEAD
    _deadline = 0.0  # by the loop's clock, for the header or for the next progress of the body
    _head = 0  # octets of the unfinished header, without those of its first read
    _body = 0  # octets of the body since the last check
    _unread_since: float | None = None

    def connection_made(self, transport: object) -> None:
        super().connection_made(CorkedTransport(transport, self.loop))  # type: ignore[arg-type]  # uvicorn needs no more of a transport than this has
        self._deadline = self.loop.time() + HEAD_SECONDS
        self.connection_limit.waiting[self] = None
        if len(self.connections) > self.connection_limit.most:
            self.connection_limit.close_one()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection_limit.waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, then see what is still to come. To note it in each callback would cost more."""
        if self._awaited is HEAD:
            self._head += len(data)
            if self._head > HEAD_BYTES + len(data):
                return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        super().data_received(data)
        cycle, request = self.cycle, self.scope
        if request is not self._request:
            self._request, self._awaited = request, HEAD
            self._deadline = self.loop.time() + HEAD_SECONDS
        if cycle is None:
            return None
        if cycle.scope is request and request is not self._headed:
            self._headed, self._awaited, self._head = request, BODY, 0
            self._deadline = self.loop.time() + BODY_SECONDS
        if self._awaited is BODY and not cycle.more_body:
            self._awaited, self._body = NOTHING, 0
        # A request is being worked on: this one, or one in front of it.
        if self.pipeline or not (cycle.more_body or cycle.response_complete):
            self.connection_limit.waiting.pop(self, None)
        return None

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._body += len(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # no pipelined request has begun
            waiting = self.connection_limit.waiting
            waiting[self] = None
            waiting.move_to_end(self)
        if self._awaited is BODY:
            self._deadline = self.loop.time() + LINGER_SECONDS

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None

    def check(self, now: float) -> None:
        """
        Close the connection if the client is past a deadline. Called every second for maybe
        thousands of clients, so it is quick for those that are not.
        """
        if self._unread_since is not None and now - self._unread_since > UNREAD_SECONDS:
            self.transport.abort()
        elif self._awaited is NOTHING:
            if self.timeout_keep_alive_task is None and self.cycle.response_complete:
                # Something came that does not begin a request, such as an empty line.
                self._awaited, self._deadline = HEAD, now + HEAD_SECONDS
        elif self._awaited is BODY:
            self._check_body(now)
        elif now > self._deadline and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _check_body(self, now: float) -> None:
        if self.cycle.response_complete:
            if now > self._deadline:
                self.transport.close()
            return
        arrived, self._body = self._body, 0
        if self.flow.read_paused:  # the service does not read, so the client cannot send
            self._deadline = now + BODY_SECONDS
        else:
            self._deadline = min(now + BODY_SECONDS, self._deadline + arrived / BODY_RATE)
        if arrived and self in self.connection_limit.waiting:
            self.connection_limit.waiting.move_to_end(self)
        if now > self._deadline and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer for the application, unless it has begun to answer, and close the connection."""
        cycle = self.cycle
        underway = cycle is not None and not cycle.response_complete
        if not (underway and cycle.response_started):
            self.transport.write(_problem(status))
        if underway:
            cycle.disconnected = True  # uvicorn drops what it still sends
            cycle.message_event.set()
        self.transport.close()


def check_some(clients: Iterable[object], now: float, tick: int) -> None:
    """Check one in ten connections, others with each tick: all at once could stall the loop."""
    for client in [*islice(clients, tick % CHECK_TICKS, None, CHECK_TICKS)]:
        if isinstance(client, Client):
            client.check(now)


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
