"""A proxy on loopback that speaks CONNECT and SOCKS5, and does as it is told."""

import asyncio
import base64
import contextlib
import ipaddress
from urllib.parse import urlsplit


class Proxy:
    """
    Connects to whatever it is asked for, by a name of `names` too. It may want a login, refuse
    all (an HTTP status, or a reply of SOCKS5), stay silent, or send the greeting of the server
    together with its own answer.
    """

    def __init__(self, *, login=None, refuses=None, silent=False, together=False, names=None):
        self.login = login
        self.refuses = refuses
        self.silent = silent
        self.together = together
        self.names = names or {}
        self.asked = []  # host:port, as it was asked for
        self.port = 0
        self._forward = b""  # the head of a request that is no CONNECT
        self._running = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._running.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._speak(reader, writer)
        finally:
            writer.close()
            self._running.discard(task)

    async def _speak(self, reader, writer):
        first = await reader.readexactly(1)
        if self.silent:
            await asyncio.Event().wait()
        speak = self._socks if first == b"\x05" else self._connect
        if (place := await speak(reader, writer, first)) is None:
            return
        (host, port), yes = place
        self.asked.append(f"{host}:{port}")
        there, to_there = await asyncio.open_connection(self.names.get(host, host), port)
        if self.together:
            yes += await there.readuntil(b"\r\n")
        writer.write(yes)
        to_there.write(self._forward)
        passing = [
            asyncio.ensure_future(_pass_on(reader, to_there)),
            asyncio.ensure_future(_pass_on(there, writer)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in passing:
                each.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            to_there.close()

    async def _connect(self, reader, writer, first):
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        method, place, _ = head.split("\r\n")[0].split(" ")
        if self.login is not None:
            wanted = base64.b64encode(":".join(self.login).encode()).decode()
            if f"Proxy-Authorization: Basic {wanted}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return None
        if self.refuses is not None:
            self.asked.append(place)
            writer.write(f"HTTP/1.1 {self.refuses} Forbidden by policy\r\n\r\n".encode())
            return None
        if method != "CONNECT":  # RFC 9112, section 3.2.2
            url = urlsplit(place)
            self._forward = head.replace(place, url.path or "/", 1).encode()
            return (url.hostname, url.port or 80), b""
        host, _, port = place.rpartition(":")
        return (
            host.strip("[]"),
            int(port),
        ), b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"

    async def _socks(self, reader, writer, _):
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        way = 2 if self.login is not None else 0
        if way not in methods:
            writer.write(b"\x05\xff")
            return None
        writer.write(bytes([5, way]))
        if way == 2:
            await reader.readexactly(1)
            given = [
                (await reader.readexactly((await reader.readexactly(1))[0])).decode()
                for _ in range(2)
            ]
            right = given == list(self.login)
            writer.write(bytes([1, not right]))
            if not right:
                return None
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        answer = b"\x00\x01" + bytes(6)
        if self.refuses is not None:
            writer.write(bytes([5, self.refuses]) + answer)
            return None
        return (host, port), b"\x05\x00" + answer


async def _pass_on(reader, writer):
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
