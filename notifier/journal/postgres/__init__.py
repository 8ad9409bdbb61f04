"""
The journal in a PostgreSQL database, for several replicas at once.

    journal.py    PostgresJournal: what is asked, in SQL
    schema.sql    the tables; opening.py makes and migrates them
    opening.py    what must be true of a database before it is used
    writer.py     what is new and what has ended: shared commits
    additions.py  new deliveries, and the answers that repeated requests get
    claims.py     which deliveries are next: lanes, fair shares; SKIP LOCKED
    holdings.py   what we have claimed, and under what
    lease.py      who we are to the others, as long as we say so in time; their news
    searches.py   pages of what matches a filter
    steps.py      deliveries taken a step further, many at a time
    counts.py     the figures of each minute
    prunes.py     dropping the old, a little at a time
    rows.py       Delivery <-> row
    faults.py     which of the driver's errors mean what
"""

from notifier.journal.postgres.journal import LEASE_SECONDS, PostgresJournal

__all__ = ["LEASE_SECONDS", "PostgresJournal"]
