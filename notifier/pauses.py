"""Stop sending, to a relay or at all, until a person resumes it."""

import contextlib
from collections.abc import Callable

import structlog

from notifier.audit import Audit
from notifier.errors import Rejected
from notifier.journal import Journal

# Before a relay's name, in the names of the journal's values; alone, for the whole queue.
PAUSED = "paused:"

log = structlog.get_logger()


class Pauses:
    """Keeps pauses in the journal, so that they last across restarts and hold for all replicas."""

    def __init__(
        self, journal: Journal, audit: Audit, switch: Callable[[str | None, bool], None]
    ) -> None:
        """`switch` pauses or resumes a relay by its name, or the queue (None)."""
        self._journal = journal
        self._audit = audit
        self._switch = switch
        self._paused: set[str | None] = set()  # relays by name; None: the queue

    async def pause(self, name: str | None = None, *, by: str = "") -> None:
        """Stop sending, or stop sending to the relay of this name. It lasts across restarts."""
        await self._change(name, paused=True, by=by)
        log.warning("paused", relay=name or "all", by=by)

    async def resume(self, name: str | None = None, *, by: str = "") -> None:
        """Send again."""
        await self._change(name, paused=False, by=by)
        log.warning("resumed", relay=name or "all", by=by)

    async def heed(self) -> None:
        """Apply the pauses in the journal: from before a restart, or from another replica."""
        for key, value in (await self._journal.values()).items():
            name = key.removeprefix(PAUSED) or None
            if key == name or bool(value) == (name in self._paused):
                continue
            with contextlib.suppress(Rejected):  # a relay that is not configured any more
                self._apply(name, paused=bool(value))
            event = "still_paused" if value else "resumed"
            log.warning(event, relay=name or "all")

    async def _change(self, name: str | None, *, paused: bool, by: str) -> None:
        self._apply(name, paused=paused)
        what = f"{'pause' if paused else 'resume'}-{'relay' if name else 'queue'}"
        record = self._audit.statement(by, what, on=name or "")
        await self._journal.put(PAUSED + (name or ""), "yes" if paused else "", record)
        self._apply(name, paused=paused)  # a concurrent read may have applied the old value

    def _apply(self, name: str | None, *, paused: bool) -> None:
        self._switch(name, paused)
        (self._paused.add if paused else self._paused.discard)(name)
