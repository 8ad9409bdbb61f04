"""SMTP replies, with enhanced codes (RFC 2034, RFC 3463)."""

import re

from notifier.characters import CONTROL
from notifier.compose.source import UnsafeSource
from notifier.errors import (
    Draining,
    Forbidden,
    IdempotencyMismatch,
    InvalidMessage,
    NotifierError,
    Unauthorized,
    Unavailable,
)

LONGEST = 450  # characters: a line has 512 octets, RFC 5321, section 4.5.3.1.5
STOPPING = "421 4.3.2 the service is stopping; try again"

_HAS_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3} ")
# Replies of aiosmtpd itself.
_CODES = {
    "221": "2.0.0",
    "250": "2.0.0",
    "252": "2.0.0",
    "500": "5.5.2",
    "501": "5.5.4",
    "502": "5.5.1",
    "503": "5.5.1",
    "504": "5.5.4",
    "552": "5.3.4",
    "553": "5.1.3",
    "555": "5.5.4",
}
# The first that fits, so subclasses come before their base.
_ERRORS: dict[type[NotifierError], str] = {
    Draining: "421 4.3.2",
    Unavailable: "452 4.3.1",
    Unauthorized: "530 5.7.0",
    Forbidden: "550 5.7.1",
    UnsafeSource: "550 5.6.11",
    IdempotencyMismatch: "554 5.6.0",
}
# Of an invalid message, by the field that is wrong.
_FIELDS = {"to": "550 5.1.3", "cc": "550 5.1.3", "from": "550 5.1.7", "sender": "550 5.1.7"}


def enhanced(reply: str) -> str:
    """The reply with an enhanced code, if it has none and should have one."""
    code, rest = reply[:3], reply[4:]
    if reply[3:4] != " " or code not in _CODES or _HAS_CODE.match(rest):
        return reply
    status = _CODES[code]
    if "not recognized" in rest and code == "500":  # a command
        status = "5.5.1"
    return f"{code} {status} {rest.removeprefix('Error: ')}"


def reply_to(error: NotifierError) -> str:
    """The reply that refuses a mail, with the error's text on one line."""
    codes = next((codes for kind, codes in _ERRORS.items() if isinstance(error, kind)), None)
    if codes is None and isinstance(error, InvalidMessage):
        field = error.faults[0].pointer.split("/")[1] if error.faults[0].pointer else ""
        codes = _FIELDS.get(field, "550 5.6.0")
    return line(f"{codes or '554 5.0.0'} {words_of(error)}")


def words_of(error: NotifierError) -> str:
    if isinstance(error, InvalidMessage):
        said = (f"{fault.pointer.removeprefix('/')}: {fault.message}" for fault in error.faults)
        return "; ".join(said)
    return str(error)


def line(reply: str) -> str:
    """The reply on one line, in ASCII: a client that has not said SMTPUTF8 gets nothing else."""
    plain = CONTROL.sub(" ", reply).encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 3]}..."
