"""
Whether a provider that answers 2xx has accepted the text.

Many providers answer 200 to everything and report failures in the body. If the operator has said
what success looks like (NOTIFIER_SMS_PROVIDER_SUCCESS), that alone decides. Otherwise a body is a
refusal if it says so in one of the ways that providers document: a flag that is false, a word for
failure as the status, an error field with something in it. A field that may repeat our own text
(`message`, `text`, `body`) is never examined.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

DEEPEST = 5  # levels of a body that are examined

# Names are compared without case and punctuation: `error-text` is `errortext`.
_FLAGS = {"success", "successful", "issuccess", "ok", "accepted", "sent", "return"}
_STATES = {"status", "state", "type", "result", "response", "responsecode", "groupname"}
_NUMBERS = {"status", "statuscode", "code", "httpcode", "responsecode", "resultcode"}
_ERRORS = {
    "error",
    "errors",
    "err",
    "errortext",
    "errormessage",
    "errormsg",
    "errmsg",
    "errordescription",
    "errorcode",
    "errcode",
    "invalidnumber",
    "invalidnumbers",
    "invalidreceivers",
}
_EXPLANATIONS = {"description", "detail", "reason"}
_IDS = {"id", "sid", "messageid", "messageuuid", "apimessageid", "requestid", "textid"}
# What stands in an error field where there is no error; `000` and `ER-00` are among them.
_NO_ERROR = re.compile(
    r"(|er?r?0+|0+|2[0-9]{2}|none|null|no|false|ok|success|successful|noerror|done|accepted|sent|"
    r"submitted|queued|delivered)"
)

_FAILURE = re.compile(
    r"(err|fail|reject|undeliver|invalid|denied|declined|insufficient|block|barred|expired|"
    r"not.?(sent|accept|allow|deliver)|unauthori[sz]|forbidden|unsuccess)",
    re.IGNORECASE,
)
_WORDS_OF_FAILURE = re.compile(rf"\s*(-[0-9]+\b|{_FAILURE.pattern})", re.IGNORECASE)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")
_PAGE = re.compile(rb"<!doctype html|<(html|head|body|h1)[ >]", re.IGNORECASE)


class Heard(StrEnum):
    """What a 2xx says about the text."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # nothing was sent
    UNCLEAR = "unclear"  # it may have been sent


class Expected(Struct, frozen=True):
    """What success looks like: this value, as text, at a JSON pointer (RFC 6901)."""

    steps: tuple[str, ...]
    value: str

    @classmethod
    def read(cls, text: str) -> "Expected":
        """Read a setting such as `/messages/0/status=0`. Raises ValueError."""
        pointer, equals, value = text.partition("=")
        if not pointer.startswith("/") or not equals or not value.strip():
            raise ValueError("write a JSON pointer and the value there, /messages/0/status=0")
        steps = (step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))
        return cls(tuple(steps), value.strip())

    def met_by(self, data: Any) -> bool:
        for step in self.steps:
            if isinstance(data, dict) and step in data:
                data = data[step]
            elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
                data = data[int(step)]
            else:
                return False
        if isinstance(data, str):
            return data == self.value
        return not isinstance(data, dict | list) and msgspec.json.encode(data) == (
            self.value.encode()
        )


def heard(body: bytes, data: Any, *, whole: bool, json: bool, expected: Expected | None) -> Heard:
    """
    What the body of a 2xx says. `data`: the body as JSON, None if it is not JSON. `whole`: nothing
    of it is missing. `json`: its Content-Type is JSON.
    """
    if expected is not None:
        if data is None:
            return Heard.UNCLEAR
        return Heard.ACCEPTED if expected.met_by(data) else Heard.REFUSED
    if isinstance(data, dict | list):
        return _of(data, DEEPEST)
    if isinstance(data, bool | int | float):
        return Heard.REFUSED if data is False or data < 0 else Heard.ACCEPTED
    words = data if isinstance(data, str) else body[:200].decode("utf-8", errors="replace")
    if _WORDS_OF_FAILURE.match(words):
        return Heard.REFUSED
    if is_page(body) or (data is None and json and whole and body.strip()):
        return Heard.UNCLEAR
    return Heard.ACCEPTED


