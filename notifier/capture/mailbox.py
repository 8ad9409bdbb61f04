"""The mailbox: a folder with one file for each caught mail."""

import asyncio
import contextlib
import os
import re
import secrets
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

from notifier.capture.parsing import Caught, File, OpenedMail, Summary, stamped
from notifier.capture.refusals import Refusals
from notifier.clock import Clock, utc_now
from notifier.disk import sync
from notifier.threads import FairThreads

T = TypeVar("T")
Listener: TypeAlias = Callable[[str], None]
Summaries: TypeAlias = list[Summary]  # a method of the mailbox is called `list`

THREADS = 4  # so that the disk can flush several mails at once
REMEMBERED = 1000  # summaries
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ID = re.compile(r"[0-9a-f]{24}\Z")


class Mailbox(contextlib.AbstractAsyncContextManager["Mailbox"]):
    """
    A mail that was put in is on disk and survives a crash. The oldest is deleted when there are
    more than `keep` mails or `octets` octets. The event loop never waits for the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 1000,
        octets: int = 200_000_000,
        clock: Clock = utc_now,
    ) -> None:
        self.refusals = Refusals()
        self._folder = folder
        self._keep = keep
        self._limit = octets
        self._clock = clock
        self._ids: list[str] = []  # the oldest first
        self._sizes: dict[str, int] = {}  # of the files
        self._total = 0
        self._last = 0  # microseconds in the newest id
        self._listeners: list[Listener] = []
        self._writing: set[asyncio.Future[int]] = set()
        self._summary = lru_cache(REMEMBERED)(self._summed_up)

    async def open(self) -> None:
        """Read what the folder holds. Raises OSError."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mailbox")
        self._readers = FairThreads("mailbox-read")  # so that readers hold up no mail
        try:
            self._sizes = await self._run(partial(_found, self._folder))
        except BaseException:
            self._threads.shutdown(wait=False)
            self._readers.close()
            raise
        self._ids = sorted(self._sizes)
        self._total = sum(self._sizes.values())
        self._last = int(self._ids[-1][:14], 16) if self._ids else 0
        await self._run(partial(_remove, self._paths(self._surplus())))

    async def close(self) -> None:
        """Finish what is being written."""
        if self._writing:
            await asyncio.wait(self._writing)
        self._threads.shutdown(wait=False)
        self._readers.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """
        Have a quick function called with the id of each new mail, and with "" when some were
        deleted. Returns what ends it.
        """
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)

    async def put(
        self, source: bytes, *, sender: str, recipients: Sequence[str], client: str = "localhost"
    ) -> str:
        """Keep a mail and return its id. Once this returns, the mail is on disk. Raises OSError."""
        id = self._new_id()
        envelope = stamped(
            b"", id=id, at=_at(id), sender=sender, recipients=recipients, client=client
        )
        write = partial(_write, self._folder, id, (envelope, source))
        writing = asyncio.get_running_loop().run_in_executor(self._threads, write)
        self._writing.add(writing)
        writing.add_done_callback(partial(self._written, id))
        await asyncio.shield(
            writing
        )  # else the mail of a client that hangs up would not be counted
        if surplus := self._surplus():
            await self._run(partial(_remove, self._paths(surplus)))
        return id

    async def list(
        self, *, limit: int = 50, before: str | None = None, q: str = "", caller: str = ""
    ) -> Summaries:
        """The newest mails first, older than the id `before`, that contain `q` in either case."""
        end = len(self._ids) if before is None else bisect_left(self._ids, before)
        ids = self._ids[end - 1 :: -1] if end else []
        return await self._readers.run(caller, partial(self._search, ids, limit, q.casefold()))

    async def count(self) -> int:
        return len(self._ids)

    async def get(self, id: str, *, caller: str = "") -> Caught | None:
        return await self.look(id, lambda mail: mail.caught(id=id, at=_at(id)), caller=caller)

    async def source(self, id: str, *, caller: str = "") -> bytes | None:
        """The file: the mail with its envelope in front. RFC 5322."""
        if id not in self._sizes:
            return None
        return await self._readers.run(caller, partial(_content, self._path(id)))

    async def attachment(self, id: str, number: int, *, caller: str = "") -> File | None:
        """One attachment. Its type and name come from the mail: serve it only as a download."""
        return await self.look(id, lambda mail: mail.attachment(number), caller=caller)

    async def look(
        self, id: str, see: Callable[[OpenedMail], T | None], *, caller: str = ""
    ) -> T | None:
        """Return what `see` makes of a mail. `see` runs in a thread."""
        if id not in self._sizes:
            return None
        return await self._readers.run(caller, partial(_seen, self._path(id), see))

    async def delete_all(self) -> int:
        """Remove every mail, and return how many there were."""
        gone, self._ids, self._sizes, self._total = self._ids, [], {}, 0
        self._summary.cache_clear()
        await self._run(partial(_remove, self._paths(gone)))
        self._notify("")
        return len(gone)

    async def find(
        self, matches: Callable[[bytes], bool], *, caller: str = ""
    ) -> AsyncIterator[str]:
        """The ids of the mails whose file matches, the oldest first. `matches` runs in a thread."""
        for id in tuple(self._ids):
            if await self._readers.run(caller, partial(_matches, self._path(id), matches)):
                yield id

    async def delete(self, ids: Collection[str]) -> int:
        """Remove these mails, and return how many of them there were."""
        gone = [id for id in dict.fromkeys(ids) if id in self._sizes]
        for id in gone:
            self._ids.remove(id)
            self._total -= self._sizes.pop(id)
        await self._run(partial(_remove, self._paths(gone)))
        if gone:
            self._summary.cache_clear()
            self._notify("")
        return len(gone)

    def _new_id(self) -> str:
        """Ids sort by arrival, also where the clock was set back, and cannot be guessed."""
        self._last = max(self._last + 1, (self._clock() - EPOCH) // MICROSECOND)
        return f"{self._last:014x}{secrets.token_hex(5)}"

    def _written(self, id: str, writing: "asyncio.Future[int]") -> None:
        self._writing.discard(writing)
        if writing.cancelled() or writing.exception() is not None:
            return
        insort(self._ids, id)
        self._sizes[id] = writing.result()
        self._total += writing.result()
        self._notify(id)

    def _notify(self, id: str) -> None:
        for listener in tuple(self._listeners):
            listener(id)

    def _surplus(self) -> Sequence[str]:
        """Forget the oldest mails above the limits, and return their ids."""
        gone = []
        while len(self._ids) > 1 and (len(self._ids) > self._keep or self._total > self._limit):
            gone.append(self._ids.pop(0))
            self._total -= self._sizes.pop(gone[-1])
        return gone

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.eml"

    def _paths(self, ids: Sequence[str]) -> Sequence[Path]:
        return [self._path(id) for id in ids]

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # In the threads.

    def _summed_up(self, id: str) -> Summary | None:
        """The summary of one file. None: the file was removed by somebody else."""
        return _seen(self._path(id), lambda mail: mail.summary(id=id, at=_at(id)))

    def _search(self, ids: Sequence[str], limit: int, word: str) -> Summaries:
        found: Summaries = []
        for id in ids:
            if len(found) >= limit:
                break
            if word and not _seen(self._path(id), lambda mail: mail.mentions(word)):
                continue
            if (summary := self._summary(id)) is not None:
                found.append(summary)
        return found


def _at(id: str) -> datetime:
    return EPOCH + int(id[:14], 16) * MICROSECOND


def _found(folder: Path) -> dict[str, int]:
    """Ids and sizes of the files in the folder; removes files that a crash left half written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sizes = {}
    for path in folder.iterdir():
        if path.suffix == ".eml" and _ID.match(path.stem):
            sizes[path.stem] = path.stat().st_size
        elif path.suffix == ".tmp" and _ID.match(path.stem):
            path.unlink(missing_ok=True)
    return sizes


def _write(folder: Path, id: str, pieces: Sequence[bytes]) -> int:
    temporary = folder / f"{id}.tmp"
    try:
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / f"{id}.eml")
        sync(folder)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return sum(map(len, pieces))


def _content(path: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _seen(path: Path, see: Callable[[OpenedMail], T | None]) -> T | None:
    content = _content(path)
    return None if content is None else see(OpenedMail(content))


def _matches(path: Path, matches: Callable[[bytes], bool]) -> bool:
    content = _content(path)
    return content is not None and matches(content)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
