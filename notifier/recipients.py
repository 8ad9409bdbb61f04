"""A recipient of a message, and its state."""

import re
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

PROVEN = "a report proves that a relay took it"
ERASED = "erased:"  # the prefix of a pseudonym of an erased address; see `pseudonyms`

_PART = re.compile(r"(.*) \((\d+)/\d+\)", re.DOTALL)


class RecipientStatus(StrEnum):
    """The state of a recipient."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SUPPRESSED = "suppressed"  # it is on the list of suppressions, so nothing is sent to it


class LaterState(StrEnum):
    """What became of a message at a recipient after a relay took it; a later one outweighs."""

    DELAYED = "delayed"  # a server further on has it and tries again
    RELAYED = "relayed"  # it went on to a server that reports nothing more
    DELIVERED = "delivered"  # it is in the mailbox
    COMPLAINED = "complained"  # the reader called it spam
    BOUNCED = "bounced"  # it will never be; that stays known

    @property
    def weight(self) -> int:
        """A state takes the place of those with less weight."""
        return _WEIGHTS[self]


_WEIGHTS = {state: weight for weight, state in enumerate(LaterState)}


class Later(Struct, frozen=True, omit_defaults=True):
    """What was reported about a recipient after a relay took the message."""

    state: LaterState
    at: datetime
    code: str = ""  # the enhanced status code, RFC 3463: `5.1.1`
    text: str = ""  # what the server said, in one line
    road: str = ""  # how the report came in: `http`, `smtp`, `imap`, or a provider's name


class Recipient(Struct, frozen=True, omit_defaults=True):
    """An address of the envelope, the last reply of a relay about it, and what came later."""

    address: str
    status: RecipientStatus = RecipientStatus.PENDING
    code: int | None = None
    reply: str = ""
    later: Later | None = None

    @property
    def bounced(self) -> bool:
        return self.later is not None and self.later.state is LaterState.BOUNCED

    @property
    def erased(self) -> bool:
        """Whether it was forgotten who it is."""
        return self.address.startswith(ERASED)

    def reported(self, later: Later) -> "Recipient":
        """
        The recipient after a report, which proves that a relay has the message. It is the same
        object where the report says no more than one before it.
        """
        known = self.later
        if known is not None and known.state.weight >= later.state.weight:
            return self
        if self.status is RecipientStatus.ACCEPTED:
            return Recipient(self.address, self.status, self.code, self.reply, later)
        return Recipient(self.address, RecipientStatus.ACCEPTED, reply=PROVEN, later=later)


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
