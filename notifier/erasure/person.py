"""Whom an erasure is about: an address, the pseudonym in its place, and where it stands."""

from msgspec import Struct

from notifier.compose.addresses import address
from notifier.erasure.mentions import Mentions
from notifier.errors import Fault, InvalidMessage
from notifier.pseudonyms import Pseudonyms, compared


class Person(Struct, frozen=True):
    """Somebody, by one address or phone number."""

    address: str  # in lower case, the domain in ASCII; a number as `+12025550123`
    erased: str  # what stands in place of the address: of the same length for each
    mentions: Mentions

    def has(self, recipient: str) -> bool:
        """Whether a message's recipient is this person, also of one part of a text."""
        return compared(recipient) == self.address


def person_of(written: str, pseudonyms: Pseudonyms, *, region: str | None = None) -> Person:
    """
    The person with this address, which may have a display name, or with this phone number, which
    may be a national one of the `region`. Raises InvalidMessage, which names `/address`.
    """
    return known_person(_read(written, region), pseudonyms)


def known_person(compared: str, pseudonyms: Pseudonyms) -> Person:
    """The person with an address that was read before."""
    return Person(compared, pseudonyms.of(compared), Mentions(compared))


def _read(written: str, region: str | None) -> str:
    text = written.strip()
    if "@" not in text:
        from notifier.sms.numbers import parse  # loads slowly, and few ask for it

        return parse(text, region=region, pointer="/address").e164
    try:
        return compared(address(text).spec)
    except ValueError as error:
        raise InvalidMessage(Fault("/address", str(error))) from None
