"""
Settings beside those of sending: how long things are kept, to whom nothing is sent, and what comes
in by SMTP or as a report.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from notifier.mailboxspec import MailboxSpec, read_mailbox, write_mailbox
from notifier.quotas import Quota
from notifier.settings.parsers import DURATION, LINE, QUOTA, Parser, choice

if TYPE_CHECKING:  # loads the event loop, which a health check does without
    from notifier.smtp_server import ListenAddress


def _read_addresses(text: str) -> "tuple[ListenAddress, ...]":
    from notifier.smtp_server import read_addresses

    return read_addresses(text)


def _write_addresses(addresses: "tuple[ListenAddress, ...]") -> str:
    if not addresses:
        return ""
    from notifier.smtp_server import write_addresses

    return write_addresses(addresses)


SMTP_LISTEN = Parser(_read_addresses, _write_addresses)
MAILBOX = Parser(read_mailbox, write_mailbox, secret=True)


class Capabilities(Struct, frozen=True, kw_only=True):
    """The fields of Settings about that. A Struct has one base, so they follow one another."""

    retention: Annotated[
        float, DURATION, Meta(description="How long finished messages are kept.")
    ] = 30 * 86400.0
    body_retention: Annotated[
        float, DURATION, Meta(description="How long the contents of finished messages are kept.")
    ] = 7 * 86400.0
    held_retention: Annotated[
        float,
        DURATION,
        Meta(description="How long a `held` message waits for a decision before it expires."),
    ] = 30 * 86400.0
    audit_retention: Annotated[
        float, DURATION, Meta(description="How long the audit is kept. It records who did what.")
    ] = 366 * 86400.0
    suppress: Annotated[
        Literal["off", "bounces"],
        choice("off", "bounces"),
        Meta(
            description="`bounces`: an address is suppressed by itself if relays say twice in "
            "seven days that it does not exist; see [suppressions](suppressions.md). `off`: only "
            "by hand."
        ),
    ] = "off"
    per_recipient: Annotated[
        Quota | None,
        QUOTA,
        Meta(
            description="Most messages to one recipient in a time, such as `20/h`; see "
            "[the storm brake](suppressions.md#the-storm-brake). A key may have its own. "
            "Default: no limit."
        ),
    ] = None
    on_storm: Annotated[
        Literal["hold", "refuse"],
        choice("hold", "refuse"),
        Meta(
            description="What happens to a message beyond `NOTIFIER_PER_RECIPIENT`: `hold` it "
            "until a person decides, or `refuse` it with `429`."
        ),
    ] = "hold"
    smtp_listen: Annotated[
        tuple[Any, ...],  # of ListenAddress
        SMTP_LISTEN,
        Meta(
            description="Addresses where mail is accepted by SMTP, comma-separated: "
            "`127.0.0.1:2525`, `0.0.0.0:587?tls=starttls&certificate=FILE&key=FILE` or "
            "`tls=implicit`; see [submission by SMTP](smtp-submission.md). Default: none."
        ),
    ] = ()
    report_listen: Annotated[
        tuple[Any, ...],  # of ListenAddress
        SMTP_LISTEN,
        Meta(
            description="Addresses, comma-separated, where an SMTP listener takes reports to the "
            "tokens of return paths, and nothing else: `127.0.0.1:2526`, with TLS "
            "`?tls=starttls&certificate=&key=` or `tls=implicit`. See [sources of "
            "reports](report-sources.md). Default: none."
        ),
    ] = ()
    report_mailbox: Annotated[
        MailboxSpec | None,
        MAILBOX,
        Meta(
            description="IMAP mailbox from which reports are read: "
            "`imaps://user:password@host/INBOX`, or with `?oauth=NAME` a section of "
            "`NOTIFIER_OAUTH`; `read=` names the folder of what was read, `ca=` a file of "
            "certificates. See [sources of reports](report-sources.md). Default: none."
        ),
    ] = None
    report_secrets: Annotated[
        str | None,
        LINE,
        Meta(
            description="TOML file of the secrets by which providers sign their events; see "
            "[sources of reports](report-sources.md). Default: none."
        ),
    ] = None
