"""What a report says, and what the service did with it."""

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
    """What the service did with a report."""

    TAKEN = "taken"  # it is believed, and noted with the recipient
    REPEATED = "repeated"  # it says nothing new
    UNKNOWN = "unknown"  # it is about a message that was never sent, or is no longer kept
    IGNORED = "ignored"  # it is no report


class Finding(Struct, frozen=True):
    """What the service did with one report: whom it is about, or why it was not taken."""

    result: Result
    why: str = ""
    message: str = ""  # the id
    recipient: str = ""
    later: Later | None = None


class Taken(Struct, frozen=True):
    """What the service did with an event, or with a mail, which may have several reports."""

    findings: tuple[Finding, ...]

    @property
    def result(self) -> Result:
        """The best result of its reports."""
        results = {each.result for each in self.findings}
        return next((each for each in Result if each in results), Result.IGNORED)

    @property
    def understood(self) -> bool:
        """Whether it was a report at all; if not, it is kept for a person."""
        return self.result is not Result.IGNORED
