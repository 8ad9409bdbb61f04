"""How many files this process may have open, and how many of them may be clients' connections."""

import contextlib
import resource
from collections.abc import Iterable
from pathlib import Path

from notifier.relayspec import RelaySpec

MOST_CONNECTIONS = 16_384  # each may take some 64 KiB of memory
BACKLOG = 2048  # connections that the kernel keeps until we accept them
BUILT_IN = 64  # both ends of the connections to the built-in mailbox and simulator
SUBMITTING = 200  # clients that submit mail by SMTP
SPARE = 16


def raise_limit() -> int:
    """Raise the soft limit to the hard one. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31


def backlog(limit: int) -> int:
    """The length of the kernel's queue; the loop may accept all of it in one turn."""
    return min(BACKLOG, limit // 4)


def connections(limit: int, relays: Iterable[RelaySpec], *, smtp: bool = False) -> int:
    """How many clients may connect, after what the journal, the relays and the logs need."""
    ours = _open() + sum(spec.connections for spec in relays) + BUILT_IN + SPARE
    ours += SUBMITTING if smtp else 0
    return min(max(limit - backlog(limit) - ours, limit // 4), MOST_CONNECTIONS)


def _open() -> int:
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        with contextlib.suppress(OSError):
            return sum(1 for _ in folder.iterdir())
    return 64
