"""The findings of `notifier check` about a relay."""

from datetime import datetime

from msgspec import Struct


class Finding(Struct, frozen=True):
    """The result of one step. The first that is not `ok` is the last one."""

    step: str
    ok: bool
    said: str
    remedy: str = ""
    warning: str = ""  # the step works, but could be better
    certificate_ends_at: datetime | None = None  # of the certificate that was shown in it
