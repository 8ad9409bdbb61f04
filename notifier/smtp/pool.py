"""Connections to one relay, kept open between messages."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from notifier.attempts import PACED, Envelope, Failure, Outcome, Scope, Stage
from notifier.relayspec import Pipelining
from notifier.smtp.connect import Opening
from notifier.smtp.failures import (
    IN_STEP,
    NOT_ACCEPTING,
    OURS,
    OUT_OF_STEP,
    TOO_MANY,
    WORN_OUT,
    classify,
    relay_failure,
)
from notifier.smtp.outcomes import Offers, failed
from notifier.smtp.pipelining import Behind, says_so, unanswered
from notifier.smtp.replies import CLOSING
from notifier.smtp.session import Session, Timeouts
from notifier.smtp.transaction import Transaction, ahead, deliver
from notifier.smtp.turns import Turn, Turns

STOPPED = "we were told to stop"
DROPPED = "dropped"  # by us, because of what was said on it
REMEMBER_SECONDS = 3600.0  # how many messages the relay takes on a connection


class Pool:
    """
    Open connections to one relay. The one used last is used first, so that spare connections grow
    old and are closed.

    If a connection turns out to be worn out, the message goes at once over a fresh one. A
    connection whose two ends may be out of step is never used again.
    """

    def __init__(
        self,
        open: Callable[[], Opening],
        *,
        messages_each: int,
        timeouts: Timeouts,
        turns: Turns | None = None,
        behind: Behind | None = None,
        follower: Callable[[], Turn | None] = lambda: None,
    ) -> None:
        """`follower`: who waits for a place, and may have that of a message that ends."""
        self._new = open
        self._turns = turns or Turns()
        self._behind = behind or Behind("", Pipelining.TRANSACTION)
        self._follower = follower
        self._messages_each = messages_each
        self._turned_away_after = 0  # messages on a connection, the last time
        self._takes_each = messages_each  # as the relay has shown, for some time
        self._takes_each_until = 0.0
        self._timeouts = timeouts
        self._idle: list[Session] = []  # in the order of their last use
        self._busy: set[Session] = set()
        self._openings: set[asyncio.Task[Session]] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._aborts = 0
        self._eased = 0  # times
        self._closed = False

    @property
    def busy(self) -> int:
        return len(self._busy) + len(self._openings)

    @property
    def idle(self) -> int:
        return sum(session.breach is None for session in self._idle)

    async def send(
        self, envelope: Envelope, content: bytes, begun: Transaction | None = None
    ) -> Outcome:
        """
        Offer a message, whose commands have `begun` if they have gone ahead. Recipients who are
        too many for one transaction are named in the next, as long as each transaction reaches
        somebody. RFC 5321, section 4.5.3.1.10.
        """
        aborts = self._aborts
        outcome = await self._transact(envelope, content, begun)
        if not outcome.failures or not outcome.because(TOO_MANY):
            return outcome
        offers, asked = Offers(envelope), envelope
        while True:
            offers.add(outcome)
            left = offers.left(_one_too_many)
            if left is None or not outcome.accepted or aborts != self._aborts:
                return offers.as_one()
            # No more than it has taken now: the relay counts each one too many as an error.
            took = len(asked.recipients) - sum(map(_one_too_many, outcome.failures.values()))
            asked = replace(left, recipients=left.recipients[:took])
            outcome = await self._transact(asked, content)

    async def _transact(
        self, envelope: Envelope, content: bytes, begun: Transaction | None = None
    ) -> Outcome:
        """
        Offer it over a connection that is free, or a fresh one. Where a connection and not the
        message was refused it is offered again at once, twice at most.
        """
        aborts = self._aborts
        turned_away = None
        used = await self._used() if begun is None else begun.session
        if used is not None:
            outcome = await self._offer(used, envelope, content, begun, aborts=aborts)
            if outcome.stage is Stage.DOT or not _served_its_time(used, outcome):
                return outcome
            used.fail(DROPPED, "the relay takes no more on it")
            turned_away = used if _turned_away(outcome) else None
        outcome = await self._offer_afresh(envelope, content, aborts=aborts)
        if _come_again(outcome) and aborts == self._aborts:
            outcome = await self._offer_afresh(envelope, content, aborts=aborts)
        if turned_away is not None and outcome.accepted:
            self._remember(turned_away)
        return outcome

    async def _offer_afresh(self, envelope: Envelope, content: bytes, *, aborts: int) -> Outcome:
        eased = self._eased
        session = await self._open(envelope.recipients)
        if isinstance(session, Outcome):
            return session
        if eased != self._eased and aborts == self._aborts:
            self._keep(session)
            failure = relay_failure(Stage.MAIL, PACED, "the relay takes fewer messages just now")
            return failed(failure, envelope.recipients)
        return await self._offer(session, envelope, content, aborts=aborts)

    async def _offer(
        self,
        session: Session,
        envelope: Envelope,
        content: bytes,
        begun: Transaction | None = None,
        *,
        aborts: int,
    ) -> Outcome:
        if aborts != self._aborts:  # the pool was closed while the connection was opened
            session.fail(OURS, STOPPED)
        self._busy.add(session)
        try:
            if begun is not None:
                outcome = await begun.run(content, self._go_on)
            else:
                outcome = await deliver(session, envelope, content, self._follow)
        except BaseException:
            session.fail(OURS, STOPPED)
            if session.follower is not None:
                self._pass_on(session)
            raise
        finally:
            self._busy.discard(session)
        # Whatever commands out of turn have brought about says nothing of this message.
        spoilt = begun is not None and self._went_wrong(begun, outcome)
        if session.follower is not None:
            spoilt = spoilt or self._refused_for_what_follows(session, outcome)
        if spoilt:
            session.fail(DROPPED, "the two ends may be out of step")
        self._give_back(session, outcome)
        if spoilt and aborts == self._aborts:
            return await self._offer_afresh(envelope, content, aborts=aborts)
        return outcome

    def _go_on(self, session: Session) -> bytes:
        """As `_follow`, of a message whose own commands went ahead and are answered."""
        self._behind.worked(session)
        return self._follow(session)

    def _follow(self, session: Session) -> bytes:
        """The commands of the message that is to have this session next."""
        behind = self._behind
        if not session.features.pipelining or not behind.allowed:
            return b""
        if self._closed or session.carried + 1 >= self._takes_each:
            return b""
        if (turn := self._follower()) is None:
            return b""
        transaction = ahead(session, turn.envelope, turn.size)
        if transaction is None:
            return b""
        self._turns.go_ahead(transaction)
        behind.begin(session)
        session.follower = turn, transaction
        return transaction.go_ahead(turn.size)

    def _went_wrong(self, begun: Transaction, outcome: Outcome) -> bool:
        """Whether commands that had gone ahead were not answered as they should."""
        if outcome.because(OURS) or _turned_away(outcome):
            self._behind.forget(begun.session)
            return False
        why, certain = unanswered(begun.session.breach, outcome)
        if why:
            self._behind.failed(begun.session, why, certain=certain)
        else:
            self._behind.worked(begun.session)
        return bool(why)

    def _refused_for_what_follows(self, session: Session, outcome: Outcome) -> bool:
        """Whether the message was refused because of the commands behind it."""
        if session.follower is None or outcome.stage is not Stage.DOT or outcome.uncertain:
            return False
        if outcome.accepted or not says_so(outcome.code, outcome.reply):
            return False
        self._behind.failed(session, outcome.reply, certain=True)
        return True

    def _pass_on(self, session: Session) -> None:
        """Give the session to the message that has gone ahead; it waits again if that is broken."""
        assert session.follower is not None  # noqa: S101 - asked only where there is one
        (turn, transaction), session.follower = session.follower, None
        breach = session.breach
        ours = breach is not None and breach.name in (OURS, DROPPED)
        if breach is not None and (ours or not transaction.heard):
            if ours:
                self._behind.forget(session)
            else:
                self._behind.failed(session, breach.reason, certain=False)
            self._turns.go_back(turn, transaction)
        elif self._turns.go_on(turn, transaction):
            self._busy.add(session)
        else:
            self._behind.forget(session)
            session.fail(DROPPED, "nobody is left for the commands that went ahead")

    def _give_back(self, session: Session, outcome: Outcome) -> None:
        session.carried += 1
        session.taken += bool(outcome.accepted)
        if (outcome.failures or outcome.uncertain) and not _in_step(outcome):
            session.fail(DROPPED, "the relay failed")
        if session.follower is not None:
            self._pass_on(session)
        elif session.breach is not None:
            return
        elif self._closed or (session.carried >= self._takes_each and self._worn_out(session)):
            session.part()
        else:
            self._keep(session)

    def _keep(self, session: Session) -> None:
        """For the next message."""
        loop = asyncio.get_running_loop()
        session.idle_since = loop.time()
        self._idle.append(session)
        if self._reaper is None:
            self._reaper = loop.call_later(self._timeouts.idle, self._reap)

    def _worn_out(self, session: Session) -> bool:
        """Whether the connection has carried as many messages as a connection may."""
        if asyncio.get_running_loop().time() >= self._takes_each_until:
            self._takes_each = self._messages_each
        return session.carried >= self._takes_each

    def _remember(self, session: Session) -> None:
        """
        Learn the relay's limit of messages on a connection. The relay has refused here what it took
        on a fresh connection. If that happens after the same number of messages twice in a row,
        that number is the limit.
        """
        carried = session.carried - 1
        if carried == self._turned_away_after:
            self._takes_each = min(carried, self._messages_each)
            self._takes_each_until = asyncio.get_running_loop().time() + REMEMBER_SECONDS
        self._turned_away_after = carried

    async def _used(self) -> Session | None:
        """A connection that was used before and still works."""
        while self._idle:
            session = self._idle.pop()
            if session.breach is None and (not session.unclean or await self._reset(session)):
                return session
        return None

    def ease(self, most: int) -> None:
        """
        The relay wants less: close what is kept open beyond so many connections, and offer
        nothing over those that are being opened.
        """
        self._eased += 1
        while self._idle and self.busy + len(self._idle) > most:
            self._idle.pop(0).part()

    async def _reset(self, session: Session) -> bool:
        """Make the relay forget an envelope that may be open there."""
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
        """Close connections that have not been used for long."""
        loop = asyncio.get_running_loop()
        self._reaper = None
        old = loop.time() - self._timeouts.idle
        while self._idle and self._idle[0].idle_since <= old:
            self._idle.pop(0).part()
        if self._idle:
            self._reaper = loop.call_at(self._idle[0].idle_since + self._timeouts.idle, self._reap)

    def abort_all(self) -> None:
        """Abort what is under way: each send returns at once with what is known of it."""
        self._aborts += 1
        for session in [*self._busy]:
            session.fail(OURS, STOPPED)
        for opening in self._openings:
            opening.cancel()

    async def close(self) -> None:
        """Close all connections, the idle ones with QUIT."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        self.abort_all()
        idle, self._idle = self._idle, []
        if parting := [session.part() for session in idle]:
            await asyncio.wait(parting)


