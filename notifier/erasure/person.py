"""The person of an erasure: an address, its pseudonym, and where a text mentions it."""

from msgspec import Struct

from notifier.compose.addresses import address
from notifier.erasure.mentions import Mentions
from notifier.errors import Fault, InvalidAddress, InvalidMessage
from notifier.pseudonyms import Pseudonyms, compared


class Person(Struct, frozen=True):
    """A person, by one address or phone number."""

    address: str  # in lower case, the domain in ASCII; a number as `+12025550123`
    erased: str  # what stands in place of the address: of the same length for each
    mentions: Mentions
    national: str = ""  # of a number: what a carrier's gateway has before the `@`

    def has(self, recipient: str) -> bool:
        """Whether a message's recipient is this person, also as one part of a text."""
        asked = compared(recipient)
        return asked == self.address or bool(
            self.national and asked.partition("@")[0] in (self.national, self.address[1:])
        )

    def struck(self, text: str) -> str:
        """A text without the address; if the address is encoded in it, the pseudonym alone."""
        if not text or not self.mentions.within(text):
            return text
        plain = self.mentions.replaced(text, self.erased)
        return self.erased if self.mentions.within(plain) else plain


def person_of(written: str, pseudonyms: Pseudonyms, *, region: str | None = None) -> Person:
    """
    The person with this address, which may have a display name, or with this phone number, which
    may be a national one of the `region`. Raises InvalidAddress, which names `/address`.
    """
    text = written.strip()
    if "@" not in text:
        from notifier.sms.numbers import parse  # loads slowly, and few ask for it

        try:
            number = parse(text, region=region, pointer="/address")
        except InvalidMessage as error:
            raise InvalidAddress(*error.faults) from None
        found, national = number.e164, number.national
    else:
        try:
            found, national = compared(address(text).spec), ""
        except ValueError as error:
            raise InvalidAddress(Fault("/address", str(error))) from None
    return Person(found, pseudonyms.of(found), Mentions(found, national), national)
