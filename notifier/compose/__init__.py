"""Turn what a caller asks for into an envelope and the bytes to send, once, at admission."""

from notifier.compose.addresses import Address, address
from notifier.compose.composing import Composed, compose, weight
from notifier.compose.text import is_html

__all__ = ["Address", "Composed", "address", "compose", "is_html", "weight"]
