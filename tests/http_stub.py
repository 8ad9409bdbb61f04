"""An HTTP server that answers as a test says: on a real socket, so that a cut is one."""

import asyncio
import contextlib
import json
import ssl
from typing import NamedTuple

from tests.relay import CUT


class Request(NamedTuple):
    start: str  # method, target and version
    fields: dict[str, str]  # of the header; their names are in small letters
    body: bytes


class HttpStub:
    """
    Gives each request what `answer` returns: its status, its body (octets, or else what is
    written as JSON) and perhaps fields of the header; or CUT, and the connection ends. `requests`
    are all that were read. The connections end with the stub.
    """

    def __init__(self, tls=None):
        self.requests = []
        self.asked = asyncio.Event()
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._serving = set()

    async def answer(self, request):
        raise NotImplementedError

    async def __aenter__(self):
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()
        for each in self._serving:
            each.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.connections += 1
        self._serving.add(asyncio.current_task())
        ends = ConnectionError, asyncio.IncompleteReadError, ssl.SSLError
        try:
            with contextlib.suppress(*ends):
                while (answer := await self.answer(await self._read(reader))) != CUT:
                    writer.write(_written(*answer))
                    await writer.drain()
        finally:
            writer.close()

    async def _read(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.rstrip("\r\n").split("\r\n")
        fields = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        self.requests.append(Request(start, fields, body))
        self.asked.set()
        return self.requests[-1]


def _written(status, data, fields=None):
    given = {} if isinstance(data, bytes) else {"Content-Type": "application/json"}
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    given |= {"Content-Length": len(body)} | (fields or {})
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
