"""The policy: what a provider's answer, or its silence, means for the message and the provider."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from notifier.attempts import Failure, Scope, Stage
from notifier.characters import one_line
from notifier.exchange import retry_after
from notifier.sms.provider.acceptance import Expected, Heard, complaint, heard, is_page

LONGEST_REPLY = 300  # characters


class Codes(Struct, frozen=True):
    """Error codes of a provider that say more than the HTTP status."""

    recipient: frozenset[int] = frozenset()
    message: frozenset[int] = frozenset()
    account: frozenset[int] = frozenset()
    busy: frozenset[int] = frozenset()

    @property
    def final(self) -> frozenset[int]:
        return self.recipient | self.message


# https://www.twilio.com/docs/api/errors
TWILIO = Codes(
    # No number to send texts to; or our account may not, to this country or this number.
    recipient=frozenset({21211, 21214, 21217, 21610, 21612, 21614, 21635, 21408, 21608}),
    message=frozenset({21602, 21605, 21617, 21619, 21620, 21623}),
    # The login, or the number that we send from.
    account=frozenset(
        {20003, 20005, 20006, 20404, 21212, 21603, 21606, 21659, 21660, 21701, 21703}
    ),
    busy=frozenset({20429, 21611, 14107, 63038}),
)

_ACCOUNT = {401, 402, 403, 407}
_MISDIRECTED = {404, 405, 410}
_BUSY = {408, 429, 503}
_UNDER_WAY = {409, 425}  # with an idempotency key: the first request is still being worked on
_ABOUT_ACCOUNT = re.compile(
    r"credential|unauthori[sz]ed|authenticat|api.?key|token|password|login|balance|credit|funds|"
    r"quota|account|suspended|payment|throttl|rate.?limit|too many",
    re.IGNORECASE,
)
_IDS = ("sid", "id", "message_id", "messageId", "messageUuid", "message_uuid")
_CODES = ("code", "error_code")
_WORDS = ("message", "detail", "error", "title", "description", "reason")


class Meaning(StrEnum):
    """What one exchange says about the provider."""

    FINE = "fine"  # the provider works, even if it refuses the message
    BUSY = "busy"  # the provider asks for a rest
    TROUBLE = "trouble"  # the failure may be chance
    DOUBT = "doubt"  # all messages will fail, or only this one
    ACCOUNT = "account"  # all messages will fail until the operator acts


class Answer(Struct, frozen=True):
    """A provider's answer. The body may be cut off."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    json: bool = False  # its Content-Type is that
    whole: bool = True  # none of the body is missing

    @property
    def data(self) -> Any:
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None


class Verdict(Struct, frozen=True):
    """The result for the message, and what it says about the provider. No failure: accepted."""

    meaning: Meaning
    reply: str
    code: int | None = None  # HTTP status
    failure: Failure | None = None
    uncertain: bool = False
    rest: float = 0.0  # seconds that the provider asks for


def judge(
    answer: Answer,
    *,
    codes: Codes,
    repeatable: bool,
    now: datetime,
    expected: Expected | None = None,
) -> Verdict:
    """
    The verdict on an answer. `repeatable`: the provider recognizes a repeated request by its key,
    so that sending again does no harm. `expected`: what success looks like, if the operator has
    said so.
    """
    status, data = answer.status, answer.data
    code = _code(data)
    reply = _reply(answer, data)
    if 200 <= status < 300:
        says = heard(answer.body, data, whole=answer.whole, json=answer.json, expected=expected)
        if says is Heard.ACCEPTED:
            return Verdict(Meaning.FINE, _id(data) or reply, status)
        if says is Heard.UNCLEAR:
            return _unclear(answer, reply, repeatable=repeatable)
        if code not in codes.final | codes.busy | codes.account:
            return _refused(answer, data, reply)
    if code in codes.busy or (status in _BUSY and code not in codes.final):
        return _relay(
            answer,
            Meaning.BUSY,
            reply,
            "provider_busy",
            rest=retry_after(answer.retry_after, now) or 0.0,
        )
    if code in codes.account or (status in _ACCOUNT and code not in codes.final):
        # A 403 does not say whether it concerns some countries or senders, or all.
        doubt = status == 403 and code not in codes.account
        meaning = Meaning.DOUBT if doubt else Meaning.ACCOUNT
        return _relay(answer, meaning, reply, "provider_account", stage=Stage.AUTH)
    if (
        status < 200
        or 300 <= status < 400
        or (status in _MISDIRECTED and not isinstance(data, dict))
    ):
        # A redirect, or an HTML page: the URL is wrong, not the message.
        return _relay(answer, Meaning.ACCOUNT, reply, "provider_url")
    if status >= 500:
        return _broken(answer, reply, repeatable=repeatable)
    if status in _UNDER_WAY and repeatable:
        return _relay(answer, Meaning.FINE, reply, "provider_busy")
    scope = Scope.MESSAGE if code in codes.message or status == 413 else Scope.RECIPIENT
    failure = Failure(
        scope=scope,
        permanent=True,
        stage=Stage.DOT,
        reply=reply,
        code=status,
        name="provider_refused",
    )
    return Verdict(Meaning.FINE, reply, status, failure)


