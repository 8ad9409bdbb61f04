"""A provider of SMS by HTTP that does as it is told: on a real socket, so that a cut is one."""

import asyncio
import contextlib
import json
import re
import ssl

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


ACCEPTED = (201, {"sid": "SM0123456789abcdef", "status": "queued", "error_code": None})


INVALID = (400, {"code": 21211, "message": "The 'To' number is not valid.", "status": 400})


TOO_MANY = (429, {"code": 20429, "message": "Too Many Requests", "status": 429})


BROKEN = (500, {"code": 20500, "message": "Internal Server Error"})


DROP, HANG, LATE = object(), object(), object()


class Site:
    """A web server that answers each request as scripted, the last answer over and over."""

    def __init__(self, *answers, extra=""):
        self.answers = list(answers)
        self.extra = extra
        self.requests = []
        self.connections = 0
        self.asked = asyncio.Event()
        self._open = asyncio.Event()
        self._serving = set()

    @contextlib.asynccontextmanager
    async def listening(self, tls=None):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._open.set()
            server.close()
            await server.wait_closed()
            await asyncio.gather(*self._serving)

    def let_go(self):
        self._open.set()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while await self._answer(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((request, headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.asked.set()
        if answer is DROP:
            return False
        if answer is HANG:
            await self._open.wait()
            return False
        status, said, *late = answer
        if late:
            await self._open.wait()
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        start = f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\n{self.extra}\r\n"
        writer.write(start.encode() + raw)
        await writer.drain()
        return True
