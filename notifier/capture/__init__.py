"""
The built-in mailbox and simulator. They are relays, not modes: mail reaches them through
real SMTP on loopback, so that trying notifier out runs the code that production runs.
"""

from notifier.capture.mailbox import Mailbox
from notifier.capture.parsing import Caught, CaughtAttachment, OpenedMail, Summary
from notifier.capture.server import Capture
from notifier.capture.simulator import Simulator

__all__ = [
    "Capture",
    "Caught",
    "CaughtAttachment",
    "Mailbox",
    "OpenedMail",
    "Simulator",
    "Summary",
]
