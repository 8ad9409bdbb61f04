"""
SMTP servers (RFC 5321) on aiosmtpd, bounded in connections, time and memory.

`addresses` says where one listens, and with which TLS. `server` opens the sockets, and counts and
closes connections. `connection` is one of them, whose mails arrive by `content`; it is not loaded
with the others, because aiosmtpd takes its time.
"""

from notifier.smtp_server.addresses import ListenAddress, read_addresses, write_addresses
from notifier.smtp_server.server import Bounds, Server

__all__ = [
    "Bounds",
    "ListenAddress",
    "Server",
    "read_addresses",
    "write_addresses",
]