def is_page(body: bytes) -> bool:
    """Whether the body is HTML, which is for people and never comes from an API."""
    start = body[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<") and _PAGE.search(start) is not None


def complaint(data: Any) -> str:
    """What a body says in its error fields, as text; empty: nothing."""
    return "; ".join(dict.fromkeys(_complaints(data, DEEPEST)))


def _complaints(data: Any, levels: int, *, within_error: bool = False) -> Iterator[str]:
    if isinstance(data, str):
        if within_error and not _NO_ERROR.fullmatch(_folded(data)):
            yield data
    elif levels and isinstance(data, list):
        for each in data:
            yield from _complaints(each, levels - 1, within_error=within_error)
    elif levels and isinstance(data, dict):
        for name, value in data.items():
            wrong = within_error or _folded(name) in _ERRORS | _EXPLANATIONS
            yield from _complaints(value, levels - 1, within_error=wrong)


def _of(data: Any, levels: int, within: str = "") -> Heard:
    """What an object or a list says. `within`: the name of the field that holds it."""
    if isinstance(data, list):
        return _of_several([_of(each, levels - 1, within) for each in data if levels])
    if not isinstance(data, dict):
        return Heard.ACCEPTED
    fields = {_folded(name): value for name, value in data.items()}
    own = _own(fields, within)
    if own is not Heard.ACCEPTED or not levels:
        return own
    inner = [_of(value, levels - 1, name) for name, value in _inner(fields)]
    return max(inner, key=_SEVERITY.index, default=Heard.ACCEPTED)


def _inner(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if name not in _ERRORS and isinstance(value, dict | list):
            yield name, value


_SEVERITY = (Heard.ACCEPTED, Heard.UNCLEAR, Heard.REFUSED)


def _of_several(each: list[Heard]) -> Heard:
    """
    What the parts of a text say. If some are accepted and others are not, sending again would
    repeat some.
    """
    kinds = set(each)
    if len(kinds) > 1:
        return Heard.UNCLEAR
    return kinds.pop() if kinds else Heard.ACCEPTED


def _own(fields: dict[str, Any], within: str) -> Heard:
    """What an object says in its own fields."""
    for name, value in fields.items():
        if name in _FLAGS and (value is False or _is_word(value, {"false", "no"})):
            return Heard.REFUSED
        if name in _STATES and isinstance(value, str) and _FAILURE.match(value.strip()):
            return Heard.REFUSED
        if name in _ERRORS and _tells(value):
            return Heard.REFUSED
    for name in sorted(_NUMBERS & fields.keys()):
        said = _of_number(name, fields[name], fields, within)
        if said is not Heard.ACCEPTED:
            return said
    return Heard.ACCEPTED


def _of_number(name: str, value: Any, fields: dict[str, Any], within: str) -> Heard:
    """
    What a numeric status means. 0 and 2xx are success everywhere, negative numbers and HTTP's
    errors nowhere. In an entry of `messages` only 0 is success, as with Vonage and similar
    providers. Other numbers differ between providers: a bare `"status": "4"` is unclear. Beside an
    id, the text counts as accepted.
    """
    if isinstance(value, bool) or not _WHOLE_NUMBER.fullmatch(str(value).strip()):
        return Heard.ACCEPTED
    number = int(value)
    if number < 0 or 400 <= number < 600:
        return Heard.REFUSED
    if number == 0 or 100 <= number < 300 or any(fields.get(each) for each in _IDS):
        return Heard.ACCEPTED
    if within == "messages":
        return Heard.REFUSED
    bare = name == "status" and isinstance(value, str) and number != 1
    return Heard.UNCLEAR if bare else Heard.ACCEPTED


def _tells(value: Any) -> bool:
    """Whether an error field reports an error: many are present but empty."""
    if isinstance(value, list):
        return any(map(_tells, value))
    if isinstance(value, dict):
        codes = [value[name] for name in ("groupId", "id", "code") if name in value]
        return any(map(_tells, codes or value.values()))
    if value is None or isinstance(value, bool):
        return bool(value)
    return _NO_ERROR.fullmatch(_folded(str(value))) is None


def _is_word(value: Any, words: set[str]) -> bool:
    return isinstance(value, str) and value.strip().lower() in words


def _folded(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))
