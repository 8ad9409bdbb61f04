"""
Everything that notifier raises.

* NotifierError
  x ConfigurationError      the operator must change a setting              exit 2
  x Rejected                the caller must change the request
    + InvalidMessage        fields are wrong, each named by its pointer
      - InvalidAddress      of a person to forget or to tell about
    + MessageNotFound
    + WrongState            the message's state does not allow it
    + IdempotencyMismatch   the key was used for another request
    + Unauthorized          no valid API key
    + Forbidden             the API key does not allow it
  x Unavailable             try again later
    + BacklogFull
    + TooMany               the API key's rate is used up
      - RecipientRate       a recipient gets too many messages
    + Draining
    + BeingSent             the message is being sent just now
    + JournalUnavailable    the journal cannot be read or written now
  x JournalFailure          the journal cannot be used at all               exit 74
  x JournalInUse            another process holds it                        exit 75

An error while a message is being sent is data, not an exception: see `Failure` in `attempts`.
"""

from collections.abc import Sequence
from typing import Self, TypeAlias

from msgspec import Struct


class NotifierError(Exception):
    """Base of every exception that notifier raises."""


class ConfigurationError(NotifierError):
    """Settings are wrong, unknown or contradictory; `faults` has one line for each of them."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Rejected(NotifierError):
    """The request cannot be carried out as it stands."""

    def bare(self) -> Self:
        """The exception without its traceback and causes, whose frames would hold memory."""
        self.__context__ = self.__cause__ = None
        return self.with_traceback(None)


def pointer_step(name: str) -> str:
    """A name as one step of a JSON pointer. RFC 6901, section 3."""
    return name.replace("~", "~0").replace("/", "~1")


class Fault(Struct, frozen=True):
    """What is wrong with one field. `pointer` is a JSON pointer (RFC 6901) into the body."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.message}" if self.pointer else self.message

    def within(self, position: int) -> "Fault":
        """The same fault, for a message at this position of a batch."""
        return Fault(f"/{position}{self.pointer}", self.message)


class InvalidMessage(Rejected):
    """The message cannot be sent; `faults` names each wrong field."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults: Sequence[Fault] = faults


class InvalidAddress(InvalidMessage):
    """The text is neither an address nor a phone number."""


class MessageNotFound(Rejected):
    """No message has this id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no message has the id {id!r}")


class WrongState(Rejected):
    """The message's state does not allow the request."""


class IdempotencyMismatch(Rejected):
    """The idempotency key was used for a different request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} was used for a different request")


class Unauthorized(Rejected):
    """The caller sent no valid API key."""


class Forbidden(Rejected):
    """The caller's API key does not allow what was asked."""


class Unavailable(NotifierError):
    """The service cannot do this now; nothing is wrong with the request."""

    def __init__(self, reason: str, *, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.retry_after = retry_after  # seconds


class BacklogFull(Unavailable):
    """The backlog has reached its limit."""


class TooMany(Unavailable):
    """The caller's API key has used up its rate; `headers` are RateLimit fields."""

    def __init__(self, reason: str, *, retry_after: int, headers: dict[str, str]) -> None:
        super().__init__(reason, retry_after=retry_after)
        self.headers = headers


class RecipientRate(TooMany):
    """A recipient has got as many messages as it may in this time."""

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(reason, retry_after=retry_after, headers={"Retry-After": str(retry_after)})


# What refuses one message of several: it is wrong, or too much for its recipient.
Refusal: TypeAlias = Rejected | RecipientRate


class Draining(Unavailable):
    """The service is stopping."""


class BeingSent(Unavailable):
    """The message cannot be changed before the outcome of the attempt under way is recorded."""

    def __init__(self, id: str) -> None:
        super().__init__(f"the message {id} is being sent just now", retry_after=1)


class JournalUnavailable(Unavailable):
    """The journal could not be read or written; it may be again."""


class JournalFailure(NotifierError):
    """The journal cannot be used: it is corrupt, not writable, or its disk fails."""


class JournalInUse(NotifierError):
    """Another process holds the journal."""
