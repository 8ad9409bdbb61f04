"""
Compose: make an envelope and the bytes to send of a caller's request, once, at admission.

`mail` puts a message together of fields and parts: `addresses` reads and writes addresses,
`mime` writes header fields and parts, and `custom_headers` says which fields a caller may add.
`source` takes a mail that a caller hands in as a whole; `readdressing` makes a copy of a
finished mail for other recipients. `plaintext` makes the text of an HTML; `html` finds things in an
HTML without parsing it.
"""

from notifier.compose.addresses import Address, address
from notifier.compose.html import CID_URL, content_id_of, is_html
from notifier.compose.mail import Composed, compose, weight
from notifier.compose.readdressing import readdressed

__all__ = [
    "CID_URL",
    "Address",
    "Composed",
    "address",
    "compose",
    "content_id_of",
    "is_html",
    "readdressed",
    "weight",
]
