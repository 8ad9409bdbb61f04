"""Where the mail servers send on what they have taken: a server that keeps it for the tests."""

import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from msgspec import Struct

from tests.process import free_port


class Mail(Struct, frozen=True):
    """One mail that has arrived, and for whom."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def subject(self):
        """As it stands in the source."""
        head = self.content.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
        return next(each[9:] for each in head if each.startswith(b"Subject: ")).decode()


class Sink(Controller):
    """Takes all mail but that for `unknown...`, in a thread of its own."""

    def __init__(self):
        super().__init__(self, hostname="127.0.0.1", port=free_port())
        self._lock = threading.Lock()
        self._mails = []

    def factory(self):
        # Said of itself, else it asks a name server.
        return SMTP(self.handler, hostname="sink.example.net", enable_SMTPUTF8=True)

    @property
    def mails(self):
        with self._lock:
            return list(self._mails)

    def subjects(self):
        return [mail.subject for mail in self.mails]

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's
        if address.startswith("unknown"):
            return "550 5.1.1 there is nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's
        sender = envelope.mail_from.replace("<>", "")
        mail = Mail(sender, tuple(envelope.rcpt_tos), envelope.content)
        with self._lock:
            self._mails.append(mail)
        return "250 2.0.0 taken"
