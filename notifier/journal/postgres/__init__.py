"""
The journal in a PostgreSQL database, for several replicas at once.

* `journal`: PostgresJournal, the contract's calls
* `schema.sql`, `schema_2.sql` ...: the tables
* `connection`: what must be true of a database before it is used, and what its errors mean
* `lease`: our lease, what we have claimed under it, and the news of the other replicas
* `writer`: what is new and what has ended, in shared commits
* `additions`: new deliveries and idempotency keys
* `claims`: deliveries claimed for sending; what another replica claims is skipped
* `changes`: deliveries changed, many by one statement, and what is old dropped
* `erasing`: deliveries that are forgotten, and what was deleted overwritten
* `searches`: pages of what matches a filter
* `counts`: how many there are by status
* `rows`: deliveries as rows in SQL
"""

from notifier.journal.postgres.journal import LEASE_SECONDS, PostgresJournal

__all__ = ["LEASE_SECONDS", "PostgresJournal"]
