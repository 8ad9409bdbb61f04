"""
The SMTP listener for reports. It takes mail only to addresses with a token of a return path, so
that it can be no open relay.
"""

import ssl
from collections.abc import Sequence

import structlog

from notifier.errors import Unavailable
from notifier.reports.taking import Reports
from notifier.smtp_server import Bounds, ListenAddress, Server
from notifier.smtp_server.connection import Connection, Envelope, Handler, Session

ROAD = "smtp"
BOUNDS = Bounds(
    connections=50,
    kept=512 * 1024,  # a report has its data in front
    command_seconds=60.0,
    content_seconds=120.0,
)
MOST_RECIPIENTS = 100  # of one mail; RFC 5321, section 4.5.3.1.8
MOST_REFUSED = (
    20  # refused recipients of a connection, which is then closed: somebody guesses addresses
)

log = structlog.get_logger()


def report_listener(addresses: Sequence[ListenAddress], reports: Reports) -> Server:
    """
    The server. A 250 means that the report was taken. If it cannot be taken now, the answer is 451,
    and the client tries again.
    """
    return Server(addresses, lambda server, tls: _connection(server, tls, reports), bounds=BOUNDS)


def _connection(server: Server, tls: ssl.SSLContext | None, reports: Reports) -> Connection:
    return Connection(
        server,
        _Handler(reports),
        tls_context=tls,
        auth_exclude_mechanism=("LOGIN", "PLAIN"),
    )


class _Handler(Handler):
    failed = "report_listener_failed"

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._refused = 0

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self,
        server: Connection,
        _session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        try:
            ours = await self._reports.is_ours(address)
        except Unavailable as error:
            return f"451 4.3.0 {error}"
        if ours:
            if address.lower() in map(str.lower, envelope.rcpt_tos):
                return "250 2.1.5 OK"  # it gets the mail once
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
            return "250 2.1.5 OK"
        self._refused += 1
        log.info("report_refused", client=server.client, recipient=address[:254])
        if self._refused >= MOST_REFUSED:
            server.cut("421 4.7.0 too many recipients that do not exist")
        return "550 5.1.1 this address has no token of this service"

    async def handle_DATA(  # noqa: N802  aiosmtpd's name
        self, _server: Connection, _session: Session, envelope: Envelope
    ) -> str:
        content = bytes(envelope.content or b"")  # type: ignore[arg-type]  # they are octets
        try:
            taken = await self._reports.take(content, ROAD, to=envelope.rcpt_tos)
            if not taken.understood:
                log.info("mail_is_no_report", road=ROAD, recipients=envelope.rcpt_tos)
        except Unavailable as error:
            log.warning("report_deferred", road=ROAD, reason=str(error))
            return f"451 4.3.0 {error}"
        return "250 2.0.0 taken"
