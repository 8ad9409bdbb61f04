"""
The journal in a PostgreSQL database, for several replicas at once.

* `journal`: PostgresJournal, the contract's calls
* `schema.sql`, `schema_2.sql` ...: the tables
* `connection`: checks a database before it is used, and translates its errors
* `lease`: our lease, what we have claimed under it, and the news of the other replicas
* `writer`: new and finished deliveries, in shared commits
* `additions`: new deliveries and idempotency keys
* `claims`: deliveries claimed for sending; what another replica claims is skipped
* `changes`: changes many deliveries by one statement, and deletes old ones
* `erasing`: deletes all that is kept of a delivery, and clears the freed space
* `searches`: pages of what matches a filter
* `rows`: deliveries as rows in SQL, and their number by status
"""

from notifier.journal.postgres.journal import LEASE_SECONDS, PostgresJournal

__all__ = ["LEASE_SECONDS", "PostgresJournal"]
