"""Turn what a caller asks for into an envelope and the bytes to send, once, at admission."""

from notifier.compose.addresses import Address, address
from notifier.compose.cid import CID_URL, content_id_of
from notifier.compose.mail import Composed, compose, weight
from notifier.compose.text import is_html

__all__ = [
    "CID_URL",
    "Address",
    "Composed",
    "address",
    "compose",
    "content_id_of",
    "is_html",
    "weight",
]
