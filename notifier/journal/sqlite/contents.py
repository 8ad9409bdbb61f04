"""
Contents of deliveries. A large one is written to its place in the file and read from there: as a
value of a statement SQLite copies it twice, and keeps one copy for as long as the statement.
"""

import sqlite3
import threading
from collections.abc import Iterable

from notifier.errors import MessageNotFound

LARGE_BYTES = 64 * 1024
KEPT_BYTES = 8 * 1024 * 1024  # of large contents in memory

INSERT = "INSERT INTO contents VALUES {rows}"
INSERT_PLACE = "INSERT INTO contents VALUES (?, zeroblob(?))"
PLACE = """
    SELECT seq, length(content), CASE WHEN length(content) <= ? THEN content END
    FROM deliveries JOIN contents USING (seq) WHERE id = ?
"""


class Kept:
    """
    Large contents of deliveries that are claimed as they come, from their commit until they are
    recorded. They need not be read from the file to be sent. What exceeds KEPT_BYTES is not kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the writer's thread keeps, the event loop drops
        self._by_id: dict[str, bytes] = {}
        self._octets = 0

    def keep(self, contents: Iterable[tuple[str, bytes]]) -> None:
        for id, content in contents:
            with self._lock:
                if self._octets + len(content) <= KEPT_BYTES:
                    self._by_id[id] = content
                    self._octets += len(content)

    def get(self, id: str) -> bytes | None:
        return self._by_id.get(id)

    def drop(self, id: str) -> None:
        if id in self._by_id:
            with self._lock:
                self._octets -= len(self._by_id.pop(id))


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
