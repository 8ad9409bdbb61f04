"""How long a caller is willing to wait. RFC 7240, section 4.3."""

import re
from collections.abc import Iterable

_WAIT = re.compile(rb'(?:^|,)\s*wait\s*=\s*"?(\d+)"?\s*(?=[,;]|$)', re.IGNORECASE)
_DIGITS = 9  # an int of thousands of digits would be refused by Python, not by us

PREFER = {
    "Prefer": {
        "description": "`wait=10`: answer when the message is final or held, or after 10 seconds; "
        "the service has a limit of its own, NOTIFIER_WAIT_LIMIT.",
        "schema": {"type": "string"},
    }
}


def read_wait(headers: Iterable[tuple[bytes, bytes]], *, most: float) -> float | None:
    """
    Seconds, by the first `wait` of the Prefer fields, `most` at most; None: there is none. What
    cannot be read is passed over, as preferences are.
    """
    fields = b",".join([value for name, value in headers if name == b"prefer"])
    found = _WAIT.search(fields)
    return min(float(found[1][:_DIGITS]), most) if found else None


def applied(wait: float) -> tuple[bytes, bytes]:
    """The field that says so."""
    return b"preference-applied", b"wait=%d" % wait
