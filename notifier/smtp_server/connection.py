"""One connection of an SMTP server."""

import asyncio
import re
import ssl
import time
from typing import TYPE_CHECKING, Any

import structlog
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session

from notifier.smtp_server.content import Content

if TYPE_CHECKING:
    from notifier.smtp_server.server import Server

# aiosmtpd's shapes, which the handlers of a server are called with, stand here for all of them.
__all__ = [
    "MISSING",
    "NO_SENDER",
    "AuthResult",
    "Connection",
    "Envelope",
    "Handler",
    "LoginPassword",
    "Session",
]

NO_SENDER = "<>"  # as aiosmtpd writes the empty reverse-path of RFC 5321, section 4.5.5
# The first words of SMTP clients. Others speak HTTP, because a web page made a browser do so.
GREETINGS = (b"EHLO", b"HELO", b"HELP", b"NOOP", b"QUIT", b"RSET")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_USUAL_PATH = re.compile(
    rf"<({_ATEXT}(?:\.{_ATEXT})*@{_ATEXT}(?:\.{_ATEXT})*)?>((?: [^()\x00-\x1f]*)?)"
)

CLOSING_SECONDS = 5.0  # for a client to read the last reply

log = structlog.get_logger()


class Handler:
    """What aiosmtpd calls for the commands of a connection; the hooks that all servers share."""

    failed = ""  # the log's event where a hook raises

    def login(self, connection: Any) -> str:  # noqa: ARG002  others look at it
        """The mechanisms by which the client may log in now; empty: it may not."""
        return ""

    async def handle_EHLO(  # noqa: N802  aiosmtpd's name
        self,
        connection: Any,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """
        Offer pipelining. aiosmtpd reads command by command from a buffer and answers each in
        its order, which is all that RFC 2920, section 3.2 asks of a server.
        """
        session.host_name = hostname
        offered = [line for line in responses[:-1] if not line.startswith("250-AUTH")]
        if mechanisms := self.login(connection):
            offered.append(f"250-AUTH {mechanisms}")
        return [*offered, "250-PIPELINING", "250 ENHANCEDSTATUSCODES"]

    async def handle_exception(self, error: Exception) -> str:
        log.error(self.failed, exc_info=error)
        return "451 4.3.0 the service failed; its log says why"


class Connection(SMTP):
    """
    aiosmtpd's protocol, listed by its server while it is open. The handler's hooks are aiosmtpd's;
    `handle_DATA` finds the content in the envelope as octets. A client that is slow, or silent,
    is cut off by the bounds.
    """

    def __init__(
        self, server: "Server", handler: Any, *, hostname: str = "localhost", **options: Any
    ) -> None:
        """`options` are further ones of aiosmtpd. Without a name it would ask the resolver."""
        bounds = server.bounds
        self._server = server
        self._largest, self._kept = bounds.octets, bounds.kept
        self._content_seconds = bounds.content_seconds
        self._content: Content | None = None  # that is arriving
        self.client = ""  # its address
        self.since = 0.0  # when it was made, or last got a mail through; by the monotonic clock
        self.busy = False  # its mail is being taken, and an answer is outstanding
        self._begin: bytes | None = b""  # of the first word; None: it was checked
        super().__init__(
            handler,
            timeout=bounds.command_seconds,
            data_size_limit=bounds.octets,
            enable_SMTPUTF8=True,
            hostname=hostname,
            ident="notifier",
            **options,
        )

    # ------------------------------------------------------------------ life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No assert: uvloop's transports have another base class.
        self._peer: asyncio.WriteTransport = transport  # type: ignore[assignment]  # see above
        first = self.transport is None
        if first:
            self._wire = self._peer  # below the TLS, if there is any
            peer = transport.get_extra_info("peername")
            self.client = str(peer[0]) if peer else ""
            self.since = time.monotonic()
        super().connection_made(transport)
        if first:
            if secured := transport.get_extra_info("ssl_object"):
                self._tells_tls(transport, secured)
            self._server.admit(self)

    def _tells_tls(self, transport: Any, secured: Any) -> None:
        """Have aiosmtpd know that what it says cannot be overheard."""
        self._tls_protocol = transport
        if self.session is not None:
            self.session.ssl = {"ssl_object": secured}

    def connection_lost(self, error: Exception | None) -> None:
        self._server.forget(self)
        super().connection_lost(error)

    def cut(self, reply: str = "") -> None:
        """Close the connection, with a last reply where there is one."""
        if reply and not self._peer.is_closing():
            self._peer.write(f"{reply}\r\n".encode())
            self._peer.close()
            # A client that reads nothing would keep the connection open for ever.
            self.loop.call_later(CLOSING_SECONDS, self._wire.abort)
        else:
            self._wire.abort()

    # ------------------------------------------------------------------ what arrives

    def speaks_smtp(self, data: bytes) -> bool:
        """Whether the client's first word may be one of SMTP, as far as it has come."""
        if self._begin is None or self._tls_protocol is not None:
            return True
        self._begin += data[:4]
        word = self._begin[:4].upper()
        if len(word) == 4:
            self._begin = None
        return any(greeting.startswith(word) for greeting in GREETINGS)

    def data_received(self, data: bytes) -> None:
        if self._content is not None:
            behind = self._content.feed(data)
            if behind is None:
                return None
            self._content = None
            data = behind
            if not data:
                return None
        return super().data_received(data)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        """DATA as in aiosmtpd, but with octets instead of lines."""
        envelope, session = self.envelope, self.session
        if arg or envelope is None or session is None or not envelope.rcpt_tos:
            await self.push("501 5.5.4 syntax: DATA" if arg else "503 5.5.1 need RCPT first")
            return
        content = self._content = Content(self._largest, self._kept)
        self._reset_timeout(self._content_seconds + 1)  # the one below is to be the first
        await self.push("354 end data with <CR><LF>.<CR><LF>")
        self._feed_what_came_ahead()
        try:
            async with asyncio.timeout(self._content_seconds):
                octets = await content.complete
        except TimeoutError:
            self.cut("421 4.4.2 the content took too long")
            return
        try:
            if octets is None:
                reply = f"552 5.3.4 more than {self._largest} octets"
            else:
                reply = await self._taken(envelope, octets)
        finally:  # also after an error: the next mail must not have this one's recipients
            self._set_post_data_state()  # type: ignore[no-untyped-call]  # aiosmtpd's own
            self._reset_timeout()
        await self.push(reply)

    def _feed_what_came_ahead(self) -> None:
        """A client that has not waited for the answer has its content in aiosmtpd's buffer."""
        buffer: bytearray = self._reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001  as aiosmtpd does
        if buffer:
            ahead = bytes(buffer)
            buffer.clear()
            self._reader._maybe_resume_transport()  # type: ignore[attr-defined]  # noqa: SLF001  as `read` does
            self.data_received(ahead)

    async def _taken(self, envelope: Any, octets: bytearray) -> str:
        """What the handler answers to a mail. Meanwhile nothing cuts the connection but its end."""
        envelope.content = octets
        self.busy = True
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        try:
            reply = await self.event_handler.handle_DATA(self, self.session, envelope)
        finally:
            self.busy = False
        self.since = time.monotonic()
        return str(reply)

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Read the usual forms of an address here: aiosmtpd's reader of mail headers is slow."""
        found = _USUAL_PATH.fullmatch(arg)
        return (found[1] or NO_SENDER, found[2]) if found else super()._getaddr(arg)

    # ------------------------------------------------------------------ TLS

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        """
        STARTTLS by the event loop's own means: aiosmtpd changes protocols in a way that uvloop's
        transports do not know. What was sent before is forgotten. RFC 3207, section 4.2.
        """
        if arg or self.tls_context is None or self._tls_protocol is not None:
            code = "501 5.5.4 syntax: STARTTLS" if arg else "503 5.5.1 no TLS is offered here"
            await self.push(code)
            return
        plain = self.transport
        await self.push("220 2.0.0 go ahead")
        self._reader._buffer.clear()  # type: ignore[attr-defined]  # noqa: SLF001  what came in clear must not count
        try:
            async with asyncio.timeout(60.0):
                secure = await self.loop.start_tls(
                    plain,  # type: ignore[arg-type]  # it is TCP
                    self,
                    self.tls_context,
                    server_side=True,
                )
        except (OSError, ssl.SSLError, TimeoutError):
            self._wire.abort()
            return
        self._original_transport = plain
        self._secured(secure)

    def _secured(self, transport: Any) -> None:
        self._peer = self.transport = transport
        self._reader._transport = transport  # type: ignore[attr-defined]  # noqa: SLF001  as aiosmtpd does
        self._writer._transport = transport  # type: ignore[attr-defined]  # noqa: SLF001  as aiosmtpd does
        self._set_rset_state()  # type: ignore[no-untyped-call]  # aiosmtpd's own
        session = self._create_session()
        if self.session is not None:
            session.peer = self.session.peer
        self.session = session
        self._tells_tls(transport, transport.get_extra_info("ssl_object"))
        self._reset_timeout()
