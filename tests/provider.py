"""A provider of SMS by HTTP that does as it is told: on a real socket, so that a cut is one."""

import asyncio
import contextlib
import json
import re

CUT = None  # instead of a status: the connection ends without an answer


class ScriptedProvider:
    """
    `decide` is asked at each request, with its number: whether the text is sent, and the HTTP
    status of the answer, or CUT. `received` is to whom texts were sent.
    """

    def __init__(self, decide):
        self.decide = decide
        self.received = []
        self.port = 0
        self._server = None

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
        number = json.loads(await reader.readexactly(int(length)))["to"]
        sent, status = self.decide(number)
        if sent:
            self.received.append(number)
        if status is CUT:
            return False
        said = b'{"id": "x"}' if status == 200 else b"{}"
        start = f"HTTP/1.1 {status} X\r\nContent-Length: {len(said)}\r\n\r\n"
        writer.write(start.encode() + said)
        return True
