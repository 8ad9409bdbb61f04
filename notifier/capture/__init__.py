"""
The built-in mailbox and simulator. They are relays, not modes: mail reaches them through
real SMTP on loopback, so that trying notifier out runs the code that production runs.

`server` is SMTP on loopback, `connection` is one connection to it, and `simulator` plays outcomes
there by the recipient's name.
`mailbox` keeps the mails that they take, a file each, and `refusals` are recipients that it does
not take. `parsing` reads what a kept mail says,
and `parts` finds its MIME parts.
"""

from notifier.capture.mailbox import Mailbox
from notifier.capture.parsing import Caught, CaughtAttachment, OpenedMail, Summary
from notifier.capture.refusals import Refusal
from notifier.capture.server import Capture
from notifier.capture.simulator import Simulator

__all__ = [
    "Capture",
    "Caught",
    "CaughtAttachment",
    "Mailbox",
    "OpenedMail",
    "Refusal",
    "Simulator",
    "Summary",
]
