"""
The journal in a SQLite file.

    journal.py    SqliteJournal: what is asked, in SQL
    schema.sql    the tables
    threads.py    a thread with a connection of its own, and how it answers
    writer.py     the one that writes: shared commits, what to do when the disk is full
    reader.py     those that only read
    additions.py  new deliveries
    repeats.py    idempotency keys, and the answers that repeated requests get
    recordings.py what has become of claimed deliveries
    claims.py     which deliveries are next: lanes, fair shares
    searches.py   pages of what matches a filter
    counts.py     the figures of each minute
    steps.py      deliveries taken a step further
    prunes.py     dropping the old, a little at a time
    rows.py       Delivery <-> row
    backup.py     a copy while it is in use
    books.py      how many there are by status, without counting
    opening.py    what must be true of a file before it is used
    lock.py       one process at a time
    storage.py    the file system below: its kind, its free space, the ballast
    faults.py     which SQLite errors mean what
"""

from notifier.journal.sqlite.journal import SqliteJournal

__all__ = ["SqliteJournal"]
