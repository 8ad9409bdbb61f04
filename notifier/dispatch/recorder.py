"""Keep what became of claimed deliveries, whatever the journal's state."""

import asyncio

import structlog
from msgspec.structs import replace

from notifier.deliveries import Delivery
from notifier.errors import JournalUnavailable, Rejected
from notifier.feed import Feed
from notifier.journal import Journal

JOURNAL_SECONDS = 1.0  # between two tries to write to a journal that cannot be written

log = structlog.get_logger()


class Recorder:
    """
    Retries until the outcome is on disk. Nothing else is sent meanwhile: after a crash nobody
    could tell whether it had left.
    """

    def __init__(self, journal: Journal, feed: Feed) -> None:
        self.trouble = ""  # why it cannot; empty: it can
        self._journal = journal
        self._feed = feed
        self._working = asyncio.Event()
        self._working.set()

    async def until_it_can(self) -> None:
        """Wait while what would leave now could not be recorded."""
        if self.trouble:
            await self._working.wait()

    async def record(self, delivery: Delivery, claimed: Delivery | None) -> None:
        """
        The journal takes the record in hand before its first await: a cancellation cannot undo
        it. What it will never take is held as it was claimed.
        """
        while True:
            try:
                ours = await self._journal.record(delivery)
            except JournalUnavailable as error:
                log.error("record_failed", id=delivery.id, reason=str(error))  # noqa: TRY400  the reason is all there is to know
                self.trouble = f"the outcome of a message cannot be recorded: {error}"
                self._working.clear()
                await asyncio.sleep(JOURNAL_SECONDS)
            except Rejected:
                log.exception("record_refused", id=delivery.id, status=delivery.status)
                if claimed is None:  # not even that: it is found, as uncertain, after a restart
                    ours = False
                    break
                why = f"it came out as {delivery.status}, which cannot be recorded; see the log"
                delivery = replace(claimed.held(why), uncertain=claimed.uncertain + 1)
                claimed = None
            else:
                break
        if self.trouble:
            self.trouble = ""
            self._working.set()
        if ours:
            self._feed.publish(delivery)
