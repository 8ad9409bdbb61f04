"""
The policy for what Microsoft Graph answers to sendMail.
https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling

    what happened                                     whose trouble   lost?   next
    ------------------------------------------------  --------------  ------  --------------------
    2xx                                               it is sent
    no connection, no TLS                             relay           no      next relay, defer
    401 to a new token, 403, 404                      relay           no      next relay, defer
    403 ErrorSendAsDenied                             relay           no      next relay, defer
    the mailbox is full, or its day's share is used   relay           no      next relay, defer
    429, 503, 408, 509                                relay           no      rest as long as asked
    other 5xx, a redirect                             relay           no      next relay, defer
    413, ErrorMessageSizeExceeded                     relay           if all  next relay
    400                                               message         yes     fail; ask no other
    other 4xx                                         message         no      defer
    502, 504, silence after the request was out       nobody knows    no      uncertain
"""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from notifier.attempts import Failure, Scope, Stage
from notifier.characters import one_line
from notifier.exchange import retry_after

LONGEST_REPLY = 300  # characters
SHORTEST = 1.0  # longest rest that Graph may ask for, in seconds
UNSAID = 5.0  # seconds of rest if Graph does not say how long

_THROTTLED = {408, 429, 503, 509}
_UNKNOWN = {502, 504}  # a gateway that got no answer itself
_NAMES = {
    "ErrorSendAsDenied": "sender_not_allowed",
    "ErrorMessageSizeExceeded": "too_large",
    "ErrorQuotaExceeded": "quota_exceeded",
    "ErrorExceededMessageLimit": "quota_exceeded",
    "ErrorExceededRecipientLimit": "quota_exceeded",
    "ErrorMessageSubmissionBlocked": "access_denied",
    "MailboxNotEnabledForRESTAPI": "mailbox_unknown",
    "ErrorInvalidUser": "mailbox_unknown",
}


class _Error(Struct):
    code: str = ""
    message: str = ""


class _Body(Struct):
    error: _Error


_decoder = msgspec.json.Decoder(_Body)


class Answer(Struct, frozen=True):
    """The answer of Microsoft Graph."""

    status: int
    body: bytes = b""
    retry_after: str = ""
    request_id: str = ""

    @property
    def error(self) -> tuple[str, str]:
        """The error's code and text."""
        try:
            error = _decoder.decode(self.body).error
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return "", ""
        return _line(error.code), _line(error.message)

    @property
    def reply(self) -> str:
        """The error in one line, with the ids that Microsoft's support asks for."""
        code, words = self.error
        text = f"{self.status} {code}: {words}" if code else f"{self.status} {_words(self.body)}"
        asked = f" (request-id {self.request_id})" if self.request_id else ""
        return f"{text.rstrip(': ')}{asked}"


class Verdict(Struct, frozen=True):
    """What an answer means. No failure: the message was sent."""

    failure: Failure | None = None
    uncertain: bool = False


def judge(answer: Answer, *, now: datetime | None = None) -> Verdict:
    """Apply the table. A 401 here means that a new token was refused, too."""
    status = answer.status
    code, _ = answer.error
    if 200 <= status < 300:
        return Verdict()
    if status in _THROTTLED:
        return Verdict(_relay(answer, "throttled", wait=_wait(answer, now or datetime.now(UTC))))
    if name := _NAMES.get(code):
        return Verdict(_relay(answer, name))
    if status == 413:
        return Verdict(_relay(answer, "too_large"))
    names = {401: "token_refused", 403: "access_denied", 404: "mailbox_unknown"}
    if name := names.get(status):
        return Verdict(_relay(answer, name))
    if status >= 500 or status < 400:
        return Verdict(_relay(answer, "server_error"), uncertain=status in _UNKNOWN)
    permanent = status == 400
    return Verdict(_failure(answer, Scope.MESSAGE, "", permanent=permanent))


def _relay(answer: Answer, name: str, *, wait: float = 0.0) -> Failure:
    never = name == "too_large"
    return _failure(answer, Scope.RELAY, name, permanent=never, wait=wait)


def _failure(
    answer: Answer, scope: Scope, name: str, *, permanent: bool, wait: float = 0.0
) -> Failure:
    about_us = {"token_refused", "access_denied", "mailbox_unknown", "quota_exceeded"}
    return Failure(
        scope=scope,
        permanent=permanent,
        stage=Stage.AUTH if name in about_us else Stage.DOT,
        reply=answer.reply,
        code=answer.status,
        name=name,
        wait=wait,
    )


def _wait(answer: Answer, now: datetime) -> float:
    """The seconds of rest that the answer asks for."""
    asked = retry_after(answer.retry_after, now)
    return UNSAID if asked is None else max(SHORTEST, asked)


def _words(body: bytes) -> str:
    """The text of an answer that is not Graph's error; empty for a page, which is for people."""
    return "" if body.lstrip()[:1] in (b"<", b"{") else _line(body.decode("utf-8", "replace"))


def _line(words: str) -> str:
    return one_line(words, LONGEST_REPLY)
