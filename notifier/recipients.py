"""One address of an envelope, and what has become of it."""

import re
from enum import StrEnum

from msgspec import Struct

from notifier.attempts import Attempt

_PART = re.compile(r"(.*) \((\d+)/\d+\)", re.DOTALL)


class RecipientStatus(StrEnum):
    """What has become of one recipient."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Recipient(Struct, frozen=True, omit_defaults=True):
    """One address of the envelope, and the last that a relay said about it."""

    address: str
    status: RecipientStatus = RecipientStatus.PENDING
    code: int | None = None
    reply: str = ""

    def after(self, attempt: Attempt) -> "Recipient":
        """The recipient once an attempt has been made. What is settled stays as it is."""
        if self.status is not RecipientStatus.PENDING:
            return self
        if taken := attempt.acceptance(self.address):
            return Recipient(self.address, RecipientStatus.ACCEPTED, taken.code, taken.reply)
        if failure := attempt.failures.get(self.address):
            status = RecipientStatus.REFUSED if failure.final else RecipientStatus.PENDING
            return Recipient(self.address, status, failure.code, failure.reply)
        return self


def in_parts(address: str, parts: int) -> tuple[str, ...]:
    """
    The recipients of a text that is sent in so many parts: the one address, with the number of
    the part as a comment. So a record tells which parts were taken, refused or are yet to be sent.
    """
    if parts == 1:
        return (address,)
    return tuple(f"{address} ({part}/{parts})" for part in range(1, parts + 1))


def part_of(recipient: str) -> tuple[str, int]:
    """The address, and the number of the part that goes there. 0: the whole message."""
    found = _PART.fullmatch(recipient)  # no address has a space before a parenthesis
    return (found[1], int(found[2])) if found else (recipient, 0)
