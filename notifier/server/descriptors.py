"""How many files this process may have open, and how many of them may be connections."""

import contextlib
import resource
from collections.abc import Iterable
from pathlib import Path

from notifier.relayspec import RelaySpec

MOST_CONNECTIONS = 16_384  # whatever the system allows: each may have some 64 KiB in memory
BACKLOG = 2048  # connections that the system keeps until they are taken
BUILT_IN = 64  # both ends of the connections to the built-in mailbox and simulator
SPARE = 16


def raise_limit() -> int:
    """As far as we may without asking anybody; and what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower one of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31


def backlog(limit: int) -> int:
    """All of it may be taken in one turn of the loop, before any is closed."""
    return min(BACKLOG, limit // 4)


def connections(limit: int, relays: Iterable[RelaySpec]) -> int:
    """What is left for clients once the journal, the relays and the logs have theirs."""
    ours = _open() + sum(spec.connections for spec in relays) + BUILT_IN + SPARE
    return min(max(limit - backlog(limit) - ours, limit // 4), MOST_CONNECTIONS)


def _open() -> int:
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        with contextlib.suppress(OSError):
            return sum(1 for _ in folder.iterdir())
    return 64
