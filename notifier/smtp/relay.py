"""One relay: its connections, its breaker, its rate."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from notifier.attempts import PACED, THROTTLED, Attempt, Envelope, Scope
from notifier.breaker import Breaker, Rests, State
from notifier.relayspec import Pipelining, RelaySpec
from notifier.smtp.carrier import Carrier
from notifier.smtp.connect import Opening, tls_context
from notifier.smtp.failures import ABOUT_TOKEN, OURS, UNFIT, asks_for_less, setback, slows
from notifier.smtp.outcomes import not_begun
from notifier.smtp.pacing import FIRST_HOLD, LONGEST_HOLD, Pace, Rate
from notifier.smtp.pipelining import Behind
from notifier.smtp.pool import STOPPED, Pool
from notifier.smtp.resolver import Resolver
from notifier.smtp.return_path import send_from
from notifier.smtp.session import USUAL_TIMEOUTS, Timeouts
from notifier.smtp.states import RelayState, Trouble
from notifier.smtp.turns import Turn, Turns
from notifier.tokens import Tokens
from notifier.verp import Verp

log = structlog.get_logger()

USUAL_RESTS = Rests()
WORTH_WAITING = 1.0  # seconds for its pace; a message that would wait for longer is given back


class Relay:
    """
    Offers messages to a relay while it is fit, within its limits of connections and rate. Failures
    are in the outcome, never raised.
    """

    def __init__(
        self,
        spec: RelaySpec,
        *,
        timeouts: Timeouts = USUAL_TIMEOUTS,
        rests: Rests = USUAL_RESTS,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        resolver: Resolver | None = None,
        tokens: Tokens | None = None,
        carrier: Carrier | None = None,
        verp: Verp | None = None,
    ) -> None:
        """
        `tokens`: of a spec with `oauth`. `carrier`: what speaks to a relay that does not speak
        SMTP. `verp`: makes the tokens of return paths with a star. Raises ConfigurationError where
        the spec's certificates cannot be read.
        """
        self.spec = spec
        self.name = spec.name
        self.sent = self.failed = self.throttled = 0
        self.trouble: Trouble | None = None
        self.paused = False
        self.working = True  # it is in use, and has not failed of late; see `_stir`
        self.paced = False  # as `room` has found last: a rate, and not its places, says how many
        self._listeners: list[Callable[[], None]] = []
        self._timeouts = timeouts
        self._resolver = resolver or Resolver()
        self._context = None if carrier else tls_context(spec)
        self._tokens = tokens
        if tokens is not None:
            tokens.listen(self._token_came)
        # What speaks no SMTP has no return path.
        self._verp = None if carrier else verp
        self._breaker = Breaker(full=spec.connections, rests=rests, clock=clock, random=random)
        self._clock = clock
        self._rate = Rate(spec.rate, clock)
        self._pace = Pace(
            clock,  # a relay that throttles is not left alone for longer than one that fails
            first_hold=min(FIRST_HOLD, rests.first),
            longest_hold=min(LONGEST_HOLD, rests.longest),
        )
        self._turns = Turns()
        self._behind = Behind(spec.name, spec.pipelining)
        pool = Pool(
            self._opening,
            messages_each=spec.messages_per_connection,
            timeouts=timeouts,
            turns=self._turns,
            behind=self._behind,
            follower=self._follower,
        )
        self._pool: Carrier = carrier or pool
        self._go_on = pool.send
        self._looking: asyncio.TimerHandle | None = None  # after those that have gone ahead

    def _opening(self) -> Opening:
        return Opening(
            self.spec,
            resolver=self._resolver,
            context=self._context,
            timeouts=self._timeouts,
            tokens=self._tokens,
        )

    @property
    def fit(self) -> bool:
        """Whether a message may be offered to it."""
        return not self.paused and self._breaker.fit

    @property
    def ready(self) -> bool:
        """Whether it is worth offering it what another relay has failed with."""
        return self.fit and self._pace.wait() <= WORTH_WAITING

    def room(self) -> int:
        """How many further sends may start now; or 1 where one may wait behind another's dot."""
        breaker, turns, pace = self._breaker, self._turns, self._pace
        rated = self.spec.rate is not None or not pace.free
        self.paced = rated and (pace.limits or self._rate.available < breaker.capacity)
        if self.paused or (breaker.state is not State.CLOSED and not breaker.fit):
            return 0
        free: float = breaker.capacity - turns.busy if breaker.state is State.CLOSED else 1
        if free == 0 and not turns.waiting and not turns.ahead:
            free = int(self._behind.mode is Pipelining.FULL)
        if rated:
            free = min(free, self._rate.available, pace.available)
        return max(0, int(free))

    def wait(self) -> float | None:
        """Seconds until there is room without any other event. None: an event is needed."""
        breaker = self._breaker
        if self.paused or breaker.state is State.PROBING:
            return None
        if (wait := max(breaker.left, self._rate.wait(), self._pace.wait())) > 0:
            return wait
        # Room may have opened since the caller looked: do not wait for it then.
        return 0.0 if self.room() > 0 else None

    async def send(self, envelope: Envelope, content: bytes, *, as_it_is: bool = False) -> Attempt:
        """Offer a message once it has a place. `as_it_is`: it has its return path and id field."""
        spec = self.spec
        if not as_it_is and (spec.return_path or envelope.return_path or spec.id_header):
            return await self._send_marked(envelope, content)
        breaker, turns, turn, owed = self._breaker, self._turns, None, 0.0
        if (
            breaker.state is not State.CLOSED
            or turns.busy >= breaker.capacity
            or self.paused
            or spec.rate is not None
            or not self._pace.free
        ):
            turn = Turn(envelope, len(content))
            if (refused := await self._place(turn)) is not None:
                return refused
        if turn is not None and turn.ahead is not None:
            ahead, ticket = turn.ahead, turn.ticket
        else:
            turns.busy += 1
            if turn is not None and not turn.paid:
                owed = self._rate.take()
            ahead, ticket = None, breaker.begin()
            if not self._pace.free:
                self._pace.begin()
        outcome = None
        try:
            if owed and not await turns.after(owed):
                return not_begun(envelope, OURS, STOPPED)
            if ahead is None:
                outcome = await self._pool.send(envelope, content)
            else:
                outcome = await self._go_on(envelope, content, ahead)
        finally:
            turns.busy -= 1
            self._learn(ticket, outcome)
            self._stir()
        return outcome

    def _send_marked(self, envelope: Envelope, content: bytes) -> Coroutine[None, None, Attempt]:
        """Offer it from its return path, and with the field with its id, where it has them."""
        spec, send = self.spec, partial(self.send, as_it_is=True)
        if spec.id_header is not None:
            content = f"{spec.id_header}: {envelope.id}\r\n".encode() + content
        path = spec.return_path or envelope.return_path
        if not path or self._verp is None:
            return send(envelope, content)
        return send_from(path, self._verp, envelope, content, send)

    async def _place(self, turn: Turn) -> Attempt | None:
        """Wait until it may begin, or goes on with what went ahead; else the reason why not."""
        breaker, turns = self._breaker, self._turns
        while True:
            while breaker.state is State.CLOSED and turns.busy >= breaker.capacity:
                if not await turns.next(turn):
                    return not_begun(turn.envelope, OURS, STOPPED)
                if turn.ahead is not None:
                    return None
            if not self.fit:
                return not_begun(turn.envelope, *self._why_unfit())
            if (owed := self._pace.wait()) <= 0:
                return None
            if owed > WORTH_WAITING:
                return not_begun(turn.envelope, PACED, self._why_paced())
            if not await turns.after(owed):  # the relay may be another one by then
                return not_begun(turn.envelope, OURS, STOPPED)

    def _follower(self) -> Turn | None:
        """Who waits for a place, and may have that of a message that ends."""
        turn, breaker = self._turns.waiting[0], self._breaker
        if (
            self.paused
            or breaker.state is not State.CLOSED
            or self._turns.busy > breaker.capacity
            or (not self._pace.free and self._pace.limits)
        ):
            return None
        if self.spec.rate is not None and not turn.paid:
            if self._rate.available < 1:
                return None
            self._rate.take()
            turn.paid = True
        turn.ticket = breaker.begin()
        return turn

    def _why_unfit(self) -> tuple[str, str]:
        if self.paused:
            return "paused", "the relay is paused"
        why = self.trouble.text if self.trouble is not None else "it is being tested"
        return "resting", f"the relay rests: {why}"

    def _why_paced(self) -> str:
        why = self.trouble.text if self.trouble is not None else "no words"
        return f"the relay accepts fewer messages for now: {why}"

    def _keep_pace(self, ticket: int, outcome: Attempt) -> None:
        """Count an outcome with failures for the pace."""
        if outcome.uncertain:
            return
        refusals = [each for each in outcome.failures.values() if slows(each)]
        if not refusals:
            if outcome.accepted or outcome.code is not None:
                self._pace.answered(ticket)
            return
        self.throttled += 1
        if refusals[0].wait:  # it says for how long it is to be left alone: no pace is guessed
            return
        of_rate = any(each.name == THROTTLED for each in refusals)
        if self._pace.refused(ticket, begun=self._breaker.begun, of_rate=of_rate):
            self._pool.ease(self._breaker.capacity)
            log.info(
                "relay_throttles",
                relay=self.name,
                reason=refusals[0].reply,
                seconds=round(self._pace.wait(), 1),
            )

    def _learn(self, ticket: int, outcome: Attempt | None) -> None:
        """Count an outcome, for the breaker and the pace. None: the send was given up."""
        breaker = self._breaker
        before = breaker.state
        if outcome is None:
            breaker.forget(ticket)
        elif not outcome.failures:
            self.sent += (took := bool(outcome.accepted))
            breaker.end(ticket, None, took=took)
            self._pace.answered(ticket)
        elif outcome.unoffered:
            breaker.forget(ticket)
        else:
            self._learn_failures(ticket, outcome)
        if before is State.PROBING and breaker.state is State.CLOSED:
            log.info("relay_works", relay=self.name)
        if outcome is not None and outcome.failures:
            self._keep_pace(ticket, outcome)

    def _learn_failures(self, ticket: int, outcome: Attempt) -> None:
        failures, breaker = outcome.failures.values(), self._breaker
        took = bool(outcome.accepted)
        self.sent += took
        self.failed += not took
        failure = next((each for each in failures if each.scope is Scope.RELAY), None)
        if failure is not None and failure.name != OURS and failure.name not in UNFIT:
            self.trouble = Trouble(failure.name, failure.reply, datetime.now(UTC))
        less = any(asks_for_less(each) for each in failures)
        before = breaker.state
        # A relay that took it for one recipient works.
        if failure is None or took or outcome.uncertain:
            breaker.end(ticket, None, took=took, asks_for_less=less)
        elif failure.name == OURS:
            breaker.forget(ticket)
        else:
            breaker.end(ticket, setback(failure, takes=breaker.takes), asks_for_less=less)
        if breaker.state is State.OPEN and before is not State.OPEN and self.trouble is not None:
            log.warning(
                "relay_rests",
                relay=self.name,
                fault=self.trouble.name,
                reason=self.trouble.text,
                seconds=round(breaker.left, 1),
            )

    def _token_came(self) -> None:
        """The reason for the rest is over: try the relay at once."""
        if self.trouble is not None and self.trouble.name in ABOUT_TOKEN:
            self._breaker.hurry()
            self._stir()

    def listen(self, listener: Callable[[], None]) -> None:
        """Set what is called whenever there may be room. It must be quick."""
        self._listeners.append(listener)

    def _stir(self) -> None:
        """Something has changed: see whether it works, and let the waiting sends look again."""
        breaker, turns, pace = self._breaker, self._turns, self._pace
        closed = breaker.state is State.CLOSED
        self.working = closed and not self.paused and (pace.free or not pace.refuses)
        if not closed:
            turns.wake_all()
        elif turns.waiting or turns.ahead:
            places = breaker.capacity - turns.busy
            if places > 0 and (places := turns.wake(places)) > 0:
                self._bring_back(places)
        for listener in self._listeners:
            listener()

    def _bring_back(self, places: int) -> None:
        """Wake a send that waits behind a dot, if a place is free that no other waits for."""
        loop = asyncio.get_running_loop()
        until = self._turns.bring_back(now := loop.time())
        if until is not None and until <= now:
            self._turns.wake(places)
        elif until is not None and self._looking is None:
            self._looking = loop.call_at(until, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self._stir()

    def pause(self) -> None:
        """Begin no further send. Sends under way go on."""
        self.paused = True
        self._stir()

    def resume(self) -> None:
        """Use the relay again, at once even if it rests: a person may know better."""
        self.paused = False
        self._breaker.hurry()
        self._behind.reset()
        self._stir()

    def state(self) -> RelayState:
        breaker, spec = self._breaker, self.spec
        opens_at = None
        if breaker.state is State.OPEN:
            opens_at = datetime.now(UTC) + timedelta(seconds=breaker.left)
        return RelayState(
            name=self.name,
            host=spec.host,
            port=spec.port,
            tls=spec.tls,
            state=State.PAUSED if self.paused else breaker.state,
            busy=self._pool.busy,
            idle=self._pool.idle,
            limit=breaker.capacity,
            trouble=self.trouble,
            opens_at=opens_at,
            sent=self.sent,
            failed=self.failed,
            pipelining=self._behind.mode,
            pipelining_trouble=self._behind.trouble,
            graph=spec.graph is not None,
            conditions=spec.conditions,
            pace=self._pace.rate,
            held_until=self._at(self._pace.held_until),
            throttled=self.throttled,
            slower=self._pace.limits,
            token=None if self._tokens is None else self._tokens.state(),
        )

    def _at(self, when: float) -> datetime | None:
        """A time of our clock by the wall clock; None: it is past."""
        left = when - self._clock()
        return datetime.now(UTC) + timedelta(seconds=left) if left > 0 else None

    def abort_all(self) -> None:
        """Break what is under way: each send returns at once, with what is known of it."""
        self._turns.stop()
        self._pool.abort_all()

    async def close(self) -> None:
        self._turns.stop()
        if self._looking is not None:
            self._looking.cancel()
        await self._pool.close()
