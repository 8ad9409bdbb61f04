"""
Contents of deliveries. A large one is written to its place in the file and read from there: as a
value of a statement SQLite copies it twice, and keeps one copy for as long as the statement.
"""

import sqlite3

from notifier.errors import MessageNotFound

LARGE_BYTES = 64 * 1024

INSERT = "INSERT INTO contents VALUES {rows}"
INSERT_PLACE = "INSERT INTO contents VALUES (?, zeroblob(?))"
PLACE = """
    SELECT seq, length(content), CASE WHEN length(content) <= ? THEN content END
    FROM deliveries JOIN contents USING (seq) WHERE id = ?
"""


def insert_large(db: sqlite3.Connection, seq: int, content: bytes) -> None:
    """Insert the content of one delivery, which is larger than LARGE_BYTES."""
    db.execute(INSERT_PLACE, (seq, len(content)))
    with db.blobopen("contents", "content", seq) as place:
        place.write(content)


def read(db: sqlite3.Connection, id: str) -> bytes:
    """Raises MessageNotFound, also where the delivery is there and its content was dropped."""
    db.execute("BEGIN")  # so that what is found is still there when it is read
    try:
        row = db.execute(PLACE, (LARGE_BYTES, id)).fetchone()
        if row is None:
            raise MessageNotFound(id)
        seq, size, content = row
        if size > LARGE_BYTES:
            with db.blobopen("contents", "content", seq, readonly=True) as place:
                content = place.read()
        return bytes(content)
    finally:
        db.execute("COMMIT")
