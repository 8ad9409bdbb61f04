"""Moves deliveries from the journal through the workers, and back into the journal."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from notifier.attempts import Transport
from notifier.clock import Clock, utc_now
from notifier.deliveries import Delivery, Priority, Route
from notifier.dispatch.chained import Chained
from notifier.dispatch.sending import JOURNAL_SECONDS, Attempted, Screen, Sending
from notifier.dispatch.shares import Share, Shares
from notifier.errors import JournalUnavailable, NotifierError
from notifier.feed import Feed
from notifier.journal import Change, Claim, Journal
from notifier.journal.expiry import next_expiry
from notifier.retries import RetryPolicy
from notifier.supervisor import Supervisor

POLL_SECONDS = 30.0  # how long another process's work may go unnoticed if its news is lost
EXPIRE_SECONDS = 1.0  # how late an expiry may be seen
EXPIRE_POLL_SECONDS = 30.0  # the same for what another process left behind
GATHER_SECONDS = 1.0  # between two looks for new queues, at least
QUEUES_SECONDS = 30.0  # how long a queue that another process has begun may go unnoticed
SETTLE_SECONDS = 2.0  # given to the records of attempts that were cut off at the end of the grace

log = structlog.get_logger()


class Dispatcher:
    """
    Fills its window only by claiming, and sends what is in it.

    So there is one way in, whether a delivery is new, deferred, left over from a crash or retried
    by a person, and a backlog costs disk, not memory. Each claimed delivery is recorded or given
    back, also when the dispatcher is stopped.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        transports: Mapping[str, Transport],
        retry: RetryPolicy,
        feed: Feed,
        workers: int,
        window: int,
        supervisor: Supervisor | None = None,
        clock: Clock = utc_now,
        expiry: Callable[[datetime], Change] = lambda now: partial(Delivery.expired, now=now),
        attempted: Sequence[Attempted] = (),
        chained: Chained | None = None,
        screen: Screen | None = None,
    ) -> None:
        """
        `transports`: of the queues that are known from the start; `chained` finds the others.
        `attempted`: called with each attempt, once it is on disk; must be quick.
        """
        self._journal = journal
        self._feed = feed
        self._supervisor = supervisor or Supervisor()
        self._clock = clock
        self._expiry = expiry
        self._shares = Shares(transports, workers=workers, window=window)
        self._running = asyncio.Event()  # cleared while the queue is paused
        self._running.set()
        self._chained = chained
        self._sending = Sending(
            journal,
            feed,
            retry=retry,
            clock=clock,
            expiry=expiry,
            attempted=attempted,
            chained=chained,
            screen=screen,
        )
        journal.arrived = self.wake
        self._started = self._stopping = False
        self._queues_changed = asyncio.Event()
        self._waiting_changed = asyncio.Event()  # there may be an earlier expiry
        self._fillers: dict[asyncio.Task[None], Share | None] = {}
        self._workers: list[asyncio.Task[None]] = []
        # By worker, for people to see.
        self.doing: list[Delivery | None] = [None] * self._shares.workers

    def start(self) -> None:
        self._started = True
        for share in self._shares:
            self._start_filler(share)
        self._fillers[self._supervisor.start("expire", self._expire)] = None
        if self._chained is not None:
            self._fillers[self._supervisor.start("queues", self._find_queues)] = None
        for number in range(len(self.doing)):
            self._start_worker(number)

    def _start_filler(self, share: Share) -> None:
        start, over = partial(self._fill, share), lambda: self._stopping
        task = self._supervisor.start(f"fill-{share.queue}", start, over=over)
        self._fillers[task] = share

    def _start_worker(self, number: int) -> None:
        start = partial(self._work, number)
        self._workers.append(self._supervisor.start("worker", start, over=lambda: self._stopping))

    def wake(self, queues: Iterable[str]) -> None:
        """Look for work of these queues, or of all queues of a Route: something may be due."""
        self._waiting_changed.set()
        for queue in set(queues):
            if isinstance(queue, Route):
                self._queues_changed.set()
                for each in self._shares:
                    if each.queue.partition(":")[0] == queue:
                        each.stir.set()
            elif share := self._shares.by_queue.get(queue):
                share.stir.set()
            else:
                self._open(queue)

    def _open(self, queue: str) -> None:
        """Begin to claim from the queue of a chain that is new here."""
        if self._chained is None or ":" not in queue or self._stopping:
            return
        share = self._shares.add(queue, self._chained.transport(queue))
        before = len(self.doing)
        self.doing += [None] * (self._shares.workers - before)
        if self._started:
            self._start_filler(share)
            for number in range(before, len(self.doing)):
                self._start_worker(number)

    async def _find_queues(self) -> None:
        """Find the queues in which deliveries wait that another process has accepted."""
        while True:
            self._queues_changed.clear()
            with contextlib.suppress(JournalUnavailable):
                for queue in await self._journal.queues():
                    if queue not in self._shares.by_queue:
                        self._open(queue)
            await asyncio.sleep(GATHER_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUEUES_SECONDS):
                    await self._queues_changed.wait()

    @property
    def trouble(self) -> str:
        """Why nothing is sent: outcomes cannot be recorded. Empty: they can."""
        return self._sending.trouble

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    def pause(self) -> None:
        """Claim nothing more. Sends under way go on."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    async def stop(self, *, grace: float) -> None:
        """Finish the sends under way within `grace` seconds, and give the other claims back."""
        self._stopping = True
        for filler, share in self._fillers.items():
            if share is None or not share.claiming:  # else it hears what was claimed, and ends
                filler.cancel()
        await asyncio.gather(*self._fillers, return_exceptions=True)
        for number, worker in enumerate(self._workers):
            if self.doing[number] is None:
                worker.cancel()
        # All at once, so that the journal writes them together, while sends under way finish.
        giving_back = asyncio.gather(*map(self._give_back, self._shares.drain()))
        under_way: set[asyncio.Future[Any]] = {giving_back, *self._workers}
        _, under_way = await asyncio.wait(under_way, timeout=grace)
        for each in self._shares:
            each.transport.abort_all()
        if self._chained is not None:
            self._chained.abort_all()
        if under_way:
            await asyncio.wait(under_way, timeout=SETTLE_SECONDS)
        giving_back.cancel()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(giving_back, *self._workers, return_exceptions=True)

    async def _give_back(self, claim: Claim) -> None:
        with contextlib.suppress(NotifierError):
            await self._journal.record(claim.delivery.released())

    async def _fill(self, share: Share) -> None:
        while not self._stopping:
            share.stir.clear()  # before the claim, so that a stir during the claim is not lost
            await self._running.wait()
            try:
                if (wanted := share.appetite()) > 0:
                    if (wait := await self._claim(share, wanted)) > 0:
                        timer = asyncio.get_running_loop().call_later(wait, share.stir.set)
                        try:
                            await share.stir.wait()
                        finally:
                            timer.cancel()
                elif share.waits_for_places():
                    await share.wait_for_places()
                else:
                    await share.transport.wait_for_room()
            except JournalUnavailable as error:
                log.warning("claim_failed", route=share.queue, reason=str(error))
                if not self._stopping:
                    await asyncio.sleep(JOURNAL_SECONDS)

    async def _claim(self, share: Share, wanted: int) -> float:
        """Claim so many deliveries, if there are any. Returns the seconds until more may be due."""
        bulk_left = share.bulk_left
        limit = min(wanted, bulk_left) if bulk_left > 0 else wanted
        slowest = Priority.BULK if bulk_left > 0 else Priority.NORMAL
        share.claiming = True
        try:
            claims = await self._journal.claim(share.queue, limit, now=self._clock, slowest=slowest)
        finally:
            share.claiming = False
        self._shares.take_in(share, claims)
        if len(claims) >= limit or share.stir.is_set() or self._stopping:
            return 0.0
        # What may not be claimed now is nothing to wait for: a freed place wakes it.
        if share.bulk_left <= 0:
            slowest = Priority.NORMAL
        due = await self._journal.next_due(share.queue, slowest=slowest)
        if due is None:
            return POLL_SECONDS
        return min(POLL_SECONDS, (due - self._clock()).total_seconds())

    async def _work(self, number: int) -> None:
        while not self._stopping:
            share, claim = await self._shares.next()
            self.doing[number] = claim.delivery
            try:
                await self._sending.send(share.transport, claim)
            except Exception:  # a worker that dies unnoticed would be worse
                log.exception("worker_stumbled", id=claim.delivery.id)
            finally:
                self.doing[number] = None
                self._shares.done(share, claim)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            self._waiting_changed.clear()  # first, so that none that comes meanwhile is missed
            now = self._clock()
            with contextlib.suppress(NotifierError):
                for delivery in await self._journal.expire(now, self._expiry(now)):
                    log.warning("expired", id=delivery.id, reason=delivery.reason)
                    self._feed.publish(delivery)
                await self._wait_for_expiry()

    async def _wait_for_expiry(self) -> None:
        expiry = await next_expiry(self._journal)
        wait = EXPIRE_POLL_SECONDS
        if expiry is not None:
            wait = min(wait, max(0.0, (expiry - self._clock()).total_seconds()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._waiting_changed.wait()
