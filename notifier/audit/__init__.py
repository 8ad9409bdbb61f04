"""
The audit: who did what, kept in the journal longer than messages are.

* `records`: what was done, as rows, and pages of them; who acts on the command line
* `keeping`: writes and reads the audit, and deletes what is past its time
* `key_changes`: notices which API keys were made, changed and revoked
* `sums`: sums of what happens too often for single records, and failed sign-ins
"""

from notifier.audit.keeping import Audit
from notifier.audit.records import Page, Record, Which

__all__ = ["Audit", "Page", "Record", "Which"]
