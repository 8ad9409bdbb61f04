"""
Suppressions: recipients to whom nothing is sent.

* `suppression`: one suppression, and how addresses are compared
* `table`: the list, in the journal
* `screen`: takes suppressed recipients out of messages
* `strikes`: the bounces that make the list grow by itself
* `csv_file`: the list as CSV, in and out
"""

from notifier.suppressions.screen import Suppressions
from notifier.suppressions.suppression import Reason, Suppression, Which, read_address
from notifier.suppressions.table import Table

__all__ = ["Reason", "Suppression", "Suppressions", "Table", "Which", "read_address"]
