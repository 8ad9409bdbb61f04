"""
What became of messages after a relay took them: reports are read, matched, and believed or not.

* `report`: what a report says, and what came of it here
* `classes`: why messages come back, in few classes; what was reported, for people
* `matching`: which message and recipient it is about, and whether it is believed
* `taking`: takes reports in, from whatever source
* `parsing`: what a mail reports, also complaints of readers, put together from
  * `mails`: a mail, parsed in bounded time
  * `statuses`: delivery status notifications
  * `prose`: bounces that are text for people
* `sources`: opens the sources of reports besides HTTP and the command line:
  * `listener`: an SMTP listener
  * `mailbox`: an IMAP mailbox, read by `imap`
  * `providers`: events of providers
"""

from notifier.reports.classes import MEANINGS, Class, class_of, sentence
from notifier.reports.report import Finding, Report, Result, Taken
from notifier.reports.taking import Listener, Reports

__all__ = [
    "MEANINGS",
    "Class",
    "Finding",
    "Listener",
    "Report",
    "Reports",
    "Result",
    "Taken",
    "class_of",
    "sentence",
]
