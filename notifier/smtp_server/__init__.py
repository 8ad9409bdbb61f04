"""
SMTP servers (RFC 5321) on aiosmtpd, bounded in connections, time and memory.

`addresses` says where one listens, and with which TLS. `server` opens the sockets, and counts and
closes connections. `connection` is one of them, whose mails arrive by `content`.
"""

from aiosmtpd.smtp import MISSING, AuthResult, Envelope, LoginPassword, Session

from notifier.smtp_server.addresses import ListenAddress, read_addresses, write_addresses
from notifier.smtp_server.connection import Bounds, Connection
from notifier.smtp_server.server import Server

__all__ = [
    "MISSING",
    "AuthResult",
    "Bounds",
    "Connection",
    "Envelope",
    "ListenAddress",
    "LoginPassword",
    "Server",
    "Session",
    "read_addresses",
    "write_addresses",
]
