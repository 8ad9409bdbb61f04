"""
The client, for the programs that send. It imports httpx2 and msgspec, and nothing of the server.

`callbacks` checks what the service says by callback. `resources` are messages as the service shows
them, and `errors` what can go wrong.
"""

from notifier.client.callbacks import Callback, InvalidCallback, verify_callback
from notifier.client.errors import NotifierError
from notifier.client.resources import Attempt, Happening, Message, Recipient

__all__ = [
    "Attempt",
    "Callback",
    "Happening",
    "InvalidCallback",
    "Message",
    "NotifierError",
    "Recipient",
    "verify_callback",
]
