"""All callbacks of the service: follows the keys' file, the journal and the other replicas."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import structlog
from msgspec import Struct

from notifier.audit import Audit
from notifier.callbacks.answers import GIVEN_UP_AFTER, Answer
from notifier.callbacks.receivers import CallbackState, Kept, Receivers
from notifier.callbacks.rows import GIVEN_UP, Figure, LastAnswer, Rows, writer_of
from notifier.clock import Clock
from notifier.deliveries import Delivery, Status
from notifier.errors import JournalUnavailable
from notifier.feed import Feed
from notifier.journal import Journal
from notifier.keys import Callback, Keys
from notifier.settings import Settings
from notifier.supervisor import Supervisor, wait_at_most

if TYPE_CHECKING:  # the HTTP client loads slowly, and few need it
    from notifier.callbacks.receiver import Receiver

LOOK_SECONDS = 2.0
COUNT_SHARE = 20  # to count what waits takes at most this part of the time
RENEW_SECONDS = 5.0  # a third of a lease
PRUNE_SECONDS = 60.0
CLOSE_SECONDS = 3.0  # for the requests under way at the end; they would only be repeated
LAST_ANSWERS = 5  # that are shown of each key

log = structlog.get_logger()


class CallbackView(Struct, frozen=True):
    """A callback for a person: how it is configured, its state, and its last answers."""

    callback: Callback
    state: CallbackState
    last: Sequence[LastAnswer]


class Callbacks(contextlib.AbstractAsyncContextManager["Callbacks"]):
    """
    Tells applications what became of their messages. Nothing runs, and no message costs more, until
    a key has a callback. `show` makes the JSON of a message as GET shows it; None: there are no
    callbacks.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        audit: Audit,
        keys: Keys,
        feed: Feed,
        *,
        show: Callable[[Delivery], bytes] | None,
        supervisor: Supervisor,
        clock: Clock,
    ) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()  # of tries, by key and outcome
        self.states: tuple[CallbackState, ...] = ()  # seconds old; its counts may be older
        self._journal = journal
        self._audit = audit
        self._keys = keys
        self._feed = feed
        self._show = show
        self._proxy = settings.proxy
        self._alone = settings.journal.startswith("sqlite:")  # no other replica is on it
        self._retention = timedelta(seconds=settings.retention)
        self._supervisor = supervisor
        self._clock = clock
        self._rows = Rows(journal)
        self._kept = Receivers(journal, us="" if self._alone else uuid4().hex)
        self._receivers: dict[str, Receiver] = {}
        self._ours: set[str] = set()  # keys whose lease we have
        self._figures: dict[str, Figure] = {}
        self._renew_at = self._prune_at = self._count_at = 0.0  # by the loop's clock
        self._stir = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._show is not None:
            self._keys.listen(self._follow)
            self._follow()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._looking is None:
            return
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        closing = (each.close(grace=CLOSE_SECONDS) for each in self._receivers.values())
        await asyncio.gather(*closing)
        with contextlib.suppress(JournalUnavailable):
            await self._kept.release()

    @property
    def keys(self) -> Sequence[str]:
        """The names of the keys that have a callback."""
        return tuple(self._keys.callbacks) if self._show is not None else ()

    def heed(self, delivery: Delivery) -> None:
        """A message has changed here. Called for each, so it is quick."""
        receiver = self._receivers.get(delivery.key)
        if receiver is not None and (
            delivery.finished_at is not None or delivery.status is Status.HELD
        ):
            receiver.stir()

    async def views(self) -> list[CallbackView]:
        """Every callback as it is now. Raises JournalUnavailable."""
        if not self.keys:
            return []
        self._count_at = 0.0
        await self._refresh()
        return [
            CallbackView(
                self._keys.callbacks[state.key],
                state,
                await self._rows.last(state.key, LAST_ANSWERS),
            )
            for state in self.states
        ]

    async def test(self, key: str) -> Answer:
        """Send a callback of the type `callback.test`, and return what came back."""
        if key not in self._receivers:
            await self._look()
        return await self._receivers[key].test()

    async def replay(self, key: str, since: datetime, *, by: str = "") -> int:
        """Report again what happened since then. Returns how many. Raises JournalUnavailable."""
        what, detail = "replay-callbacks", f"since={since.isoformat()}"
        record = self._audit.counting(by, what, on=key, detail=detail)
        count = await self._rows.replay(key, since, self._clock(), record)
        if not count:
            await self._audit.note(by, what, on=key, count=0, detail=detail)
        self._stir.set()
        return count

    async def resume(self, key: str, *, by: str = "") -> None:
        """Send all that wait, even if the application rested. Raises JournalUnavailable."""
        await self._kept.resume(key, self._audit.statement(by, "resume-callback", on=key))
        await self._rows.start_again(key, self._clock())
        await self._refresh()
        self._stir.set()

    def _follow(self) -> None:
        """The keys may have callbacks now. Those that change later are followed by `_look`."""
        if self._looking is None and self._keys.callbacks:
            self._journal.accompany(writer_of(lambda: self._keys.callbacks, self._clock))
            self._feed.listen(self.heed)
            self._looking = self._supervisor.start("callback-urls", self._run)
        self._stir.set()

    async def _run(self) -> None:
        while True:
            self._stir.clear()
            with contextlib.suppress(JournalUnavailable):
                await self._look()
            await wait_at_most(self._stir, LOOK_SECONDS)

    async def _look(self) -> None:
        self._keys.reload_if_changed()
        await self._follow_keys()
        await self._renew()
        await self._refresh()
        now = self._clock()
        for key, receiver in self._receivers.items():
            if key in self._figures and self._figures[key].due_at <= now:
                receiver.stir()
        await self._tidy(now)

    async def _follow_keys(self) -> None:
        wanted, show = self._keys.callbacks, self._show
        for key, receiver in list(self._receivers.items()):
            if wanted.get(key) != receiver.callback:
                del self._receivers[key]
                await receiver.close(grace=CLOSE_SECONDS)
        missing = [key for key in wanted if key not in self._receivers]
        if not missing or show is None:
            return
        make = await asyncio.to_thread(_receiver_class)
        for key in missing:
            receiver = self._receivers[key] = make(
                key,
                wanted[key],
                journal=self._journal,
                rows=self._rows,
                kept=self._kept,
                show=show,
                proxy=self._proxy,
                count=self._count,
                supervisor=self._supervisor,
                clock=self._clock,
            )
            receiver.start()
        self._renew_at = 0.0

    async def _renew(self) -> None:
        """Take over URLs to which no replica sends. With one replica, once is enough."""
        now = asyncio.get_running_loop().time()
        if now < self._renew_at:
            return
        self._ours = await self._kept.take(self._receivers, self._clock())
        self._renew_at = float("inf") if self._alone else now + RENEW_SECONDS

    async def _refresh(self) -> None:
        """Read the states from the journal, and the figures if it is time."""
        kept, begun = await self._kept.all(), asyncio.get_running_loop().time()
        if begun >= self._count_at:
            self._figures = await self._rows.figures()
            now = asyncio.get_running_loop().time()
            self._count_at = now + COUNT_SHARE * (now - begun)
        for key, receiver in self._receivers.items():
            receiver.heed(kept.get(key, Kept()), ours=key in self._ours)
        self.states = tuple(
            _state(key, kept.get(key, Kept()), self._figures.get(key)) for key in self.keys
        )

    async def _tidy(self, now: datetime) -> None:
        """Every minute, give up callbacks that wait for too long, and delete old ones."""
        if asyncio.get_running_loop().time() < self._prune_at:
            return
        self._prune_at = asyncio.get_running_loop().time() + PRUNE_SECONDS
        for state in self.states:
            since, receiver = state.failing_since, self._receivers.get(state.key)
            if since is None or receiver is None or not receiver.resting or state.paused_at:
                continue
            if state.key in self._ours and now - since > GIVEN_UP_AFTER:
                count = await self._rows.give_up(state.key, now - GIVEN_UP_AFTER, now)
                self.outcomes[state.key, GIVEN_UP] += count
                log.warning("callbacks_given_up", key=state.key, count=count)
        for key in await self._kept.all():
            await self._rows.prune(key, now - self._retention)

    def _count(self, key: str, outcome: str) -> None:
        self.outcomes[key, outcome] += 1


def _receiver_class() -> "type[Receiver]":
    """It loads the HTTP client, which takes time."""
    from notifier.callbacks.receiver import Receiver

    return Receiver


def _state(key: str, kept: Kept, figure: Figure | None) -> CallbackState:
    return CallbackState(
        key=key,
        waiting=figure.waiting if figure else 0,
        oldest=figure.oldest if figure else None,
        paused_at=kept.paused_at,
        paused_why=kept.paused_why,
        failing_since=kept.failing_since,
        trouble=kept.trouble,
    )
