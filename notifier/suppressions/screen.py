"""Takes suppressed recipients out of messages, when they come and before they are sent."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Self

import structlog

from notifier.audit import Audit
from notifier.clock import Clock
from notifier.deliveries import Delivery
from notifier.errors import NotifierError
from notifier.housekeeping.health import Trouble
from notifier.journal import Journal
from notifier.journal.shared_secret import shared_secret
from notifier.pseudonyms import SECRET, Pseudonyms, compared
from notifier.recipients import RecipientStatus
from notifier.screening import without
from notifier.supervisor import Background, Supervisor, wait_at_most
from notifier.suppressions.strikes import KEPT, Bursts, statements, strikes_of
from notifier.suppressions.suppression import Reason, Suppression, Which, names_of
from notifier.suppressions.table import Table
from notifier.threads import Turn

LOOK_SECONDS = 60.0  # between two looks at the list; another replica tells of the first entry
SHORTEST_SECONDS = 1.0
COUNT_SHARE = 20  # a count of the list takes at most this part of the time
COUNT_EVERY = timedelta(minutes=10)  # an end that has passed is no change
FORGET_EVERY = timedelta(hours=1)
# A message that has waited longer is looked up again before it is sent.
FRESH = timedelta(seconds=60)
# The journal's value that tells other replicas that the list is no longer empty.
FILLED = "suppressions"

log = structlog.get_logger()


class Suppressions(Background):
    """
    Knows whether there are any suppressions, so that messages cost nothing while there are none.
    The list itself is in the journal, and each look-up reads it there.
    """

    def __init__(
        self,
        journal: Journal,
        audit: Audit,
        *,
        automatic: bool,
        supervisor: Supervisor,
        clock: Clock,
    ) -> None:
        self.any = False  # whether there may be suppressions
        self.count = 0  # recipients that were suppressed
        self.counts: Mapping[Reason, int] = dict.fromkeys(Reason, 0)  # ten minutes old at most
        self.troubles: tuple[Trouble, ...] = ()  # bursts of bounces
        self._automatic = automatic
        self._journal = journal
        self._audit = audit
        self._table = Table(journal)
        self._bursts = Bursts(journal)
        super().__init__(supervisor, {"suppressions": self._keep_looking})
        self._clock = clock
        self._pseudonyms: Pseudonyms | None = None  # where somebody on the list was erased
        self._changes = 0
        self._put_at = clock()  # when the list got new entries; also while nothing ran
        self._counted = -1  # the changes when the list was counted
        self._count_at = self._forget_at = clock()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        if self._automatic:
            self._journal.accompany(statements)
        self.any = await self._table.any(self._clock())
        await self._look_for_pseudonyms()
        return await super().__aenter__()

    # Look up

    async def screened(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """The deliveries, in which suppressed recipients are marked. A delivery to nobody ends."""
        names: dict[str, None] = {}
        turn = Turn()
        for delivery in deliveries:
            if not delivery.despite_suppression:
                for address in delivery.pending.recipients:
                    names.update(dict.fromkeys(names_of(address, self._pseudonyms)))
            if turn.over:
                await turn.next()
        now = self._clock()
        found: dict[str, list[Suppression]] = {}
        for each in await self._table.among(list(names), now) if names else ():
            found.setdefault(each.address, []).append(each)
        if not found:
            return deliveries
        screened = []
        for delivery in deliveries:
            why = {} if delivery.despite_suppression else self._suppressed(delivery, found)
            screened.append(without(delivery, why, now) if why else delivery)
            if turn.over:
                await turn.next()
        return screened

    def _suppressed(
        self, delivery: Delivery, found: Mapping[str, list[Suppression]]
    ) -> dict[str, str]:
        """The pending recipients that are suppressed for the delivery's key, and why."""
        why: dict[str, str] = {}
        for address in delivery.pending.recipients:
            for name in names_of(address, self._pseudonyms):
                for each in found.get(name, ()):
                    if each.key in ("", delivery.key):
                        why.setdefault(address, each.words)
        return why

    def looks_again(self, delivery: Delivery) -> bool:
        """
        Whether a delivery must be looked up before it is sent: it has waited or was retried, or
        this replica has added suppressions since it came.
        """
        return self.any and bool(
            delivery.attempts
            or delivery.events
            or delivery.created_at <= self._put_at
            or self._clock() - delivery.created_at > FRESH
        )

    async def again(self, delivery: Delivery) -> Delivery:
        """The delivery without recipients that are suppressed now."""
        (screened,) = await self.screened([delivery])
        self.tally([screened], but=delivery)
        return screened

    def tally(self, deliveries: Sequence[Delivery], *, but: Delivery | None = None) -> None:
        """Count the suppressed recipients of deliveries, without those of an earlier state."""
        for delivery in deliveries:
            if count := _count(delivery) - (0 if but is None else _count(but)):
                self.count += count
                log.info("suppressed", id=delivery.id, recipients=count, status=delivery.status)

    # Change

    async def put(
        self, suppressions: Sequence[Suppression], *, by: str, imported: bool = False
    ) -> None:
        """
        Add suppressions. From then on nothing is sent to them, except what another replica accepted
        within the minute before. `imported`: they come from a file.
        """
        what = "import-suppressions" if imported else "add-suppression"
        on = "" if imported else " ".join(each.address for each in suppressions)
        detail = "" if imported else " ".join(each.reason for each in suppressions)
        await self._table.put(suppressions, self._audit.counted(by, what, on=on, detail=detail))
        self._put_at = self._clock()
        filled = self.any
        self.any = True
        self.heed()  # before any await: a look that found the list empty is out of date
        log.info("suppressions_put", count=len(suppressions), by=by)
        if not filled and suppressions:
            await self._tell_replicas()

    async def remove(self, address: str, key: str | None = None, *, by: str) -> int:
        """Delete the suppressions of an address. Returns how many."""
        detail = "" if key is None else f"key={key or '-'}"
        record = self._audit.counting(by, "remove-suppression", on=address, detail=detail)
        count = await self._table.remove(address, key, record)
        if self._pseudonyms is not None:
            hidden = self._pseudonyms.of(compared(address))
            count += await self._table.remove(hidden, key, record)
        log.info("suppressions_removed", address=address, count=count, by=by)
        self.heed()
        return count

    async def remove_all(self, which: Which, *, by: str) -> int:
        """Delete all suppressions that match. Returns how many."""
        what, detail = "remove-suppressions", which.words
        record = self._audit.counted(by, what, detail=detail)
        count = await self._table.remove_all(which, self._clock(), record)
        if not count:
            await self._audit.note(by, what, count=0, detail=detail)
        log.info("suppressions_removed", count=count, by=by)
        self.heed()
        return count

    async def page(
        self, which: Which, *, limit: int, after: tuple[str, str] | None = None
    ) -> list[Suppression]:
        """The suppressions that are in force now, by address and key, after this one."""
        return await self._table.page(which, now=self._clock(), limit=limit, after=after)

    # Keep up

    def heed(self) -> None:
        """Note that the list may have changed, here or at another replica."""
        self._changes += 1
        self._news.set()

    async def heed_replicas(self) -> None:
        """Another replica has put some value, perhaps FILLED."""
        if not self.any:
            await self.look()
        await self._look_for_pseudonyms()

    async def hide(self) -> None:
        """Note that a person was erased: the list may have pseudonyms."""
        await self._look_for_pseudonyms()
        self.heed()

    async def _look_for_pseudonyms(self) -> None:
        if self.any and self._pseudonyms is None and await self._table.any_erased():
            self._pseudonyms = Pseudonyms(await shared_secret(self._journal, SECRET))

    def notice(self, delivery: Delivery) -> None:
        """A delivery has changed: after a bounce the list may have grown. Must be quick."""
        if self._automatic and next(strikes_of(delivery), None) is not None:
            self.any = True
            self.heed()

    async def _tell_replicas(self) -> None:
        await self._journal.put(FILLED, self._clock().isoformat())

    async def _keep_looking(self) -> None:
        while True:
            self._news.clear()
            begun = time.monotonic()
            with contextlib.suppress(NotifierError):
                await self.look()
            taken = time.monotonic() - begun
            await asyncio.sleep(max(SHORTEST_SECONDS, COUNT_SHARE * taken))
            await wait_at_most(self._news, LOOK_SECONDS)

    async def look(self) -> None:
        """Read whether there are suppressions, and how many. Lift those that a burst caused."""
        now = self._clock()
        if self._automatic:
            self.troubles = await self._bursts.found(now)
        changes = self._changes
        filled = await self._table.any(now)
        if filled and not self.any:
            self.any = True
            await self._tell_replicas()
        elif not filled and changes == self._changes:
            self.any = False
        await self._look_for_pseudonyms()
        if changes != self._counted or now >= self._count_at:
            self.counts = await self._table.counts(now)
            self._counted, self._count_at = changes, now + COUNT_EVERY
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY
            await self._table.forget_ended(now - KEPT)
            await self._bursts.forget(now)


def _count(delivery: Delivery) -> int:
    return sum(each.status is RecipientStatus.SUPPRESSED for each in delivery.recipients)
