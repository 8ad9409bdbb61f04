"""The sockets of an SMTP server, and its open connections."""

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self, TypeAlias

from msgspec import Struct

from notifier.errors import ConfigurationError
from notifier.relayspec import Tls
from notifier.smtp_server.addresses import ListenAddress

if TYPE_CHECKING:  # it needs aiosmtpd, which is loaded at the first connection
    from notifier.smtp_server.connection import Connection

HANDSHAKE_SECONDS = 10.0  # of implicit TLS; until then no connection is counted

# Makes a connection. The context is for STARTTLS; None: it is not offered.
Make: TypeAlias = Callable[["Server", ssl.SSLContext | None], "Connection"]


class Bounds(Struct, frozen=True, kw_only=True):
    """What the clients of a server may take."""

    connections: int = 100  # at a time; the one that has got least done gives way to a new one
    octets: int = 64 * 1024 * 1024  # of one mail
    kept: int | None = None  # octets of a longer mail, of which the rest is dropped; None: all
    command_seconds: float = 300.0  # until the next command; RFC 5321, section 4.5.3.2.7
    content_seconds: float = 600.0  # for a whole content
    answer_seconds: float = 10.0  # that the server, when it closes, waits for outstanding answers


class Server(contextlib.AbstractAsyncContextManager["Server"]):
    """
    Listens between `open` and `close`. A client that would be one too many is let in, and another
    connection is closed for it: of the client address with the most connections, the one that has
    got least done. So idle clients shut out nobody but themselves.
    """

    def __init__(
        self, addresses: Sequence[ListenAddress], make: Make, *, bounds: Bounds | None = None
    ) -> None:
        self.bounds = bounds or Bounds()
        self.connections: set[Connection] = set()
        self._addresses = addresses
        self._make = make
        self._servers: list[asyncio.Server] = []

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(
            int(each.getsockname()[1]) for server in self._servers for each in server.sockets
        )

    async def open(self) -> None:
        """Raises ConfigurationError where an address cannot be listened on."""
        # aiosmtpd logs every command at `info`, and warns of what it will remove.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        try:
            for address in self._addresses:
                # Known before it serves: a start that is cancelled then leaves no socket open.
                self._servers.append(await self._listening(address))
                await self._servers[-1].start_serving()
        except BaseException:
            await self.close()
            raise

    async def _listening(self, address: ListenAddress) -> asyncio.Server:
        context = address.context()
        implicit = address.tls is Tls.IMPLICIT
        try:
            return await asyncio.get_running_loop().create_server(
                lambda: self._make(self, None if implicit else context),
                address.host,
                address.port,
                ssl=context if implicit else None,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if implicit else None,
                reuse_address=True,
                start_serving=False,
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address.host}:{address.port}: {error.strerror or error}"
            ) from None

    def stop(self) -> None:
        """Accept no more connections, and close those that do not wait for an answer."""
        for server in self._servers:
            server.close()
        for each in tuple(self.connections):
            if not each.busy:
                each.cut("421 4.3.2 the service is stopping")

    async def close(self) -> None:
        """Accept no more connections, and close the open ones once they have their answer."""
        self.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.bounds.answer_seconds):
                while any(each.busy for each in self.connections):  # noqa: ASYNC110  it is rare
                    await asyncio.sleep(0.01)
        for each in tuple(self.connections):
            each.cut()
        while self.connections:  # noqa: ASYNC110  connection_lost comes in the loop's next round
            await asyncio.sleep(0)
        self._servers = []

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def admit(self, connection: "Connection") -> None:
        """List a new connection, and close another one if there are too many."""
        self.connections.add(connection)
        if len(self.connections) <= self.bounds.connections:
            return
        idle = [each for each in self.connections if not each.busy and each is not connection]
        if not idle:
            connection.cut("421 4.3.2 too many connections; try again later")
            return
        held = Counter(each.client for each in self.connections)
        last = max(idle, key=lambda each: (held[each.client], -each.since))
        self.connections.discard(last)
        last.cut("421 4.3.2 too many connections; this one was idle")

    def forget(self, connection: "Connection") -> None:
        self.connections.discard(connection)
