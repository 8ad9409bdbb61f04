"""What a caller may do, whether an API key or the company's login allows it."""

from enum import StrEnum


class KeyScope(StrEnum):
    """
    What a caller may do. `manage` includes `read` and `report`; none of them includes `send`.
    `send` includes `sms` unless the key is bound to senders of mail, which say nothing of text
    messages.
    """

    SEND = "send"  # have messages sent
    SMS = "sms"  # have text messages sent
    READ = "read"  # see what became of all messages
    MANAGE = "manage"  # cancel, retry, pause
    REPORT = "report"  # bring what is reported of messages
