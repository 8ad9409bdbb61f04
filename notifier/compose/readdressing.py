"""Address a finished mail to other recipients: the same content, as a mail of its own."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from notifier.attempts import Envelope
from notifier.compose.addresses import Address, address
from notifier.compose.custom_headers import is_command
from notifier.compose.mail import MOST_RECIPIENTS, Composed
from notifier.compose.mime import address_field
from notifier.dates import date
from notifier.errors import Fault, Forbidden, InvalidMessage

# What named the former recipients, and what a mail has of its own.
_LEFT_OUT = frozenset({"to", "cc", "bcc", "date", "message-id"})
_FIELDS = re.compile(rb"\r\n(?![ \t])")


def readdressed(
    mail: bytes,
    to: Sequence[str],
    *,
    sender: str,
    subject: str,
    id: str,
    at: datetime,
    restricted: bool = False,
) -> Composed:
    """
    The mail to these recipients alone. To names them, in place of the former To and Cc: a reader
    sees to whom this copy went. Date and Message-ID are new; all else is as it was. Raises
    InvalidMessage; Forbidden where the mail has a header that a `restricted` caller may not set.
    """
    faults: list[Fault] = []
    found: list[Address] = []
    for place, text in enumerate(to):
        try:
            found.append(address(text))
        except ValueError as error:
            faults.append(Fault(f"/to/{place}", str(error)))
    if not 0 < len(to) <= MOST_RECIPIENTS:
        faults.append(Fault("/to", f"1 to {MOST_RECIPIENTS} recipients, not {len(to)}"))
    if faults:
        raise InvalidMessage(*faults)
    head, _, body = mail.partition(b"\r\n\r\n")
    if restricted:
        _refuse_commands(head)
    domain = sender.rpartition("@")[2]
    header = b"".join(
        (
            address_field(b"To", [each.header for each in found]),
            f"Date: {date(int(at.timestamp()))}\r\nMessage-ID: <{id}@{domain}>\r\n".encode(),
            *(field + b"\r\n" for name, field in _fields(head) if not _is_left_out(name)),
        )
    )
    recipients = tuple(dict.fromkeys([each.spec for each in found]))
    content = b"%b\r\n%b" % (header, body)
    envelope = Envelope(sender, recipients, not header.isascii(), eight_bit=not content.isascii())
    return Composed(envelope, content, subject)


def _fields(head: bytes) -> Iterator[tuple[str, bytes]]:
    """Each field with its name in lower case."""
    for field in _FIELDS.split(head):
        name, _, _ = field.partition(b":")
        yield name.strip().decode("latin-1").lower(), field


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith("resent-")


def _refuse_commands(head: bytes) -> None:
    for name, _ in _fields(head):
        if is_command(name):
            raise Forbidden(
                f"the message has the header {name}, which cannot be sent with this key: a "
                "provider takes it for a command, which could bypass the key's rules"
            )
