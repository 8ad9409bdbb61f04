"""
The journal in a SQLite file, for one process.

* `journal`: SqliteJournal, the contract's calls
* `schema.sql`, `schema_2.sql` ...: the tables
* `opening`: what must be true of a file before it is used; its lock, schema and connections
* `thread`: a thread with a connection of its own, and how it answers
* `writer`: what the one thread that writes does: shared commits, a full disk
* `additions`: new deliveries and idempotency keys
* `contents`: what is sent, and how a large one is kept without copies of it
* `claims`: deliveries claimed for sending, and what has become of them
* `changes`: deliveries changed one by one, and what is old dropped
* `erasing`: deliveries that are forgotten, and what was deleted overwritten
* `searches`: pages of what matches a filter
* `rows`: deliveries as rows in SQL, many rows by few statements, and how many there are
* `disk`: the disk below, and which errors mean that it is full or broken
* `backup`: a copy while the journal is in use
"""

from notifier.journal.sqlite.journal import SqliteJournal

__all__ = ["SqliteJournal"]
