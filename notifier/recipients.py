"""One address of an envelope, and what has become of it."""

from enum import StrEnum

from msgspec import Struct

from notifier.attempts import Attempt


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
