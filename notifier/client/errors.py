"""
What can go wrong with a call.

* NotifierError
  x Problem            the service refused the call (RFC 9457)
    + Rejected         400, 413, 415, 422: the message or a parameter is wrong
    + Unauthorized     401: no valid API key
    + Forbidden        403: the API key does not allow it
    + MessageNotFound  404
    + WrongState       409: the message's state does not allow it
    + TooMany          429: the backlog, or the API key's rate
    + Unavailable      502, 503, 504: try again later
  x Unreachable        no answer came, also a ConnectionError
  x UnexpectedAnswer   what answered is not notifier
  x NotYet             a wait has run out, also a TimeoutError
  x InvalidCallback    a callback that the service did not sign

All can be pickled, as queues such as Celery's need.
"""

from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from msgspec import Struct

from notifier.client.resources import Message

QUOTED = 200  # characters of an answer that notifier did not write


class NotifierError(Exception):
    """A call did not do what it was to do. Every error of this package is one."""


class Fault(Struct, frozen=True):
    """One thing that is wrong, and where."""

    message: str
    pointer: str | None = None  # into the message, RFC 6901; in a batch its position comes first
    parameter: str | None = None
    header: str | None = None

    def __str__(self) -> str:
        where = self.pointer or self.parameter or self.header
        return f"{where}: {self.message}" if where else self.message


class Problem(NotifierError):
    """The service refused a call. The fields are those of RFC 9457."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        type: str = "about:blank",
        errors: Sequence[Fault] = (),
        retry_after: float | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(status, title, detail, type, errors, retry_after, id)
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type  # such as `urn:notifier:problem:invalid-message`
        self.errors = tuple(errors)
        self.retry_after = retry_after  # seconds
        self.id = id  # of the message that it is about

    def __str__(self) -> str:
        said = "; ".join(map(str, self.errors)) or self.detail
        return f"{self.status} {self.title}: {said}" if said else f"{self.status} {self.title}"


class Rejected(Problem):
    """The message or a parameter is wrong; `errors` names each field."""


class Unauthorized(Problem):
    """The service wants an API key, and none or a wrong one was given."""


class Forbidden(Problem):
    """The API key does not allow this."""


class MessageNotFound(Problem):
    """The message does not exist, or no longer."""


class WrongState(Problem):
    """The message's state does not allow this."""


class TooMany(Problem):
    """The backlog is full, or the API key has used up its rate. `retry_after` says how long."""


class Unavailable(Problem):
    """The service cannot do it now: it is stopping, or its journal cannot be written."""


class Unreachable(NotifierError, ConnectionError):
    """
    No answer came in time. With an `idempotency_key` the message may have been accepted: to repeat
    the call with that key makes no second message.
    """

    def __init__(self, text: str, idempotency_key: str | None = None) -> None:
        super().__init__(text, idempotency_key)
        self.idempotency_key = idempotency_key
        self._text = text

    def __str__(self) -> str:
        return self._text


class UnexpectedAnswer(NotifierError):
    """What answered is not notifier, or not at this URL."""


class NotYet(NotifierError, TimeoutError):
    """A message was not settled in time. `message` is what was known of it last."""

    def __init__(self, message: Message, seconds: float) -> None:
        super().__init__(message, seconds)
        self.message = message
        self.seconds = seconds

    def __str__(self) -> str:
        reason = f": {self.message.reason}" if self.message.reason else ""
        return f"{self.message.id} is {self.message.status} after {self.seconds:g} s{reason}"


BY_STATUS: dict[int, type[Problem]] = {
    400: Rejected,
    401: Unauthorized,
    403: Forbidden,
    404: MessageNotFound,
    409: WrongState,
    413: Rejected,
    415: Rejected,
    422: Rejected,
    429: TooMany,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class ProblemBody(Struct):
    """A problem as the service writes it."""

    title: str
    status: int
    detail: str = ""
    type: str = "about:blank"
    errors: tuple[Fault, ...] = ()
    id: str | None = None


_decoder = msgspec.json.Decoder(ProblemBody)


def problem_of(body: ProblemBody, retry_after: float | None = None) -> Problem:
    """The exception for a problem."""
    kind = BY_STATUS.get(body.status, Problem)
    return kind(body.status, body.title, body.detail, body.type, body.errors, retry_after, body.id)


def problem_in(status: int, content: bytes, retry_after: float | None) -> Problem:
    """The exception for an answer without success, also if notifier did not write the answer."""
    try:
        body = _decoder.decode(content)
    except (msgspec.DecodeError, RecursionError):
        known = status in set(HTTPStatus)
        title = HTTPStatus(status).phrase if known else "Unknown status"
        body = ProblemBody(
            title, status, " ".join(content.decode(errors="replace")[:QUOTED].split())
        )
    body.status = status
    return problem_of(body, retry_after)
