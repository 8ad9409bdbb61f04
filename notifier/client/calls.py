"""The calls of the API, written once for both clients: each is a Call, which they run."""

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar
from urllib.parse import urlencode
from uuid import uuid4

import msgspec
from msgspec import Struct

from notifier.client.errors import (
    NotifierError,
    NotYet,
    Problem,
    ProblemBody,
    UnexpectedAnswer,
    WrongState,
    problem_in,
    problem_of,
)
from notifier.client.fields import batch_of, encoded
from notifier.client.resources import Message
from notifier.client.retrying import Answer, Ask, Call, Pause, Retrying, retry_after, spread

T = TypeVar("T")

JSON = {"Content-Type": "application/json"}
MESSAGES = "/v1/messages"
LONGEST_POLL = 10.0  # seconds; a message that is held meanwhile is seen after these
SHORT_POLL = 0.2  # seconds between polls, if the service answers at once


class Filters(TypedDict, total=False):
    """Which messages `list` finds."""

    status: str | Sequence[str]
    channel: str
    user_id: str
    reference: str
    tag: str
    to: str
    relay: str
    key: str
    bounced: bool
    reason: str
    created_after: datetime
    created_before: datetime
    q: str


class Page(Struct):
    """Some of the messages that were asked for, and where the next ones are."""

    items: tuple[Message, ...]
    next_cursor: str | None = None


class _Accepted(Struct):
    items: tuple[Message, ...]


class _One(Struct):
    status: int
    message: Message | None = None
    problem: ProblemBody | None = None


class _Mixed(Struct):
    items: tuple[_One, ...]


class Calls:
    """Makes the calls of one client."""

    def __init__(self, url: str, retrying: Retrying) -> None:
        self._url = url
        self._retrying = retrying

    def send(
        self, draft: Mapping[str, Any], *, wait: float, idempotency_key: str | None
    ) -> Call[Message]:
        until = time.monotonic() + wait
        seconds = min(wait, LONGEST_POLL)
        prefer = {"Prefer": f"wait={math.ceil(seconds)}"} if wait > 0 else {}
        ask = Ask(
            method="POST",
            path=MESSAGES,
            content=encoded(draft),
            headers={**JSON, **prefer, **_once(idempotency_key)},
            seconds=seconds,
        )
        message = yield from self._read(ask, Message)
        try:
            return (yield from self._until_settled(message, until))
        except NotifierError:  # it is on disk: who repeats the call sends twice
            return message

    def send_source(
        self, source: bytes, query: Mapping[str, Any], *, idempotency_key: str | None
    ) -> Call[Message]:
        given = urlencode({name: each for name, each in query.items() if each}, doseq=True)
        ask = Ask(
            method="POST",
            path=f"{MESSAGES}?{given}" if given else MESSAGES,
            content=source,
            headers={"Content-Type": "message/rfc822", **_once(idempotency_key)},
        )
        return self._read(ask, Message)

    def batch(
        self, messages: Sequence[bytes], *, idempotency_key: str | None
    ) -> Call[tuple[Message, ...]]:
        ask = _batch(messages, idempotency_key, {})
        return (yield from self._read(ask, _Accepted)).items

    def batch_each(
        self, messages: Sequence[bytes], *, idempotency_key: str | None
    ) -> Call[tuple[Message | Problem, ...]]:
        ask = _batch(messages, idempotency_key, {"X-Batch-Validation": "permissive"})
        found = yield from self._read(ask, _Mixed)
        return tuple(map(_result, found.items))

    def get(self, id: str) -> Call[Message]:
        return self._read(Ask(method="GET", path=_path(id)), Message)

    def wait(self, id: str, *, timeout: float) -> Call[Message]:
        until = time.monotonic() + timeout
        message = yield from self.get(id)
        message = yield from self._until_settled(message, until)
        if not message.settled:
            raise NotYet(message, timeout)
        return message

    def page(self, filters: Mapping[str, Any], cursor: str | None, size: int) -> Call[Page]:
        query = {name: value for name, value in filters.items() if value is not None}
        for name, value in query.items():
            if isinstance(value, bool):
                query[name] = str(value).lower()
            elif isinstance(value, datetime):
                if value.tzinfo is None:
                    raise ValueError(f"{name} has no time zone; write datetime(..., tzinfo=UTC)")
                query[name] = value.isoformat()
        query["limit"] = size
        if cursor is not None:
            query["cursor"] = cursor
        path = f"{MESSAGES}?{urlencode(query, doseq=True)}"
        return self._read(Ask(method="GET", path=path), Page)

    def act(self, id: str, what: str) -> Call[Message]:
        """Cancel or retry. After a lost answer, a refusal may be due to our own first try."""
        answer = yield from self._answer(Ask(method="POST", path=f"{_path(id)}/{what}"))
        try:
            return _decoded(self._url, answer, Message)
        except WrongState:
            if not answer.uncertain:
                raise
            return (yield from self.get(id))

    def _until_settled(self, message: Message, until: float) -> Call[Message]:
        """The message once it is settled, or as it is then."""
        while not message.settled and (left := until - time.monotonic()) > 0:
            seconds = min(left, LONGEST_POLL)
            before, asked_at = message, time.monotonic()
            path = f"{_path(message.id)}?wait={math.ceil(seconds)}"
            message = yield from self._read(Ask(method="GET", path=path, seconds=seconds), Message)
            if _seen(message) == _seen(before) and time.monotonic() - asked_at < SHORT_POLL:
                yield Pause(spread(SHORT_POLL))
        return message

    def _read(self, ask: Ask, kind: type[T]) -> Call[T]:
        answer = yield from self._answer(ask)
        return _decoded(self._url, answer, kind)

    def _answer(self, ask: Ask) -> Call[Answer]:
        return self._retrying.of(ask, url=self._url)


def _decoded(url: str, answer: Answer, kind: type[T]) -> T:
    """What an answer holds. Raises Problem, UnexpectedAnswer."""
    if 300 <= answer.status < 400:
        place = answer.headers.get("location", "nowhere")[:200]
        raise UnexpectedAnswer(f"{url} redirects to {place}, which is not followed; give that URL")
    if answer.status >= 300:
        raise problem_in(answer.status, answer.content, retry_after(answer.headers))
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnexpectedAnswer(f"{url} did not answer as notifier does: {error}") from None


def _batch(messages: Sequence[bytes], key: str | None, headers: Mapping[str, str]) -> Ask:
    return Ask(
        method="POST",
        path=f"{MESSAGES}/batch",
        content=batch_of(messages),
        headers={**JSON, **headers, **_once(key)},
        seconds=0.02 * len(messages),
    )


def _result(one: _One) -> Message | Problem:
    if one.message is not None:
        return one.message
    return problem_of(one.problem or ProblemBody("Unknown", one.status))


def _once(key: str | None) -> dict[str, str]:
    """The field by which the service knows the tries of one call. One key for each call."""
    key = key or uuid4().hex
    if not (key.isascii() and key.isprintable() and " " not in key and len(key) <= 255):
        raise ValueError("idempotency_key must be 1 to 255 visible ASCII characters")
    return {"Idempotency-Key": key}


def _path(id: str) -> str:
    if not (id.isascii() and id.isalnum()):
        raise ValueError(f"{id!r} is not the id of a message")
    return f"{MESSAGES}/{id}"


def _seen(message: Message) -> tuple[str, int]:
    return message.status, len(message.attempts)
