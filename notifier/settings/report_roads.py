"""Settings of the roads by which reports come in: a listener, a mailbox, events of providers."""

from typing import Annotated, Any

from msgspec import Meta

from notifier.mailboxspec import MailboxSpec, read_mailbox, write_mailbox
from notifier.settings.parsers import LINE, Parser
from notifier.settings.submission import SMTP_LISTEN, MailSubmission

MAILBOX = Parser(read_mailbox, write_mailbox, secret=True)


class ReportRoads(MailSubmission, frozen=True, kw_only=True):
    """The fields of Settings about reports. A Struct has one base, so they follow one another."""

    report_listen: Annotated[
        tuple[Any, ...],  # of ListenAddress
        SMTP_LISTEN,
        Meta(
            description="Addresses, comma-separated, where an SMTP listener takes reports to the "
            "tokens of return paths, and nothing else: `127.0.0.1:2526`, with TLS "
            "`?tls=starttls&certificate=&key=` or `tls=implicit`. See [roads of "
            "reports](report-roads.md). Default: none."
        ),
    ] = ()
    report_mailbox: Annotated[
        MailboxSpec | None,
        MAILBOX,
        Meta(
            description="IMAP mailbox from which reports are read: "
            "`imaps://user:password@host/INBOX`, or with `?oauth=NAME` a section of "
            "`NOTIFIER_OAUTH`; `read=` names the folder of what was read, `ca=` a file of "
            "certificates. See [roads of reports](report-roads.md). Default: none."
        ),
    ] = None
    report_secrets: Annotated[
        str | None,
        LINE,
        Meta(
            description="TOML file of the secrets by which providers sign their events; see "
            "[roads of reports](report-roads.md). Default: none."
        ),
    ] = None
