"""Reads reports from an IMAP mailbox, one replica at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from notifier.errors import BeingSent, Unavailable
from notifier.findings import Finding
from notifier.journal import Journal
from notifier.mailboxspec import MailboxSpec
from notifier.reports.imap import ImapConnection, ImapError
from notifier.reports.taking import Reports
from notifier.supervisor import Background, Supervisor
from notifier.tokens import NoToken, Tokens

ROAD = "imap"
LOCK = "report-mailbox"
FIRST_PAUSE = 2.0  # seconds until the next connection; doubled with each further failure
LONGEST_PAUSE = 300.0
# Below the 29 minutes of RFC 2177, so that a connection that died silently is noticed soon.
IDLE_SECONDS = 290.0
POLL_SECONDS = 60.0  # where the server offers no IDLE
OTHER_SECONDS = 15.0  # until another replica's lock is tried again
SENDING_SECONDS = 5.0  # until mails are read again whose messages are being sent

log = structlog.get_logger()
# What a refusal with this text usually means.
_REMEDIES = {
    "AUTHENTICATE failed": "At Microsoft 365 the application needs the permission IMAP.AccessAsApp"
    " and FullAccess to the mailbox (Add-MailboxPermission).",
    "AUTHENTICATIONFAILED": (
        "The user or the password is wrong. Percent-encode both; many providers require "
        "an app password, or OAuth."
    ),
    "SELECT was refused": "There is no such folder; write its name after the host, as in /INBOX.",
    "certificate": "The server's certificate is not trusted; name a file of authorities with ca=.",
    "CREATE was refused": "read= must name a folder that can be made, perhaps INBOX.NAME.",
}


class Mailbox(Background):
    """
    Takes what arrives, then moves it to a folder. A mail that was taken and not moved, because
    something broke in between, is taken again, and counts once. What is no report stays where it
    is, flagged. A mail that cannot be taken now stays as it is.
    """

    def __init__(
        self,
        spec: MailboxSpec,
        tokens: Tokens | None,
        reports: Reports,
        journal: Journal,
        supervisor: Supervisor,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spec = spec
        self._tokens = tokens
        self._reports = reports
        self._journal = journal
        super().__init__(supervisor, {"report-mailbox": self._run})
        self._sleep = sleep
        self.trouble = ""  # why it cannot be read now

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._journal.try_lock(LOCK) as locked:
                    if locked:
                        async with ImapConnection(self._spec, self._tokens) as connection:
                            pause = FIRST_PAUSE
                            await self._read(connection)
            except (ImapError, Unavailable) as error:
                self._failed(str(error))
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                await self._sleep(OTHER_SECONDS)

    async def _read(self, connection: ImapConnection) -> None:
        """Read mails as they arrive. It always ends with an error."""
        await connection.make_folder(self._spec.read)
        if self.trouble:
            log.info("report_mailbox_works", mailbox=self._spec.place)
        self.trouble = ""
        seconds = IDLE_SECONDS if connection.can_idle else POLL_SECONDS
        left: set[int] = set()  # mails that stay here
        while True:
            uids = [uid for uid in await connection.unread() if uid not in left]
            early = [uid for uid in uids if not await self._moved(connection, uid, left)]
            if len(early) == len(uids):
                await connection.wait(SENDING_SECONDS if early else seconds)

    async def _moved(self, connection: ImapConnection, uid: int, left: set[int]) -> bool:
        """Whether the mail is done with. If not, its message is being sent just now."""
        mail = await connection.fetch(uid)
        if mail is None:  # another client has deleted it meanwhile
            left.add(uid)
            return True
        try:
            taken = await self._reports.take(mail, ROAD)
        except BeingSent:
            return False
        if taken.understood:
            await connection.move(uid, self._spec.read)
        else:
            log.info("mail_is_no_report", road=ROAD, uid=uid)
            left.add(uid)
            await connection.flag(uid)
        return True

    def _failed(self, reason: str) -> None:
        if reason != self.trouble:
            log.warning("report_mailbox_fails", mailbox=self._spec.place, reason=reason)
        self.trouble = reason


async def probe(spec: MailboxSpec, tokens: Tokens | None) -> AsyncIterator[Finding]:
    """Log in, look for mails, and make the folder of what was read, as the service does."""
    if tokens is not None:
        try:
            token = await tokens.get()
        except NoToken as error:
            yield Finding("token", ok=False, said=str(error))
            return
        yield Finding("token", ok=True, said=f"from {token.source}, until {token.good_until}")
    try:
        async with ImapConnection(spec, tokens) as connection:
            yield Finding("login", ok=True, said=f"as {spec.username}")
            count = len(await connection.unread())
            await connection.make_folder(spec.read)
            way = "IDLE announces new mail" if connection.can_idle else "no IDLE: asked each minute"
            said = f"{spec.folder} has {count} mails to read; {way}"
            yield Finding("read", ok=True, said=said)
    except ImapError as error:
        remedies = (words for part, words in _REMEDIES.items() if part in str(error))
        yield Finding("read", ok=False, said=str(error), remedy=next(remedies, ""))
