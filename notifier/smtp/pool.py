"""Connections to one relay, kept open between messages."""

import asyncio
from collections.abc import Callable, Sequence

from notifier.attempts import Envelope, Failure, Stage
from notifier.smtp.connect import Opening
from notifier.smtp.failures import OURS, WORN_OUT, classify, relay_failure
from notifier.smtp.session import Session
from notifier.smtp.timeouts import Timeouts
from notifier.smtp.transaction import Outcome, abridged, deliver

STOPPED = "we were told to stop"


class Pool:
    """
    The connection used last is used first, so that those too many grow old and are closed.
    One that has died of old age costs a message nothing: it goes again at once over a fresh
    one. One on which anything went wrong is never used again.
    """

    def __init__(
        self, open: Callable[[], Opening], *, messages_each: int, timeouts: Timeouts
    ) -> None:
        self._new = open
        self._messages_each = messages_each
        self._timeouts = timeouts
        self._idle: list[Session] = []  # in the order of their last use
        self._busy: set[Session] = set()
        self._openings: set[asyncio.Task[Session]] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._aborts = 0
        self._closed = False

    @property
    def busy(self) -> int:
        return len(self._busy) + len(self._openings)

    @property
    def idle(self) -> int:
        return sum(session.breach is None for session in self._idle)

    async def send(self, envelope: Envelope, content: bytes) -> Outcome:
        """Offer a message over a connection that is free, or a fresh one."""
        aborts = self._aborts
        session = await self._used()
        if session is not None:
            outcome = await self._offer(session, envelope, content)
            if not _worn_out(outcome):
                return outcome
        fresh = await self._open(envelope.recipients)
        if isinstance(fresh, Outcome):
            return fresh
        if aborts != self._aborts:  # it was open just before we were told to stop
            fresh.fail(OURS, STOPPED)
        return await self._offer(fresh, envelope, content)

    async def _offer(self, session: Session, envelope: Envelope, content: bytes) -> Outcome:
        self._busy.add(session)
        try:
            outcome = await deliver(session, envelope, content)
        except BaseException:
            session.fail(OURS, STOPPED)
            raise
        finally:
            self._busy.discard(session)
        self._give_back(session, outcome)
        return outcome

    def _give_back(self, session: Session, outcome: Outcome) -> None:
        session.carried += 1
        if not outcome.good:
            session.fail("dropped", "the relay failed")
        elif self._closed or session.carried >= self._messages_each:
            session.part()
        elif session.breach is None:
            loop = asyncio.get_running_loop()
            session.idle_since = loop.time()
            self._idle.append(session)
            if self._reaper is None:
                self._reaper = loop.call_later(self._timeouts.idle, self._reap)

    async def _used(self) -> Session | None:
        """A connection that was used before, and is still good."""
        while self._idle:
            session = self._idle.pop()
            if session.breach is None and await self._clean(session):
                return session
        return None

    async def _clean(self, session: Session) -> bool:
        """Make sure that no envelope is open over there."""
        if not session.unclean:
            return True
        self._busy.add(session)
        try:
            replies = await session.ask(b"RSET\r\n", 1, self._timeouts.rset)
        finally:
            self._busy.discard(session)
        session.unclean = not (replies and replies[0].positive)
        if session.unclean:
            session.fail("rset_refused", "the relay does not answer RSET")
        return not session.unclean

    async def _open(self, recipients: Sequence[str]) -> Session | Outcome:
        opening = self._new()
        # A task, so that it can be broken off alone. We wait for it, and hear if it fails.
        task = asyncio.create_task(opening.run(), name="smtp-connect")
        self._openings.add(task)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            task.add_done_callback(_discard)
            raise
        finally:
            self._openings.discard(task)
        if task.cancelled():
            failure = relay_failure(opening.stage, OURS, STOPPED)
        elif (error := task.exception()) is not None:
            failure = classify(error, opening.stage)
        else:
            return task.result()
        return _unopened(failure, recipients, opening.lines)

    def _reap(self) -> None:
        """Close what has not been used for long."""
        loop = asyncio.get_running_loop()
        self._reaper = None
        old = loop.time() - self._timeouts.idle
        while self._idle and self._idle[0].idle_since <= old:
            self._idle.pop(0).part()
        if self._idle:
            self._reaper = loop.call_at(self._idle[0].idle_since + self._timeouts.idle, self._reap)

    def abort_all(self) -> None:
        """Break what is under way: each send ends at once, and says what is known of it."""
        self._aborts += 1
        for session in [*self._busy]:
            session.fail(OURS, STOPPED)
        for opening in self._openings:
            opening.cancel()

    async def close(self) -> None:
        """Take leave of the relay."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        self.abort_all()
        idle, self._idle = self._idle, []
        if parting := [session.part() for session in idle]:
            await asyncio.wait(parting)


def _worn_out(outcome: Outcome) -> bool:
    """Whether a connection broke with the message's dot not sent."""
    return outcome.stage is not Stage.DOT and any(
        failure.name in WORN_OUT for failure in outcome.failures.values()
    )


def _discard(opening: asyncio.Task[Session]) -> None:
    """Nobody is there any more to use what was opened."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().fail(OURS, STOPPED)


def _unopened(failure: Failure, recipients: Sequence[str], lines: list[str]) -> Outcome:
    said = f"S: {failure.reply}" if failure.code is not None else f"   {failure.reply}"
    return Outcome(
        failure.stage,
        failure.reply,
        failure.code,
        failures=dict.fromkeys(recipients, failure),
        conversation=abridged((*lines, said)),
    )
