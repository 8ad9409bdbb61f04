"""A recipient of a message, and its state."""

import re
from enum import StrEnum

from msgspec import Struct

from notifier.attempts import Attempt

_PART = re.compile(r"(.*) \((\d+)/\d+\)", re.DOTALL)


class RecipientStatus(StrEnum):
    """The state of a recipient."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Recipient(Struct, frozen=True, omit_defaults=True):
    """An address of the envelope, and the last reply of a relay about it."""

    address: str
    status: RecipientStatus = RecipientStatus.PENDING
    code: int | None = None
    reply: str = ""

    def after(self, attempt: Attempt) -> "Recipient":
        """The recipient after an attempt. Accepted and refused recipients do not change."""
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
    The recipients of a text that is sent in several parts: the same address, with the part's number
    as a comment. So the record tells which parts were accepted, refused or are pending.
    """
    if parts == 1:
        return (address,)
    return tuple(f"{address} ({part}/{parts})" for part in range(1, parts + 1))


def part_of(recipient: str) -> tuple[str, int]:
    """The address, and the number of the part that it gets. 0: the whole message."""
    found = _PART.fullmatch(recipient)  # no address has a space before a parenthesis
    return (found[1], int(found[2])) if found else (recipient, 0)
