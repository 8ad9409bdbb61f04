"""Record the outcomes of claimed deliveries, whatever the journal's state."""

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
    Retries until the outcome is on disk. Nothing else is sent meanwhile: after a crash nobody could
    tell whether it had been sent.
    """

    def __init__(self, journal: Journal, feed: Feed) -> None:
        self.trouble = ""  # why outcomes cannot be recorded; empty: they can
        self._journal = journal
        self._feed = feed
        self._working = asyncio.Event()
        self._working.set()

    async def until_it_can(self) -> None:
        """Wait until outcomes can be recorded."""
        if self.trouble:
            await self._working.wait()

    async def record(self, delivery: Delivery, claimed: Delivery | None) -> None:
        """
        Record an outcome. The journal has the record before the first await here, so a cancellation
        cannot undo it. A delivery that the journal refuses is held in its claimed state.
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
                if claimed is None:  # refused, too: a restart finds the delivery, as uncertain
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
