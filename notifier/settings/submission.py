"""The setting of submission by SMTP."""

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from notifier.settings.parsers import Parser
from notifier.settings.protection import Protection

if TYPE_CHECKING:  # aiosmtpd, which few need
    from notifier.smtp_server import ListenAddress


def _read(text: str) -> "tuple[ListenAddress, ...]":
    from notifier.smtp_server import read_addresses

    return read_addresses(text)


def _write(addresses: "tuple[ListenAddress, ...]") -> str:
    if not addresses:
        return ""
    from notifier.smtp_server import write_addresses

    return write_addresses(addresses)


SMTP_LISTEN = Parser(_read, _write)


class MailSubmission(Protection, frozen=True, kw_only=True):
    """The fields of Settings about mail that comes in by SMTP, behind those about recipients."""

    smtp_listen: Annotated[
        tuple[Any, ...],  # of ListenAddress
        SMTP_LISTEN,
        Meta(
            description="Addresses where mail is taken by SMTP, comma-separated: `127.0.0.1:2525`, "
            "`0.0.0.0:587?tls=starttls&certificate=FILE&key=FILE` or `tls=implicit`; see "
            "[submission by SMTP](smtp-submission.md). Default: none."
        ),
    ] = ()
