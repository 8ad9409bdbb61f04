"""A dispatcher over a real journal, with a transport of a few lines."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

from notifier.attempts import Attempt, Stage
from notifier.deliveries import Route, Status
from notifier.dispatch.dispatcher import Dispatcher
from notifier.feed import Feed
from notifier.journal import Entry
from notifier.retries import RetryPolicy
from tests.deliveries import under_way


class Transport:
    """Takes everything, unless told how to answer; counts, and can be held up."""

    def __init__(self, *, places=16):
        self.places = places
        self.sent = []
        self.busy = 0
        self.most = 0
        self.answer = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.aborted = asyncio.Event()
        self.freed = asyncio.Event()
        self.waited_for = asyncio.Event()  # somebody waits for room

    paced = False

    def room(self):
        return self.places - self.busy

    async def wait_for_room(self):
        while self.room() <= 0:
            self.waited_for.set()
            self.freed.clear()
            await self.freed.wait()

    def open(self, places):
        self.places = places
        self.freed.set()

    def abort_all(self):
        self.aborted.set()

    async def send(self, envelope, content):
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            waits = [asyncio.ensure_future(each.wait()) for each in (self.gate, self.aborted)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            self.sent.append((envelope.recipients, content))
            if self.aborted.is_set():
                return attempt(uncertain=True)
            return self.answer(envelope) if self.answer else attempt(*envelope.recipients)
        finally:
            self.busy -= 1
            self.freed.set()


def attempt(*accepted, uncertain=False, failures=None):
    return Attempt(
        relay="here",
        started_at=datetime.now(UTC),
        seconds=0.0,
        stage=Stage.DOT,
        code=250,
        reply="250 ok",
        accepted=accepted,
        uncertain=uncertain,
        failures=failures or {},
    )


def entry(number, **changes):
    now = datetime.now(UTC)
    given = {"status": Status.QUEUED, "created_at": now, "due_at": now}
    given["expires_at"] = now + timedelta(hours=1)
    given["id"] = f"d{number}"
    return Entry(under_way(**(given | changes)), b"Subject: x\r\n\r\nhello\r\n")


@contextlib.asynccontextmanager
async def dispatching(journal, transport, *, workers=4, window=8, grace=1.0, **options):
    feed = options.pop("feed", Feed())
    dispatcher = Dispatcher(
        journal=journal,
        transports={Route.RELAY: transport} | options.pop("more", {}),
        retry=options.pop("retry", RetryPolicy(schedule=(0.05,))),
        feed=feed,
        workers=workers,
        window=window,
        **options,
    )
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(grace=grace)
