"""The service: all parts put together, without the web."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import structlog

from notifier.acts import Acts
from notifier.alerts import Alerts
from notifier.audit import Audit
from notifier.callbacks import Callbacks
from notifier.capture import Mailbox
from notifier.clock import Clock, utc_now
from notifier.deliveries import Delivery, Status
from notifier.dispatch.chained import Chained
from notifier.dispatch.dispatcher import Dispatcher
from notifier.dispatch.sending import Attempted
from notifier.dispatch.transports import Transports
from notifier.erasure.erasing import Erasure
from notifier.errors import ConfigurationError
from notifier.feed import Feed
from notifier.housekeeping.figures import Figures
from notifier.housekeeping.health import Health
from notifier.housekeeping.history import History
from notifier.housekeeping.pruning import Pruning
from notifier.housekeeping.replicas import Replicas
from notifier.housekeeping.set_back import SetBack
from notifier.intake.submission import IdempotencyKey, Intake, Render, Submission
from notifier.journal import Backlog, Change
from notifier.journal.shared_secret import RETURN_PATHS, shared_secret
from notifier.keys import Key
from notifier.metrics import Commits, LoopLag, Tally
from notifier.pauses import Pauses
from notifier.preflight import Preflight
from notifier.reports import Reports
from notifier.reports.sources import ReportSources
from notifier.retries import RetryPolicy
from notifier.sessions import Sessions
from notifier.settings import Settings, variable
from notifier.supervisor import Supervisor
from notifier.suppressions import Suppressions
from notifier.threads import FairThreads

if TYPE_CHECKING:  # an extra, and the HTTP client, which loads slowly
    from notifier.sms.provider import ProviderState
    from notifier.tracing.spans import Spans

__all__ = ["Health", "IdempotencyKey", "Notifier", "Render", "Submission"]

KEYS = "keys"  # the value that says that there have been API keys

log = structlog.get_logger()


class Notifier(contextlib.AbstractAsyncContextManager["Notifier"]):
    """
    Takes messages, keeps them, delivers them. Open it before use.

    `intake` takes messages, and everybody may read `journal`. Deliveries are changed only through
    this class.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        supervisor: Supervisor | None = None,
        show: Callable[[Delivery], bytes] | None = None,
    ) -> None:
        """
        `show` makes the JSON of a message for callbacks; without it there are none. Raises
        ConfigurationError with every fault of what the settings point at.
        """
        self.settings = settings
        self.supervisor = supervisor or Supervisor()
        self.feed = Feed()
        self.tally = Tally()
        self.commits = Commits()
        self.lag = LoopLag(self.supervisor)
        self.threads = FairThreads("work")  # for what a request brings and is heavy
        self.feed.listen(self.tally.count)
        preflight = Preflight.read(settings, self.supervisor)
        self.journal, self.keys = preflight.journal, preflight.keys
        self.templates, self.carriers = preflight.templates, preflight.carriers
        self.transports = Transports(
            settings,
            provider=preflight.provider,
            grants=preflight.grants,
            supervisor=self.supervisor,
            secret=partial(shared_secret, self.journal, RETURN_PATHS),
        )
        self.chains = self.transports.chains
        self.figures = Figures(
            self.journal, commits=self.commits, supervisor=self.supervisor, clock=clock
        )
        self.history = History(
            self.journal,
            tally=self.tally,
            waiting=lambda: self.figures.waiting,
            supervisor=self.supervisor,
            clock=clock,
        )
        self.audit = Audit(
            self.journal,
            keys=self.keys,
            senders=self.tally.senders,
            retention=settings.audit_retention,
            supervisor=self.supervisor,
            clock=clock,
        )
        self.suppressions = Suppressions(
            self.journal,
            self.audit,
            automatic=settings.suppress == "bounces",
            supervisor=self.supervisor,
            clock=clock,
        )
        self.intake = Intake(
            settings,
            preflight,
            figures=self.figures,
            accepted=self.feed.publish,
            clock=clock,
            threads=self.threads,
            suppressions=self.suppressions,
        )
        self.reports = Reports(self.journal, self.feed, self.threads, clock=clock)
        if settings.suppress == "bounces":
            self.feed.listen(self.suppressions.notice)
            self.reports.listen(lambda delivery, *_: self.suppressions.notice(delivery))
        self.report_sources = ReportSources(
            preflight.report_sources, self.reports, self.journal, self.supervisor
        )
        # The parts' calls that others may use are offered by the service.
        self.message, self.content = self.journal.get, self.journal.content
        self.messages, self.count = self.journal.find, self.journal.count
        self.journal.committed = self.commits.count
        self.submit, self.preview = self.intake.submit, self.intake.preview
        self.follow, self.subscribe = self.feed.follow, self.feed.subscribe
        self.minutes, self.sent_today = self.history.last, self.history.sent_today
        self.charge = self.intake.charge
        self.acts = Acts(self.journal, self.feed, self.audit, settings, clock=clock)
        self.cancel, self.retry = self.acts.cancel, self.acts.retry
        self.send_now, self.settle = self.acts.send_now, self.acts.settle
        self.change_all, self.settle_all = self.acts.change_all, self.acts.settle_all
        self.draining = self.keys_remembered = False
        self.pauses = Pauses(self.journal, self.audit, self._switch)
        self.pause, self.resume = self.pauses.pause, self.pauses.resume
        self.callbacks = Callbacks(
            settings,
            self.journal,
            self.audit,
            self.keys,
            self.feed,
            show=show,
            supervisor=self.supervisor,
            clock=clock,
        )
        self.erasure = Erasure(
            settings,
            self.journal,
            self.audit,
            mailbox=lambda: self.mailbox,
            brake=self.intake.brake,
            changed=self.feed.publish,
            hidden=self.suppressions.hide,
            threads=self.threads,
            supervisor=self.supervisor,
            clock=clock,
        )
        self.sessions = Sessions(self.journal, self.keys, clock=clock)
        self._clock = clock
        # Called with each attempt, once it is on disk.
        self._attempted: list[Attempted] = [self.tally.count_attempt]
        self._draining: asyncio.Task[None] | None = None
        self._parts = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        settings = self.settings
        async with contextlib.AsyncExitStack() as parts:
            parts.push_async_callback(self.supervisor.close)
            parts.callback(self.threads.close)
            await self.journal.open()
            parts.push_async_callback(self.journal.close)
            await self._require_keys()
            await self.sessions.load()
            await parts.enter_async_context(self.callbacks)
            await parts.enter_async_context(self.lag)
            await parts.enter_async_context(self.transports)
            self.dispatcher = Dispatcher(
                journal=self.journal,
                transports=self.transports.by_queue,
                retry=RetryPolicy(schedule=settings.retry_schedule),
                feed=self.feed,
                workers=settings.workers,
                window=settings.queue_size,
                supervisor=self.supervisor,
                clock=self._clock,
                expiry=self._expiry,
                attempted=self._attempted,
                chained=Chained(self.chains, self.transports.of),
                screen=self.suppressions,
            )
            await parts.enter_async_context(self.suppressions)
            await self._recover()
            await self.pauses.heed()
            pruning = Pruning(
                self.journal,
                settings,
                supervisor=self.supervisor,
                clock=self._clock,
                ended=self.feed.publish,
            )
            set_back = SetBack(self.journal, supervisor=self.supervisor, clock=self._clock)
            await parts.enter_async_context(self.figures)
            await parts.enter_async_context(pruning)
            await parts.enter_async_context(self.audit)
            await parts.enter_async_context(set_back)
            await parts.enter_async_context(self.history)
            self.reports.listen(self.history.count_report)
            if self.journal.shared:
                replicas = Replicas(
                    self.journal,
                    self.feed,
                    self.supervisor,
                    take_over=self._recover,
                    heed_values=self._heed_values,
                )
                await parts.enter_async_context(replicas)
            await parts.enter_async_context(
                Alerts(
                    settings,
                    self.transports.relays,
                    self.journal,
                    health=self.health,
                    supervisor=self.supervisor,
                    clock=self._clock,
                )
            )
            await parts.enter_async_context(self.report_sources)
            await parts.enter_async_context(self.erasure)
            self.dispatcher.start()
            parts.push_async_callback(self._stop)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._parts.aclose()

    @property
    def mailbox(self) -> Mailbox:
        """The built-in mailbox, once the service is open."""
        return self.transports.mailbox

    async def _require_keys(self) -> None:
        """Raises ConfigurationError if there were keys before and there are none now."""
        if self.keys.configured:
            await self.remember_keys()
        elif KEYS in await self.journal.values():
            try:
                self.keys.require()
            except ConfigurationError as error:
                raise ConfigurationError(f"{variable('api_keys')}: {error}") from None

    async def remember_keys(self) -> None:
        """Note in the journal that there are keys, so that it never opens without keys again."""
        if KEYS not in await self.journal.values():
            await self.journal.put(KEYS, "there are keys")
        self.keys_remembered = True

    async def _recover(self) -> None:
        step = partial(Delivery.recovered, now=self._clock())
        for delivery in await self.journal.recover(step):
            log.warning(
                "recovered_uncertain",
                id=delivery.id,
                status=delivery.status,
                uncertain=delivery.uncertain,
            )
            self.feed.publish(delivery)

    def trace_with(self, spans: "Spans") -> None:
        """Make spans of everything from now on."""
        self._attempted.append(spans.attempted)
        self.feed.listen(spans.ended)

    def _expiry(self, now: datetime) -> Change:
        trouble, relays_of = self.transports.trouble, self.chains.relays_of
        return lambda each: each.expired(now, trouble(each.route, relays_of(each)))

    async def _stop(self) -> None:
        self.drain()
        if self._draining is not None:
            await self._draining

    def drain(self) -> None:
        """Accept and send nothing more, and end the streams of those who follow the feed."""
        if not self.draining:
            self.draining = self.intake.draining = True
            self.feed.close()
            stop = partial(self.dispatcher.stop, grace=self.settings.grace)
            self._draining = self.supervisor.start("drain", stop, over=lambda: True)

    async def failed(self) -> BaseException:
        """Wait until the journal, or a task in FATAL, fails. Returns why."""
        waits = [asyncio.ensure_future(it.failed()) for it in (self.journal, self.supervisor)]
        try:
            lost, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return lost.pop().result()
        finally:
            for wait in waits:
                wait.cancel()

    def rate_left(self, key: Key) -> dict[str, str]:
        """What is left of the key's rate, as header fields."""
        return self.intake.rate_left(key).headers()

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many messages there are by status, at most two seconds ago."""
        return self.figures.backlog.counts

    @property
    def workers(self) -> Sequence[Delivery | None]:
        """What each worker sends now. None: the worker waits."""
        return self.dispatcher.doing

    def providers(self) -> "Sequence[ProviderState]":
        """The state of the SMS provider, if there is one. Those of the relays are in `health`."""
        provider = self.transports.provider
        return provider.states() if provider else ()

    async def outcome(
        self, id: str, *, timeout: float, seen: Callable[[Delivery], bool] | None = None
    ) -> Delivery:
        """
        The delivery once it is final or held, or once `seen` is false for it, or after `timeout`
        seconds. Raises MessageNotFound.
        """
        waiting = seen or _under_way
        with self.feed.subscribe(id) as changes, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                delivery: Delivery | None = await self.journal.get(id)
                while delivery is not None and waiting(delivery):
                    delivery = await changes.next()
        return await self.journal.get(id)

    def _switch(self, name: str | None, paused: bool) -> None:
        """Pause or resume a relay, or the queue (None)."""
        if name is None:
            (self.dispatcher.pause if paused else self.dispatcher.resume)()
        else:
            relays = self.transports.named(name)
            (relays.pause if paused else relays.resume)(name)

    async def _heed_values(self) -> None:
        """Apply the values that another replica has put or forgotten."""
        await self.pauses.heed()
        await self.sessions.load()
        await self.suppressions.heed_replicas()
        self.erasure.heed()

    def health(self) -> Health:
        states = (
            "draining" if self.draining else "",
            self.figures.trouble,
            self.dispatcher.trouble,
            *self.supervisor.troubles,
        )
        reasons = tuple(each for each in states if each)
        backlog: Backlog = self.figures.backlog
        return Health(
            ready=not reasons,
            reasons=reasons,
            relays=tuple(self.transports.relays.states()),
            counts=backlog.counts,
            oldest_due_at=backlog.oldest_due_at,
            paused=self.dispatcher.paused,
            warnings=tuple(filter(None, (self.keys.trouble, self.report_sources.trouble))),
            held_since=backlog.held_since,
            waiting=self.figures.waiting,
            rate=self.figures.rate,
            troubles=(
                *self.intake.brake.troubles(self._clock()),
                *self.suppressions.troubles,
                *self.history.troubles(),
            ),
            trouble=self.figures.trouble,
            callbacks=self.callbacks.states,
        )


def _under_way(delivery: Delivery) -> bool:
    return not delivery.status.final and delivery.status is not Status.HELD
