"""
Changes lines that were logged before, such as the address of a person to be erased, while the log
is being written.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from msgspec import Struct

from notifier.logs.files import NAMES, is_at, lock

# Gets whole lines, and returns what takes their place.
Change: TypeAlias = Callable[[bytes], bytes]
Identity: TypeAlias = tuple[int, int]  # of a file: its inode and device

SLICE = 256 * 1024  # octets that are read and changed at a time
COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip"})
ROUNDS = 3  # in which a file is copied before nobody may write to it
UNFINISHED = ".rewritten"  # the suffix of a file that takes another's place once it is whole


class Rewritten(Struct, frozen=True):
    """How many files were changed, and the names of those that cannot be read as text."""

    changed: int
    unread: tuple[str, ...]


def rewrite(folder: Path, change: Change) -> Rewritten:
    """
    Change the log's files in this folder, rotated ones too, each in one step; a file without a
    change is left alone. What is logged meanwhile is kept. One call at a time. Raises OSError.
    """
    changed, unread = 0, []
    for name in dict.fromkeys(NAMES.values()):
        live = folder / f"{name}.log"
        for leftover in folder.glob(f"{live.name}*{UNFINISHED}"):
            leftover.unlink(missing_ok=True)
        seen: set[Identity] = set()  # files move while we go through them
        while path := _unseen(live, seen):
            changed += _rewrite(path, live, change, seen)
        unread += [path.name for path in folder.glob(f"{live.name}*") if _is_compressed(path)]
    return Rewritten(changed, tuple(sorted(unread)))


def slices(folder: Path) -> Iterator[bytes]:
    """What the log's files in this folder hold, some whole lines at a time. Raises OSError."""
    for name in dict.fromkeys(NAMES.values()):
        for path in sorted(folder.glob(f"{name}.log*")):
            if not _is_compressed(path):
                with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                    yield from _slices(file)


def _unseen(live: Path, seen: set[Identity]) -> Path | None:
    for path in live.parent.glob(f"{live.name}*"):
        with contextlib.suppress(FileNotFoundError):
            if not _is_compressed(path) and _identity(path.stat()) not in seen:
                return path
    return None


def _is_compressed(path: Path) -> bool:
    return path.suffix in COMPRESSED


def _identity(found: os.stat_result) -> Identity:
    return found.st_ino, found.st_dev


def _rewrite(path: Path, live: Path, change: Change, seen: set[Identity]) -> bool:
    """Whether the file was changed. It is not `seen` if another is at its path now."""
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
        except FileNotFoundError:
            return False
        ours = _identity(os.fstat(file.fileno()))
        if all(change(lines) == lines for lines in _slices(file)):
            seen.add(ours)
            return False
        file.seek(0)
        unfinished = path.with_name(path.name + UNFINISHED)
        opened.callback(unfinished.unlink, missing_ok=True)
        copy = opened.enter_context(unfinished.open("wb"))
        os.fchmod(copy.fileno(), os.fstat(file.fileno()).st_mode & 0o777)
        for _ in range(ROUNDS):  # each has less to do, so that little is left for the last one
            copy.writelines(map(change, _slices(file, end=False)))
        copy.flush()
        os.fsync(copy.fileno())
        with _locked(live):
            if not is_at(path, file.fileno()):
                return False
            copy.writelines(map(change, _slices(file)))
            copy.flush()
            unfinished.rename(path)
        seen |= {ours, _identity(os.fstat(copy.fileno()))}
        return True


def _slices(file: BinaryIO, *, end: bool = True) -> Iterator[bytes]:
    """
    Whole lines, from the place in the file on, as far as it is written now. `end`: also a last one
    that is not whole, because it is still being written, or was by a process that died.
    """
    size = os.fstat(file.fileno()).st_size
    while file.tell() < size and (lines := file.readlines(SLICE)):
        whole = end or lines[-1].endswith(b"\n")
        if not whole:
            file.seek(-len(lines.pop()), os.SEEK_CUR)
        yield b"".join(lines)
        if not whole:
            return


@contextlib.contextmanager
def _locked(live: Path) -> Iterator[None]:
    """Nobody writes to the log's file, or rotates it. Without a file there is nobody to do so."""
    with contextlib.ExitStack() as opened:
        while True:
            try:
                file = opened.enter_context(live.open("r+b", buffering=0))
            except FileNotFoundError:
                break
            lock(file.fileno())
            if is_at(live, file.fileno()):
                break
        yield
