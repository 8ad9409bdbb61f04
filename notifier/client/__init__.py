"""
The client, for the programs that send. It imports httpx2 and msgspec, and nothing of the server.

`clients` are Notifier and AsyncNotifier. They run the calls of `calls`, each tried as `retrying`
says. `fields` writes messages as JSON, `resources` are messages as the service shows them, and
`errors` what can go wrong. `callbacks` checks what the service says by callback. `django` is an
email backend for Django.
"""

from notifier.client.callbacks import Callback, InvalidCallback, verify_callback
from notifier.client.clients import AsyncNotifier, Notifier
from notifier.client.errors import (
    Fault,
    Forbidden,
    MessageNotFound,
    NotifierError,
    NotYet,
    Problem,
    Rejected,
    TooMany,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WrongState,
)
from notifier.client.fields import Attachment, Draft
from notifier.client.resources import Attempt, Happening, Later, Message, Recipient

__all__ = [
    "AsyncNotifier",
    "Attachment",
    "Attempt",
    "Callback",
    "Draft",
    "Fault",
    "Forbidden",
    "Happening",
    "InvalidCallback",
    "Later",
    "Message",
    "MessageNotFound",
    "NotYet",
    "Notifier",
    "NotifierError",
    "Problem",
    "Recipient",
    "Rejected",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "WrongState",
    "verify_callback",
]
