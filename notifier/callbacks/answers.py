"""
The policy for what an application answers.

    what happened                        this callback            the application's URL
    -----------------------------------  -----------------------  ---------------------------
    2xx                                  it is accepted           it works
    410                                  it is over               paused, until a person resumes
    429, 503                             again                    rests as long as it asks
    500, 501                             again                    rests after three in a row
    other 5xx, 408, 425                  again                    rests after three in a row
    401, 403, 404, 405, a redirect       again                    rests after three in a row
    other 4xx                            again                    it works
    no connection, no TLS, no answer     again                    rests after three in a row

Only a 2xx shows that the application takes callbacks. Until one comes it counts as failing, also
where its URL works: one with a wrong secret answers 400 to each callback.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from notifier.breaker import Setback
from notifier.exchange import retry_after

# Pauses between tries of one callback, in seconds. Together about three days.
PAUSES = (5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200, 86400)
SPREAD = 0.2
GIVEN_UP_AFTER = timedelta(days=3)
LONGEST_ASKED = 86400.0  # seconds that Retry-After may ask for
LONGEST_REPLY = 200  # characters that are kept of an answer

_ABOUT_THE_URL = {401, 403, 404, 405, 408, 425}


class Answer(Struct, frozen=True, kw_only=True):
    """The answer to one request. `code` None: there was none, and `reply` says why."""

    code: int | None
    reply: str
    seconds: float = 0.0
    retry_after: str | None = None

    @property
    def accepted(self) -> bool:
        return self.code is not None and 200 <= self.code < 300

    @property
    def gone(self) -> bool:
        """The application wants no callbacks any more."""
        return self.code == 410


def setback_of(answer: Answer, now: datetime) -> Setback | None:
    """What the answer says about the URL. None: the URL works, even if it refused this callback."""
    code = answer.code
    if code is None or 300 <= code < 400 or code in _ABOUT_THE_URL:
        return Setback()
    if code in (429, 503):
        asked = retry_after(answer.retry_after, now)
        return Setback(at_once=asked is not None, at_least=min(asked or 0.0, LONGEST_ASKED))
    if code >= 500:  # it may fail for this message alone
        return Setback(in_doubt=code in (500, 501))
    return None if code >= 200 else Setback()


def pause_after(
    tries: int, setback: Setback | None, chance: Callable[[], float] = random.random
) -> timedelta:
    """How long a callback waits after this many failed attempts."""
    pause = PAUSES[min(tries, len(PAUSES)) - 1] * (1 + SPREAD * (2 * chance() - 1))
    return timedelta(seconds=max(pause, setback.at_least if setback else 0.0))
