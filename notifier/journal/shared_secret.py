"""A secret that is made once, and on which all replicas agree."""

import asyncio
import secrets

from notifier.journal import Journal

RETURN_PATHS = "secret:return_paths"  # the name of the value: of the tokens in return paths
_OCTETS = 32
_LOOK_SECONDS = 0.05


async def shared_secret(journal: Journal, name: str) -> bytes:
    """The secret of this name, which the journal keeps. Raises JournalUnavailable."""
    while (value := await journal.value(name)) is None:
        async with journal.try_lock(name) as locked:
            if locked and await journal.value(name) is None:
                await journal.put(name, secrets.token_hex(_OCTETS))
        if not locked:  # another replica makes it just now
            await asyncio.sleep(_LOOK_SECONDS)
    return bytes.fromhex(value)
