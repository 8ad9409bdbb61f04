"""
A connection to the built-in mailbox. `server` loads this module at the first connection, because
aiosmtpd loads slowly.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING

import structlog

from notifier.capture.mailbox import Mailbox
from notifier.smtp_server import Server
from notifier.smtp_server.connection import (
    NO_SENDER,
    AuthResult,
    Connection,
    Envelope,
    Handler,
    LoginPassword,
    Session,
)

if TYPE_CHECKING:
    from notifier.capture.server import Taker

log = structlog.get_logger()


class Mail:
    """A mail that has come in, up to its final dot."""

    def __init__(self, session: Session, envelope: Envelope) -> None:
        content = envelope.content
        self.source = content if isinstance(content, (bytes, bytearray)) else b""
        self.sender = "" if envelope.mail_from == NO_SENDER else envelope.mail_from or ""
        self.recipients: Sequence[str] = tuple(envelope.rcpt_tos)
        self.client = session.host_name or ""

    async def keep(self, mailbox: Mailbox) -> str:
        """Put the mail into the mailbox, and return the SMTP reply."""
        id = await mailbox.put(
            self.source, sender=self.sender, recipients=self.recipients, client=self.client
        )
        return f"250 2.0.0 kept as {id}"


class _Handler(Handler):
    failed = "capture_crashed"

    def __init__(self, taker: "Taker") -> None:
        self._taker = taker

    def login(self, _connection: Connection) -> str:
        return "LOGIN PLAIN"

    async def handle_MAIL(  # noqa: N802  aiosmtpd's name
        self,
        _server: Connection,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Refuse mail from other processes, which could otherwise write into the mailbox."""
        if not session.authenticated:
            return "530 5.7.0 only notifier itself may send here, after a login"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: Connection,
        _session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if refusal := self._taker.rcpt(address):
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: Connection, session: Session, envelope: Envelope
    ) -> str:
        try:
            reply = await self._taker.data(Mail(session, envelope))
        except OSError as error:
            log.error("capture_failed", reason=str(error))  # noqa: TRY400  the reason says it all
            return f"452 4.3.1 cannot keep it: {error.strerror}"
        if reply is None:
            server.cut()
            await asyncio.get_running_loop().create_future()  # aiosmtpd cancels us now
        return reply or ""


class CaptureConnection(Connection):
    """Offers a login, and closes connections that do not speak SMTP."""

    def __init__(self, server: Server, taker: "Taker", secret: str) -> None:
        super().__init__(
            server,
            _Handler(taker),
            authenticator=partial(_log_in, secret.encode()),
            auth_require_tls=False,  # it does not leave the machine
        )

    def data_received(self, data: bytes) -> None:
        if not self.speaks_smtp(data):
            return self.cut("554 5.5.0 this port speaks SMTP only, for notifier itself")
        return super().data_received(data)

    def stay(self) -> None:
        """Allow as much time for the next command as SMTP asks for. RFC 5321, section 4.5.3.2.7."""
        self._timeout_duration = 300.0


def _log_in(
    secret: bytes,
    server: CaptureConnection,
    _session: Session,
    _envelope: Envelope,
    _mechanism: str,
    given: object,
) -> AuthResult:
    right = isinstance(given, LoginPassword) and compare_digest(given.password, secret)
    if right:
        server.stay()
    return AuthResult(success=right, handled=False)
