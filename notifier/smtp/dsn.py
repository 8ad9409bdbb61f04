"""Ask a relay for delivery status notifications: parameters of MAIL and RCPT. RFC 3461."""

import re
from collections.abc import Sequence

from notifier.attempts import Envelope, Notify

MOST_ENVID = 100  # characters, section 4.4
MOST_ORCPT = 500  # section 4.2
_NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")  # section 4
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")  # RFC 6533, section 3


def mail_parameters(envelope: Envelope) -> str:
    """That reports bring the headers alone, and the message's id."""
    envid = f" ENVID={_xtext(envelope.id)}" if 0 < len(envelope.id) <= MOST_ENVID else ""
    return f" RET=HDRS{envid}"


def rcpt_parameters(envelope: Envelope, address: str) -> str:
    """When to report about this recipient, and by what name."""
    original = _original(address)
    orcpt = f" ORCPT={original}" if len(original) <= MOST_ORCPT else ""
    return f" NOTIFY={_conditions(envelope.notify)}{orcpt}"


def _conditions(notify: Sequence[Notify]) -> str:
    return ",".join(each.upper() for each in notify) or "NEVER"


def _original(address: str) -> str:
    """One that is not ASCII in the form that every relay takes. RFC 6533, section 3."""
    if address.isascii():
        return f"rfc822;{_xtext(address)}"
    return "utf-8;" + _NOT_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)


def _xtext(text: str) -> str:
    return _NOT_XTEXT.sub(lambda found: f"+{ord(found[0]):02X}", text)
