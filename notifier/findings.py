"""What `notifier check` sees of a relay."""

from datetime import datetime

from msgspec import Struct


class Finding(Struct, frozen=True):
    """What one step has shown; the first that is not `ok` is the last one."""

    step: str
    ok: bool
    said: str
    remedy: str = ""
    warning: str = ""  # it works, and is not as it should be
    certificate_ends_at: datetime | None = None  # of the certificate that was shown in it
