"""What a report says, and what came of it here."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from notifier.recipients import Later, LaterState


class Report(Struct, frozen=True, kw_only=True):
    """
    A report about one recipient. The last fields name message and recipient, as far as the report
    does: they are tried in their order, and the first that is given decides.
    """

    state: LaterState
    road: str  # how it came in: `http`, `smtp`, `imap`, or a provider's name
    at: datetime | None = None  # when it happened; None: now
    code: str = ""  # the enhanced status code, RFC 3463
    text: str = ""  # what a server said
    paths: tuple[str, ...] = ()  # addresses that may be a return path of ours, or bare tokens
    envelope_id: str = ""  # the ENVID that a relay got from us, RFC 3461: the message's id
    message_id: str = ""  # of the message that was sent, with or without its angle brackets
    recipients: tuple[str, ...] = ()  # as the report names the one recipient, the best name first


class Result(StrEnum):
    """What came of a report."""

    TAKEN = "taken"  # it is believed, and a recipient of a message has it
    REPEATED = "repeated"  # it says no more than what was known
    UNKNOWN = "unknown"  # it is about no message that was sent, or about one that is not kept
    IGNORED = "ignored"  # it is no report


class Finding(Struct, frozen=True):
    """What came of one report: about whom, or why it was not taken."""

    result: Result
    why: str = ""
    message: str = ""  # the id
    recipient: str = ""
    later: Later | None = None


class Taken(Struct, frozen=True):
    """What came of a mail, which may report of several recipients, or of an event."""

    findings: tuple[Finding, ...]

    @property
    def result(self) -> Result:
        """The best of them."""
        results = {each.result for each in self.findings}
        return next((each for each in Result if each in results), Result.IGNORED)

    @property
    def understood(self) -> bool:
        """Whether it was a report at all, so that it need not be kept for a person."""
        return self.result is not Result.IGNORED
