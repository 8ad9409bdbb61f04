"""Stands between the service and a mail server, and holds a content back, or loses a reply."""

import asyncio
import contextlib
import socket

from tests.process import free_port

DOT = b"\r\n.\r\n"


class Proxy:
    """
    Passes on what is said, but of the first content only the first octets: either `octets` of
    them are read and no more, or (None) all is read, and the end kept. `holding` is set then.
    """

    def __init__(self, server, *, octets=None):
        self.port = free_port()
        self.holding = asyncio.Event()
        self._server_port = server.plain
        self._octets = octets
        self._in_content = False

    async def __aenter__(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        listener.bind(("127.0.0.1", self.port))
        self._listener = await asyncio.start_server(self._serve, sock=listener)
        return self

    async def __aexit__(self, *exc_info):
        self._listener.close()

    async def _serve(self, reader, writer):
        """Whoever hangs up first, the other end is reset."""
        passing = []
        with contextlib.suppress(OSError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            passing = [
                asyncio.create_task(self._onwards(reader, to_server)),
                asyncio.create_task(self._back(from_server, writer)),
            ]
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            to_server.transport.abort()
        for each in passing:
            each.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        writer.transport.abort()

    async def _onwards(self, reader, writer):
        read = b""
        while data := await reader.read(64 * 1024):
            if self._in_content and not self.holding.is_set():
                read += data
                if len(read) >= self._octets if self._octets else read.endswith(DOT):
                    self.holding.set()
                    writer.write(data[: len(data) // 2])
                    await asyncio.Event().wait()
            writer.write(data)

    async def _back(self, reader, writer):
        while data := await reader.read(64 * 1024):
            self._in_content = b"354 " in data
            writer.write(data)


class LossyProxy(Proxy):
    """
    Passes each content on whole. It keeps the server's reply to it for itself, in `lost`, and
    resets both connections.
    """

    def __init__(self, server):
        super().__init__(server)
        self.holding.set()  # nothing is held back
        self.lost = []

    async def _back(self, reader, writer):
        while data := await reader.read(64 * 1024):
            if self._in_content:
                self._in_content = False
                self.lost.append(data)
                return
            self._in_content = b"354 " in data
            writer.write(data)
