"""
`notifier backup` and `notifier prune`; and the journal itself, for commands that work without a
server.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from notifier.audit import Audit
from notifier.audit.records import actor
from notifier.cli.progress import Progress
from notifier.erasure.requests import Requests
from notifier.errors import JournalFailure, JournalInUse, NotifierError
from notifier.housekeeping import pruning
from notifier.journal import Journal, backup_of, journal_at, journal_exists
from notifier.logs import Logs
from notifier.settings import Settings

T = TypeVar("T")


def in_journal(settings: Settings, ask: Callable[[Journal], Awaitable[T]]) -> T:
    """What the journal answers, while no server has it open. Raises JournalInUse."""
    hint = "that process does not answer at this URL; give its --url"
    with Logs(level="warning"):
        return asyncio.run(_opened(settings, ask, hint))


async def _opened(settings: Settings, ask: Callable[[Journal], Awaitable[T]], hint: str) -> T:
    journal = journal_at(settings.journal, data_dir=settings.data_dir)
    try:
        await journal.open()
    except JournalInUse as error:
        raise JournalInUse(f"{error}; {hint}") from None
    try:
        return await ask(journal)
    finally:
        await journal.close()


class BackupFailed(NotifierError):
    """No copy was made."""


def backup(settings: Settings, target: Path) -> str:
    """
    Copy the journal. Returns what to print. Raises BackupFailed, ConfigurationError,
    JournalFailure.
    """
    if not target.parent.is_dir():
        raise BackupFailed(f"{target}: there is no folder {target.parent}")
    try:
        with Progress() as progress:
            count = backup_of(
                settings.journal, target, data_dir=settings.data_dir, progress=progress
            )
    except FileExistsError:
        raise BackupFailed(f"{target} exists and is not overwritten; name a new file") from None
    return f"{target}: {count} messages, {target.stat().st_size} bytes; checked and on disk"


def prune(settings: Settings) -> str:
    """Drop old rows. Returns what to print. Raises JournalInUse, JournalFailure."""
    if not journal_exists(settings.journal, data_dir=settings.data_dir):
        raise JournalFailure(f"there is no journal in {settings.data_dir}")
    hint = "a running server prunes by itself, every minute"
    with Logs(level="warning"):
        dropped = asyncio.run(_opened(settings, lambda journal: _drop(journal, settings), hint))
    return (
        f"{dropped} rows dropped: messages, contents, idempotency keys, records of the audit and"
        " erasures past their retention"
    )


async def _drop(journal: Journal, settings: Settings) -> int:
    """Delete what is past its retention, and tell the audit, also of a part if it is broken off."""
    audit = Audit(journal, retention=settings.audit_retention)
    dropped = 0
    with Progress(counted=True) as progress:

        def count(rows: int) -> None:
            nonlocal dropped
            dropped = rows
            progress("dropping rows", rows)

        try:
            await pruning.prune(journal, settings, datetime.now(UTC), progress=count)
            dropped += await audit.prune()
            old = datetime.now(UTC) - timedelta(seconds=settings.audit_retention)
            dropped += await Requests(journal).prune(old)
        finally:
            await audit.note(actor(), "prune", count=dropped)
    return dropped
