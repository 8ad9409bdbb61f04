"""
Classes of bounces and delays, for figures and for people. The enhanced status code (RFC 3463)
decides; the server's text decides only if the code is unspecific.
"""

import re
from datetime import UTC
from enum import StrEnum

from notifier.recipients import Later, LaterState, part_of


class Class(StrEnum):
    """Why a message came back or waits."""

    NO_MAILBOX = "no_mailbox"
    NO_DOMAIN = "no_domain"
    DISABLED = "disabled"
    FULL = "full"
    SIZE = "size"
    UNREACHABLE = "unreachable"
    POLICY = "policy"
    OTHER = "other"
    NONE = "none"  # neither a bounce nor a delay


# What a server says by each of them, after "said that".
MEANINGS = {
    Class.NO_MAILBOX: "there is no such mailbox",
    Class.NO_DOMAIN: "there is no such domain, or it takes no mail",
    Class.DISABLED: "the mailbox takes no messages",
    Class.FULL: "the mailbox is full",
    Class.SIZE: "the message is too large",
    Class.UNREACHABLE: "the next mail server could not be reached in time",
    Class.POLICY: "its rules do not allow the message",
}
# By the last two numbers of the code, else by the second alone.
_CODES = {
    "1.1": Class.NO_MAILBOX,
    "1.2": Class.NO_DOMAIN,
    "1.3": Class.NO_MAILBOX,
    "1.6": Class.NO_MAILBOX,
    "1.10": Class.NO_MAILBOX,  # Microsoft 365; by RFC 7505 the domain takes no mail
    "2.1": Class.DISABLED,
    "2.2": Class.FULL,
    "2.3": Class.SIZE,
    "3.4": Class.SIZE,
    "4.4": Class.NO_DOMAIN,
    "4.310": Class.NO_DOMAIN,  # Microsoft 365
    "4": Class.UNREACHABLE,
    "7": Class.POLICY,
}
_WORDS = {
    Class.NO_MAILBOX: (
        r"no such (?:user|mailbox|recipient|address|person)|no mailbox|unknown (?:user|local|"
        r"recipient|address)|(?:user|mailbox|recipient|address|account)\W+(?:is )?(?:unknown|"
        r"not found|invalid|does not exist|doesn.t exist|not listed)|unrouteable address"
    ),
    Class.NO_DOMAIN: r"host (?:or domain name )?not found|domain (?:not found|does not exist)",
    Class.FULL: r"quota|mailbox (?:is )?full|full mailbox|over limit|insufficient .{0,10}storage",
    Class.SIZE: r"too (?:large|big)|size limit|exceeds .{0,20}size",
    Class.POLICY: r"spam|block(?:ed|list)|black ?list|policy|reputation|denied|dmarc|\bspf\b",
    Class.UNREACHABLE: r"timed? ?out|connection refused|retry time(?:out)? exceeded|expired",
}
_PATTERNS = {each: re.compile(words, re.IGNORECASE) for each, words in _WORDS.items()}


def class_of(later: Later) -> Class:
    """The class of a report."""
    if later.state not in (LaterState.BOUNCED, LaterState.DELAYED):
        return Class.NONE
    _, _, rest = later.code.partition(".")
    subject = rest.partition(".")[0]
    if found := _CODES.get(rest) or _CODES.get(subject):
        return found
    words = (each for each, pattern in _PATTERNS.items() if pattern.search(later.text))
    return next(words, Class.OTHER)


def sentence(recipient: str, later: Later) -> str:
    """A sentence that says what was reported about a recipient, when, and by whom."""
    at = f"{later.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    address, _ = part_of(recipient)
    match later.state:
        case LaterState.DELIVERED:
            return f"At {at} it was reported to be in the mailbox of {address}."
        case LaterState.RELAYED:
            return f"At {at} it was relayed for {address} to a server that reports nothing more."
        case LaterState.COMPLAINED:
            return f"At {at} {address} was reported to have called it spam."
        case LaterState.DELAYED:
            return f"At {at} it was reported to wait on its way to {address}: {_why(later)}."
        case LaterState.BOUNCED:
            domain = address.rpartition("@")[2] or address
            return f"At {at} it came back from {address}: {domain} said that {_why(later)}."


def _why(later: Later) -> str:
    said = later.text if later.code in later.text else f"{later.code} {later.text}"
    said = " ".join(said.split()).rstrip(".")
    meaning = MEANINGS.get(class_of(later), "")
    if not meaning or not said:
        return meaning or said or "it cannot be delivered"
    return f"{meaning} ({said})"
