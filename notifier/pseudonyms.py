"""
The pseudonym that replaces an erased address: a keyed hash. With the address and the journal's
secret it can be computed again; without the secret it cannot.
"""

import hmac
from hashlib import sha256

from notifier.address_rules import address_parts
from notifier.recipients import ERASED, part_of

SECRET = "secret:erasure"  # noqa: S105  the name of the journal's value that holds it
HASH_OCTETS = 16


def compared(recipient: str) -> str:
    """
    A recipient in the form in which addresses are compared: in lower case, the domain in ASCII; of
    a text in parts the number alone.
    """
    whole = part_of(recipient)[0] if recipient.endswith(")") else recipient
    local, domain = address_parts(whole)
    return f"{local}@{domain}" if domain else whole


class Pseudonyms:
    """Makes pseudonyms under one secret, all of the same length."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, address: str) -> str:
        """The pseudonym of an address in the form in which addresses are compared."""
        return ERASED + hmac.digest(self._secret, address.encode(), sha256)[:HASH_OCTETS].hex()
