"""An SMTP server on loopback that puts mail into the mailbox."""

import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from notifier.capture.mailbox import Mailbox
from notifier.relayspec import RelaySpec
from notifier.smtp_server import Bounds, ListenAddress, Server

if TYPE_CHECKING:
    from notifier.capture.connection import CaptureConnection, Mail

HOST = "127.0.0.1"
LARGEST = 64 * 1024 * 1024  # octets of one mail
# Both ends of each connection are in this process, and there is no other sender.
CONNECTIONS = 16
MESSAGES_PER_CONNECTION = 10_000
SILENT_SECONDS = 10.0  # for a client that has not logged in
USERNAME = "notifier"
BOUNDS = Bounds(octets=LARGEST, command_seconds=SILENT_SECONDS, answer_seconds=0.0)


class Taker(Protocol):
    """Decides by SMTP replies which recipients and mails are accepted."""

    def rcpt(self, address: str) -> str:
        """The reply that refuses a recipient; empty: the recipient is accepted."""
        ...

    async def data(self, mail: "Mail") -> str | None:
        """The reply to the final dot; None: cut the connection instead. May raise OSError."""
        ...


class Listener(contextlib.AbstractAsyncContextManager["Listener"]):
    """
    An SMTP server on a free loopback port, between `open` and `close`.

    It accepts mail only from clients that know its secret. The secret is new at each start, so
    these clients are in this process.
    """

    def __init__(self, name: str, taker: Taker) -> None:
        self._name = name
        self._secret = secrets.token_hex(16)
        self._taker = taker
        address = ListenAddress(host=HOST, port=0)
        self._server = Server((address,), lambda *_: self._connection(), bounds=BOUNDS)

    def _connection(self) -> "CaptureConnection":
        # Loaded at the first mail: a start need not wait for aiosmtpd, which takes 10 ms.
        from notifier.capture.connection import CaptureConnection

        return CaptureConnection(self._server, self._taker, self._secret)

    @property
    def port(self) -> int:
        if not self._server.ports:
            raise RuntimeError(f"the {self._name} is not open")
        return self._server.ports[0]

    @property
    def spec(self) -> RelaySpec:
        """The RelaySpec by which this server is used like any other relay."""
        return RelaySpec(
            name=self._name,
            host=HOST,
            port=self.port,
            username=USERNAME,
            password=self._secret,
            connections=CONNECTIONS,
            messages_per_connection=MESSAGES_PER_CONNECTION,
        )

    async def open(self) -> None:
        await self._server.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class _KeepEverything:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def rcpt(self, address: str) -> str:
        return self._mailbox.refusals.reply(address)

    async def data(self, mail: "Mail") -> str:
        return await mail.keep(self._mailbox)


class Capture(Listener):
    """
    A relay that accepts everything but the mailbox's refusals, and forwards nothing. A mail that
    was answered with 250 is in the mailbox. If a folder is given, this opens and closes the mailbox
    itself.
    """

    def __init__(self, inbox: Path | Mailbox) -> None:
        self.mailbox = inbox if isinstance(inbox, Mailbox) else Mailbox(inbox)
        self._owned = self.mailbox is not inbox
        super().__init__("capture", _KeepEverything(self.mailbox))

    async def open(self) -> None:
        if self._owned:
            await self.mailbox.open()
        await super().open()

    async def close(self) -> None:
        await super().close()
        if self._owned:
            await self.mailbox.close()
