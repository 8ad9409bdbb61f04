"""Sends the callbacks of one application, with a queue and limits of its own."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import uuid4

import msgspec
import structlog

from notifier.breaker import Breaker, Rests, State
from notifier.callbacks.answers import (
    GIVEN_UP_AFTER,
    Answer,
    pause_after,
    setback_of,
)
from notifier.callbacks.events import version_of
from notifier.callbacks.receivers import Kept, Receivers
from notifier.callbacks.requests import Sender, body_of, signed_headers
from notifier.callbacks.rows import GIVEN_UP, GONE, TOLD, Rows, Waiting
from notifier.clock import Clock
from notifier.deliveries import Delivery
from notifier.errors import JournalUnavailable, MessageNotFound
from notifier.journal import Journal
from notifier.keys import Callback
from notifier.proxies import Proxy
from notifier.supervisor import Supervisor, wait_at_most

AT_A_TIME = 8  # requests under way to one application
RECORDED = 64  # callbacks under way, also those whose answer is there and is being recorded
AHEAD = 200  # callbacks that are read from the journal at once
RESTS = Rests(first=5.0, longest=300.0)
LOOK_SECONDS = 60.0  # the longest time between two looks at the journal
JOURNAL_SECONDS = 1.0  # until the journal is asked again after it could not be read

log = structlog.get_logger()


class Receiver:
    """
    Sends the callbacks of one key, the one that is due first first, a few at a time. Those of one
    message go one after the other. An application that fails rests, each time longer, and is then
    tried with one callback. It works for this replica only while `ours` is true.
    """

    def __init__(
        self,
        key: str,
        callback: Callback,
        *,
        journal: Journal,
        rows: Rows,
        kept: Receivers,
        show: Callable[[Delivery], bytes],
        proxy: Proxy | None,
        count: Callable[[str, str], None],
        supervisor: Supervisor,
        clock: Clock,
    ) -> None:
        self.key = key
        self.callback = callback
        self.ours = False
        self._journal = journal
        self._rows = rows
        self._receivers = kept
        self._show = show
        self._count = count  # called with the key and the outcome of each try
        self._supervisor = supervisor
        self._clock = clock
        self._kept = Kept()
        self._set_back = False  # the URL has failed since callbacks were hurried
        self._sender = Sender(callback, proxy=proxy, connections=AT_A_TIME)
        self._breaker = Breaker(
            full=AT_A_TIME, rests=RESTS, clock=time.monotonic, random=random.random
        )
        self._ready: deque[Waiting] = deque()
        self._under_way: dict[str, asyncio.Task[None]] = {}  # by message
        self._asked: set[int] = set()  # tickets of requests that are not answered yet
        self._more = True  # there may be due callbacks in the journal that are not in `_ready`
        self._due: datetime | None = None  # when the first is due that is not due yet
        self._stir = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = self._supervisor.start("callbacks", self._run)

    async def close(self, *, grace: float) -> None:
        """Start no more requests, and give those under way this time to end."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        tasks = list(self._under_way.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()

    def stir(self) -> None:
        """There may be a callback to send."""
        self._more = True
        self._stir.set()

    def heed(self, kept: Kept, *, ours: bool) -> None:
        """Follow what the journal says: it may be another replica that has paused or resumed."""
        resumed = self._kept.paused_at is not None and kept.paused_at is None
        self._kept, begins, self.ours = kept, ours and not self.ours, ours
        if resumed:
            self._breaker.reset()
        if begins:  # what was put off before a restart, or by another replica, is hurried, too
            self._set_back = kept.failing_since is not None
        if resumed or begins:
            self.stir()

    @property
    def resting(self) -> float:
        """Seconds until the application is tried again; 0: it is in use."""
        return self._breaker.left

    async def _run(self) -> None:
        while True:
            self._stir.clear()
            try:
                wait = await self._turn()
            except JournalUnavailable:
                wait = JOURNAL_SECONDS
            await wait_at_most(self._stir, wait)

    async def _turn(self) -> float:
        """Start what may start now. Returns the seconds until there is more to do."""
        if not self.ours or self._kept.paused_at is not None:
            self._ready.clear()
            self._more = True
            return LOOK_SECONDS
        if not self._ready and self._room():
            await self._load()
        while self._ready and self._room():
            self._start(self._ready.popleft())
        if self._ready or self._more:  # the end of a request makes room
            return self._breaker.left or LOOK_SECONDS
        if self._due is None:
            return LOOK_SECONDS
        return min(max(0.01, self._seconds_to(self._due)), LOOK_SECONDS)

    def _room(self) -> bool:
        return (
            self._breaker.fit
            and len(self._asked) < self._breaker.capacity
            and len(self._under_way) < RECORDED
        )

    def _seconds_to(self, at: datetime) -> float:
        return (at - self._clock()).total_seconds()

    async def _load(self) -> None:
        """Read the callbacks that are due next, without those under way, which are due, too."""
        if not self._more and (self._due is None or self._seconds_to(self._due) > 0):
            return
        self._more = False
        before = set(self._under_way)  # a callback that ends while we read is read as still waiting
        limit = AHEAD + len(before)
        try:
            found = await self._rows.waiting(self.key, limit)
        except JournalUnavailable:
            self._more = True
            raise
        now = self._clock()
        taken = before.union(self._under_way)
        self._ready.extend(
            each for each in found if each.due_at <= now and each.message not in taken
        )
        self._due = next((each.due_at for each in found if each.due_at > now), None)
        if len(found) == limit and self._due is None:
            self._more = True

    def _start(self, row: Waiting) -> None:
        ticket = self._breaker.begin()
        self._asked.add(ticket)
        run = partial(self._send, row, ticket)
        task = self._supervisor.start("callback", run, over=lambda: True)
        self._under_way[row.message] = task
        task.add_done_callback(lambda _: self._ended(row, ticket))

    def _ended(self, row: Waiting, ticket: int) -> None:
        self._breaker.forget(ticket)  # where it was cancelled or has died; else it changes nothing
        self._asked.discard(ticket)
        del self._under_way[row.message]
        self._stir.set()

    async def _send(self, row: Waiting, ticket: int) -> None:
        try:
            delivery = await self._journal.get(row.message)
            if version_of(delivery) > row.version and await self._replaced(row):
                self.stir()
                return
            answer = await self._post(row, delivery)
            await self._heard(row, ticket, answer)
        except MessageNotFound:  # it has been pruned
            await self._rows.forget(row)
        except JournalUnavailable:
            await asyncio.sleep(JOURNAL_SECONDS)
            self.stir()

    async def test(self) -> Answer:
        """Send a callback that is of no message, whatever the state, and return the answer."""
        now = self._clock()
        data = msgspec.json.encode({"key": self.key})
        body = body_of("callback.test", now, 0, data)
        id = f"test_{uuid4().hex}"
        headers = signed_headers(id, now, body, self.callback.secrets)
        return await self._sender.post(body, headers)

    async def _replaced(self, row: Waiting) -> bool:
        """Whether a newer event has taken the place of this one since it was read."""
        return await self._rows.version(row.message) != row.version

    async def _post(self, row: Waiting, delivery: Delivery) -> Answer:
        shown = self._show(delivery)
        body = body_of(f"message.{row.event}", row.at, version_of(delivery), shown)
        headers = signed_headers(row.id, self._clock(), body, self.callback.secrets)
        return await self._sender.post(body, headers)

    async def _heard(self, row: Waiting, ticket: int, answer: Answer) -> None:
        now = self._clock()
        setback = setback_of(answer, now)
        self._breaker.end(ticket, setback, took=answer.accepted)
        self._asked.discard(ticket)
        self._stir.set()
        if answer.accepted:
            await self._rows.end(row, TOLD, answer, now)
            self._count(self.key, TOLD)
        elif answer.gone:
            await self._rows.end(row, GONE, answer, now)
            self._count(self.key, GONE)
            await self._pause(answer, now)
        else:
            await self._put_off(row, answer, pause_after(row.tries + 1, setback) + now, now)
        self._set_back = self._set_back or setback is not None
        # Also where the URL works and every callback is refused, as with a wrong secret.
        if not (answer.accepted or answer.gone):
            await self._fails(answer, now)
        elif answer.accepted and self._kept.failing_since is not None:
            await self._works(now)

    async def _put_off(self, row: Waiting, answer: Answer, due: datetime, now: datetime) -> None:
        reason = answer.reply if answer.code is None else f"{answer.code} {answer.reply}".strip()
        if due - row.since > GIVEN_UP_AFTER:
            await self._rows.end(row, GIVEN_UP, answer, now)
            self._count(self.key, GIVEN_UP)
            log.warning("callback_given_up", key=self.key, id=row.message, reason=reason)
            return
        await self._rows.put_off(row, due, answer, now)
        self._count(self.key, "failed")
        self._due = due if self._due is None else min(self._due, due)
        log.info("callback_failed", key=self.key, id=row.message, reason=reason)

    async def _pause(self, answer: Answer, now: datetime) -> None:
        why = f"it answered 410: {answer.reply}".rstrip(": ")
        self._kept = Kept(now, why, self._kept.failing_since, self._kept.trouble)
        await self._receivers.pause(self.key, why, now)
        log.warning("callbacks_paused", key=self.key, reason=why)

    async def _fails(self, answer: Answer, now: datetime) -> None:
        trouble = answer.reply if answer.code is None else f"{answer.code} {answer.reply}".strip()
        kept = self._kept
        if kept.failing_since is None or kept.trouble != trouble:
            since = kept.failing_since or now
            self._kept = Kept(kept.paused_at, kept.paused_why, since, trouble)
            await self._receivers.fails(self.key, trouble, now)
        if self._breaker.state is State.OPEN and kept.failing_since is None:
            log.warning("callbacks_fail", key=self.key, reason=trouble)

    async def _works(self, now: datetime) -> None:
        """The application works again: send what was put off."""
        self._kept = Kept(self._kept.paused_at, self._kept.paused_why)
        await self._receivers.works(self.key)
        # A callback that the application refused keeps its pause.
        if self._set_back and self._breaker.state is State.CLOSED:
            self._set_back = False
            await self._rows.hurry(self.key, now)
            self.stir()
        log.info("callbacks_work", key=self.key)
