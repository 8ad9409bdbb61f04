"""Whether the mailbox of reports can be read, step by step. For `notifier check`."""

from collections.abc import AsyncIterator

from notifier.findings import Finding
from notifier.mailboxspec import MailboxSpec
from notifier.reports.imap import ImapConnection, ImapError
from notifier.tokens import NoToken, Tokens

# What a part of a refusal usually means.
_REMEDIES = {
    "AUTHENTICATE failed": "At Microsoft 365 the application needs the permission IMAP.AccessAsApp"
    " and FullAccess to the mailbox (Add-MailboxPermission).",
    "AUTHENTICATIONFAILED": "The user or the password is wrong. Percent-encode both; many"
    " providers want a password for applications, or OAuth.",
    "SELECT was refused": "There is no such folder; it stands behind the host, as in /INBOX.",
    "certificate": "The server's certificate is not trusted; ca= names a file of authorities.",
    "CREATE was refused": "read= must name a folder that may be made, perhaps INBOX.NAME.",
}


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
            way = "IDLE tells of new mail" if connection.can_idle else "no IDLE: asked each minute"
            said = f"{spec.folder} has {count} mails to read; {way}"
            yield Finding("read", ok=True, said=said)
    except ImapError as error:
        remedies = (words for part, words in _REMEDIES.items() if part in str(error))
        yield Finding("read", ok=False, said=str(error), remedy=next(remedies, ""))