def _in_step(outcome: Outcome) -> bool:
    """Whether the relay has answered, and both ends know that no message is under way."""
    return not outcome.uncertain and all(
        failure.code not in (CLOSING, OUT_OF_STEP)
        and (failure.scope is not Scope.RELAY or failure.name in IN_STEP)
        for failure in outcome.failures.values()
    )


def _served_its_time(session: Session, outcome: Outcome) -> bool:
    """Whether the connection, and not the message, is the reason. No dot was sent."""
    if any(failure.name in WORN_OUT for failure in outcome.failures.values()):
        return True
    if outcome.throttled:  # by 421 it may mean this connection alone
        return session.taken > 0 and outcome.code == CLOSING
    return _come_again(outcome) or (session.taken > 0 and _turned_away(outcome))


def _turned_away(outcome: Outcome) -> bool:
    """Whether MAIL was deferred by a limit of messages, on a connection that has carried some."""
    return outcome.stage is Stage.MAIL and outcome.code is not None and 400 <= outcome.code < 500


def _come_again(outcome: Outcome) -> bool:
    """Whether the relay wants a new connection, as Postfix's postscreen after its tests."""
    said = outcome.stage is not Stage.DOT and outcome.code == 450
    return said and outcome.because(NOT_ACCEPTING)


def _one_too_many(failure: Failure) -> bool:
    return failure.name == TOO_MANY


def _discard(opening: asyncio.Task[Session]) -> None:
    """Close a connection that is not needed any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().fail(OURS, STOPPED)


def _unopened(failure: Failure, recipients: Sequence[str], lines: list[str]) -> Outcome:
    said = f"S: {failure.reply}" if failure.code is not None else f"   {failure.reply}"
    return failed(failure, recipients, (*lines, said))
