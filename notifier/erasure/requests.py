"""Erasures as rows of the journal, so that they outlive a crash and every replica knows them."""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

import msgspec
from msgspec import Struct

from notifier.journal import Journal
from notifier.journal.rows import micros, moment
from notifier.journal.statements import Row, Statement

RUNNING, WAITING, DONE = "running", "waiting", "done"
_COLUMNS = "id, hash, address, at, actor, state, progress, ended_at"
ADD = f"INSERT INTO erasures ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)"  # noqa: S608  constant
ONE = f"SELECT {_COLUMNS} FROM erasures WHERE id = ?"  # noqa: S608  constant
OPEN = f"SELECT {_COLUMNS} FROM erasures WHERE ended_at IS NULL ORDER BY at"  # noqa: S608  constant
SAVE = "UPDATE erasures SET state = ?, progress = ? WHERE id = ? AND ended_at IS NULL"
FORGET = "UPDATE erasures SET progress = ?, address = NULL WHERE id = ? AND ended_at IS NULL"
END = """
    UPDATE erasures SET state = 'done', progress = ?, ended_at = ?
    WHERE id = ? AND ended_at IS NULL
"""
SHARE = """
    INSERT INTO erasure_shares (erasure, process, counts) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""
SHARES = "SELECT process, counts FROM erasure_shares WHERE erasure = ?"
DROP_SHARES = "DELETE FROM erasure_shares WHERE erasure = ?"
# An erasure that has not ended stays, however old it is.
OLD = "at < ? AND ended_at IS NOT NULL"
DROP_OLD_SHARES = (
    f"DELETE FROM erasure_shares WHERE erasure IN (SELECT id FROM erasures WHERE {OLD})"  # noqa: S608  constant
)
DROP_OLD = f"DELETE FROM erasures WHERE {OLD} RETURNING 1"  # noqa: S608  constant
RESTS = "SELECT count(*) FROM erasure_rests WHERE erasure = ?"


class Progress(Struct):
    """The progress of the journal's part."""

    searched: bool = False  # everything was looked through once
    shared_again: bool = False  # each process wipes its own once more, after the last message
    counts: dict[str, int] = {}
    left: str = ""  # what the journal cannot overwrite, in words


class Request(Struct, frozen=True, kw_only=True):
    """One erasure."""

    id: str
    erased: str  # what stands in place of the address
    sealed: bytes | None  # the address, until it is found nowhere
    at: datetime
    by: str
    state: str
    progress: Progress
    ended_at: datetime | None


_progress = msgspec.json.Decoder(Progress)
_counts = msgspec.json.Decoder(dict[str, int])
_encode = msgspec.json.Encoder().encode


class Requests:
    """Reads and writes erasures. Any call may raise JournalUnavailable."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def add(self, request: Request, record: Statement) -> None:
        """Store a new erasure, together with its record of the audit."""
        values = (
            request.id, request.erased, request.sealed, micros(request.at), request.by,
            request.state, _text(request.progress),
        )  # fmt: skip
        await self._journal.execute(Statement(ADD, values), record)

    async def one(self, id: str) -> Request | None:
        rows = await self._journal.query(ONE, id)
        return _request(rows[0]) if rows else None

    async def open(self) -> list[Request]:
        """Erasures that have not ended, the oldest first."""
        return [_request(row) for row in await self._journal.query(OPEN)]

    async def save(self, request: Request, state: str) -> None:
        """Store the progress."""
        values = (state, _text(request.progress), request.id)
        await self._journal.execute(Statement(SAVE, values))

    async def forget(self, request: Request) -> None:
        """Delete the address: it has been searched for everywhere."""
        values = (_text(request.progress), request.id)
        await self._journal.execute(Statement(FORGET, values))

    async def end(self, request: Request, now: datetime) -> None:
        """End the erasure: what was deleted has been overwritten."""
        values = (_text(request.progress), micros(now), request.id)
        await self._journal.execute(Statement(END, values))

    async def share(self, id: str, process: str, counts: Mapping[str, int]) -> None:
        """Note what a process has wiped of its own."""
        await self._journal.execute(Statement(SHARE, (id, process, _encode(counts).decode())))

    async def shares(self, id: str) -> dict[str, dict[str, int]]:
        """What each process has wiped of its own."""
        rows: Sequence[Row] = await self._journal.query(SHARES, id)
        return {process: _counts.decode(counts) for process, counts in rows}

    async def share_again(self, request: Request) -> None:
        """Have each process wipe its own once more. The progress has the counts so far."""
        values = (request.state, _text(request.progress), request.id)
        await self._journal.execute(Statement(SAVE, values), Statement(DROP_SHARES, (request.id,)))

    async def prune(self, before: datetime) -> int:
        """Delete erasures that were requested before this time and have ended. Returns how many."""
        old = (micros(before),)
        _, rows = await self._journal.execute(
            Statement(DROP_OLD_SHARES, old), Statement(DROP_OLD, old)
        )
        return len(rows)

    async def rests(self, id: str) -> int:
        """How many messages the erasure waits for."""
        ((count,),) = await self._journal.query(RESTS, id)
        return int(count)


def seal(text: bytes, secret: bytes, id: str) -> bytes:
    """
    The text, encrypted with a stream of octets that the journal's secret makes, so that a search of
    the file does not find it. Sealing the result again decrypts it.
    """
    stream = b""
    while len(stream) < len(text):
        block = len(stream).to_bytes(4, "big")
        stream += hmac.digest(secret, b"seal " + id.encode() + block, sha256)
    return bytes(a ^ b for a, b in zip(text, stream, strict=False))


def _text(progress: Progress) -> str:
    return _encode(progress).decode()


def _request(row: Row) -> Request:
    id, erased, sealed, at, by, state, progress, ended_at = row
    return Request(
        id=id,
        erased=erased,
        sealed=None if sealed is None else bytes(sealed),
        at=moment(at),
        by=by,
        state=state,
        progress=_progress.decode(progress),
        ended_at=None if ended_at is None else moment(ended_at),
    )
