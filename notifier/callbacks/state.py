"""The state of one callback, as monitors, metrics and alerts need it."""

from datetime import datetime

from msgspec import Struct


class CallbackState(Struct, frozen=True, kw_only=True):
    """Whether an application is told what came of its messages, and what waits."""

    key: str  # the name of the API key
    waiting: int = 0  # callbacks
    oldest: datetime | None = None  # since when the first of them waits
    paused_at: datetime | None = None  # None: it is not paused
    paused_why: str = ""
    failing_since: datetime | None = None  # None: the last try went well
    trouble: str = ""  # the last failure's
