"""One suppression: who gets nothing, why, and until when."""

import re
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from notifier.address_rules import address_parts, read_rule
from notifier.characters import CONTROL
from notifier.pseudonyms import Pseudonyms
from notifier.recipients import ERASED, part_of

LATEST = timedelta(days=36_525)
LONGEST_SOURCE = 500  # characters
ADDRESS_OCTETS = 320  # a local part, an @ and a domain

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # as `keys` names them
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_PSEUDONYM = re.compile(rf"{ERASED}[0-9a-f]{{32}}")
_IN_NUMBERS = str.maketrans("", "", " -().")


class Reason(StrEnum):
    """Why nothing is sent to a recipient."""

    BOUNCE = "bounce"  # there is no such mailbox
    COMPLAINT = "complaint"  # the reader called it spam
    MANUAL = "manual"  # a person wants it so


class Suppression(Struct, frozen=True, kw_only=True):
    """
    A recipient to whom nothing is sent: an address in lower case, `@example.org` for a whole
    domain, or a phone number as `+12025550123`.
    """

    address: str
    reason: Reason
    since: datetime
    key: str = ""  # the API key whose messages do not go there; empty: those of all keys
    until: datetime | None = None  # None: without end
    source: str = ""  # who or what put it on the list

    @property
    def domain(self) -> str:
        """The domain of the address; empty for a number."""
        return self.address.rpartition("@")[2] if "@" in self.address else ""

    @property
    def words(self) -> str:
        """What a suppressed recipient has as its reply."""
        until = f" until {self.until:%Y-%m-%d}" if self.until else ""
        whole = " (the whole domain)" if self.address.startswith("@") else ""
        source = f": {self.source}" if self.source else ""
        return f"suppressed{until}{whole}, {self.reason.value}{source}"


class Which(Struct, frozen=True, kw_only=True):
    """Which suppressions; None: all of them."""

    address: str | None = None  # how it begins
    domain: str | None = None
    reason: Reason | None = None
    key: str | None = None  # empty: those that hold for all keys

    @property
    def words(self) -> str:
        """For people: `domain=example.org reason=bounce`."""
        given = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return " ".join(f"{name}={value or '-'}" for name, value in given if value is not None)


def read_address(written: str) -> str:
    """The address as it is compared. Raises ValueError, in words for a person."""
    text = written.strip()
    if len(text.encode("utf-8", "replace")) > ADDRESS_OCTETS:
        raise ValueError(f"the address is longer than {ADDRESS_OCTETS} octets")
    if text.startswith("+") and "@" not in text:
        number = text.translate(_IN_NUMBERS)
        if _NUMBER.fullmatch(number):
            return number
        raise ValueError(f"{text[:100]!r} is not a phone number; write +12025550123")
    if _PSEUDONYM.fullmatch(text):
        return text
    try:
        return read_rule(text)
    except ValueError:
        raise ValueError(
            f"{text[:100]!r} is not an address, a domain or a number;"
            " write ann@example.org, @example.org or +12025550123"
        ) from None


def read_key(written: str) -> str:
    """The name of an API key; empty: all of them. Raises ValueError."""
    if written and not KEY.fullmatch(written):
        raise ValueError(f"key: {written[:100]!r} is not the name of a key")
    return written


def read_source(written: str) -> str:
    """Who or what puts an address on the list. Raises ValueError."""
    if CONTROL.search(written) or len(written) > LONGEST_SOURCE:
        raise ValueError(f"source: at most {LONGEST_SOURCE} characters, on one line")
    return written


def read_until(until: datetime, now: datetime) -> datetime:
    """When a new suppression ends. Raises ValueError."""
    if until <= now:
        raise ValueError("until: is not in the future")
    if until - now > LATEST:
        raise ValueError("until: is more than a hundred years ahead; leave it out for no end")
    return until


def names_of(recipient: str, pseudonyms: Pseudonyms | None = None) -> tuple[str, ...]:
    """The names under which a recipient can be on the list; with its pseudonym, if it has one."""
    address = part_of(recipient)[0] if recipient.endswith(")") else recipient
    local, domain = address_parts(address)
    names = (f"{local}@{domain}", f"@{domain}") if domain else (address,)
    return names if pseudonyms is None else (*names, pseudonyms.of(names[0]))