def silence(reason: str, *, sent: bool, stage: Stage, repeatable: bool) -> Verdict:
    """The verdict without an answer. `sent`: the provider may have the request."""
    failure = Failure(
        scope=Scope.RELAY,
        permanent=False,
        stage=Stage.DOT if sent else stage,
        reply=reason,
        name="provider_silent" if sent else "provider_unreachable",
    )
    return Verdict(Meaning.TROUBLE, reason, failure=failure, uncertain=sent and not repeatable)


def _refused(answer: Answer, data: Any, reply: str) -> Verdict:
    """
    A refusal within a 2xx: nothing was sent. Only its text shows whether it concerns the message or
    the account, so it is not final at once. A text about the account leaves doubt, because the
    message might have provoked it.
    """
    words = complaint(data) or _words(data)
    reply = _line(words) or reply
    if _ABOUT_ACCOUNT.search(words):
        return _relay(answer, Meaning.DOUBT, reply, "provider_account", stage=Stage.AUTH)
    failure = Failure(
        scope=Scope.RECIPIENT,
        permanent=False,
        stage=Stage.DOT,
        reply=reply,
        code=answer.status,
        name="provider_refused",
    )
    return Verdict(Meaning.FINE, reply, answer.status, failure)


def _unclear(answer: Answer, reply: str, *, repeatable: bool) -> Verdict:
    """A 2xx that is not an API's answer, or that is ambiguous: the text may have been sent."""
    page = is_page(
        answer.body
    )  # the URL is wrong for all messages, or a proxy answers in place of the provider
    verdict = _relay(
        answer, Meaning.ACCOUNT if page else Meaning.TROUBLE, reply, "provider_unclear"
    )
    return msgspec.structs.replace(verdict, uncertain=not repeatable)


def _relay(
    answer: Answer,
    meaning: Meaning,
    reply: str,
    name: str,
    *,
    stage: Stage = Stage.DOT,
    rest: float = 0.0,
) -> Verdict:
    failure = Failure(
        scope=Scope.RELAY,
        permanent=False,
        stage=stage,
        reply=reply,
        code=answer.status,
        name=name,
    )
    return Verdict(meaning, reply, answer.status, failure, rest=rest)


def _broken(answer: Answer, reply: str, *, repeatable: bool) -> Verdict:
    """The provider had the whole request and then failed: it may have sent the text."""
    verdict = _relay(answer, Meaning.TROUBLE, reply, "provider_broken")
    return msgspec.structs.replace(verdict, uncertain=not repeatable)


def _code(data: Any) -> int | None:
    if not isinstance(data, dict):
        return None
    return next((data[name] for name in _CODES if isinstance(data.get(name), int)), None)


def _reply(answer: Answer, data: Any) -> str:
    words = _words(data) or answer.body.decode("utf-8", errors="replace")
    return _line(words) or f"HTTP {answer.status}"


def _words(data: Any) -> str:
    """The text for people at the top of an answer, with the provider's code."""
    if not isinstance(data, dict):
        return ""
    words = next((data[name] for name in _WORDS if isinstance(data.get(name), str)), "")
    code = _code(data)
    return f"{code} {words}" if code is not None and words else words


def _line(words: str) -> str:
    return one_line(words, LONGEST_REPLY)


def _id(data: Any, depth: int = 3) -> str:
    """The provider's id of the message, near the top of the answer."""
    if isinstance(data, dict):
        for name in _IDS:
            if isinstance(data.get(name), str | int):
                return str(data[name])[:LONGEST_REPLY]
    within = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return next((id for each in within if depth and (id := _id(each, depth - 1))), "")
