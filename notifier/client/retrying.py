"""
Try a request again where that is safe. This module does no input or output: it yields steps, and
the client that runs them sends back the results.
"""

import random
import time
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct

from notifier.client.errors import Unreachable

T = TypeVar("T")

# Nothing has been done, or it is unknown, and the idempotency key makes it safe.
AGAIN = frozenset({429, 502, 503, 504})
FIRST_PAUSE = 0.1  # seconds, doubled with each try
LONGEST_PAUSE = 5.0


class Ask(Struct, frozen=True, kw_only=True):
    """Make a request. Send back an Answer, or Lost."""

    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] = {}
    seconds: float = 0.0  # that the service may take on top of the usual time

    @property
    def idempotency_key(self) -> str | None:
        return self.headers.get("Idempotency-Key")


class Pause(Struct, frozen=True):
    """Wait so many seconds. Send back None."""

    seconds: float


class Answer(Struct, frozen=True):
    """What the service answered. `uncertain`: an earlier try may have been carried out, too."""

    status: int
    content: bytes
    headers: Mapping[str, str]  # their names in either case
    uncertain: bool = False


class Lost(Struct, frozen=True):
    """No answer came. `connected`: the service may have got the request."""

    reason: str
    connected: bool


Step: TypeAlias = Ask | Pause
Call: TypeAlias = Generator[Step, Any, T]


class Retrying(Struct, frozen=True):
    """
    How long a request is tried: from its beginning, `seconds` until the last try begins. 0: once.
    `Retry-After` is honoured; what it asks for beyond these seconds is left to the caller.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic

    def of(self, ask: Ask, *, url: str) -> Call[Answer]:
        """The answer to the last try. Raises Unreachable."""
        began = self.clock()
        uncertain = False
        for tries in count(1):
            answer: Answer | Lost = yield ask
            pause = spread(min(FIRST_PAUSE * 2 ** min(tries - 1, 10), LONGEST_PAUSE))
            match answer:
                case Lost():
                    uncertain = uncertain or answer.connected
                case Answer(status) if status not in AGAIN:
                    return Answer(status, answer.content, answer.headers, uncertain)
                case Answer(status):
                    uncertain = uncertain or status in {502, 504}
                    asked = retry_after(answer.headers) or 0.0
                    pause = max(pause, asked * random.uniform(1.0, 1.25))  # noqa: S311 - it spreads
            passed = self.clock() - began
            if passed + pause > self.seconds:
                if isinstance(answer, Answer):
                    return Answer(answer.status, answer.content, answer.headers, uncertain)
                raise _unreachable(ask, url, answer, tries, passed, uncertain=uncertain)
            yield Pause(pause)
        raise AssertionError("count() does not end")


def spread(seconds: float) -> float:
    """Between half of it and all of it, so that callers do not come back together."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - it hides nothing


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the answer asks to wait. RFC 9110, section 10.2.3."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max((until - datetime.now(UTC)).total_seconds(), 0.0)


def _unreachable(
    ask: Ask, url: str, lost: Lost, tries: int, passed: float, *, uncertain: bool
) -> Unreachable:
    often = "once" if tries == 1 else f"{tries} times in {passed:.1f} s"
    text = f"cannot reach {url} (tried {often}): {lost.reason}"
    key = ask.idempotency_key
    if uncertain and key:
        text += (
            f"; it may have been accepted: to call again with idempotency_key={key!r} makes no "
            "second message"
        )
    return Unreachable(text, key)
