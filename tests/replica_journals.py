"""Journals in PostgreSQL as replicas have them: with short leases, and one that falls silent."""

import asyncio
import contextlib

from notifier.journal import journal_at

LEASE = 0.4  # seconds


@contextlib.asynccontextmanager
async def opened(url, *, count=2, lease=15.0):
    """Several replicas' journals on one database."""
    journals = [journal_at(url, data_dir="", lease=lease) for _ in range(count)]
    await asyncio.gather(*(each.open() for each in journals))
    try:
        yield journals
    finally:
        for each in journals:
            await each.close()


async def silence(journal):
    """As if its process were stopped: it renews its lease no more."""
    journal._lease._keeping.cancel()
    await asyncio.gather(journal._lease._keeping, return_exceptions=True)
