"""Connections to one relay, kept open between messages."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from notifier.attempts import PACED, Attempt, Envelope, Failure, Stage
from notifier.relayspec import Pipelining
from notifier.smtp.connect import Opening
from notifier.smtp.failures import (
    OURS,
    TOO_MANY,
    classify,
    relay_failure,
)
from notifier.smtp.outcomes import (
    Offers,
    come_again,
    failed,
    in_step,
    one_too_many,
    served_its_time,
    turned_away,
)
from notifier.smtp.pipelining import Behind, says_so, unanswered
from notifier.smtp.session import Session, Timeouts
from notifier.smtp.transaction import Transaction, begun
from notifier.smtp.turns import Turn, Turns

STOPPED = "the service is stopping"
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
        self,
        envelope: Envelope,
        content: bytes,
        ahead: Transaction | None = None,
        *,
        all_of_them: bool = True,
    ) -> Attempt:
        """
        Offer a message over the connection where its commands have gone `ahead`, over a free one,
        or a fresh one. `all_of_them`: name those who are too many for one transaction in further
        ones.
        """
        aborts = self._aborts
        used = ahead.session if ahead is not None else self._idle.pop() if self._idle else None
        if used is not None and ahead is None and (used.unclean or used.breach is not None):
            used = await self._reset(used)
        if used is None:
            outcome = await self._offer_afresh(envelope, content, aborts=aborts)
        else:
            outcome = await self._offer(used, envelope, content, ahead, aborts=aborts)
        if outcome.failures:
            if outcome.stage is not Stage.DOT:
                outcome = await self._offer_again(outcome, used, envelope, content, aborts=aborts)
            if all_of_them and outcome.because(TOO_MANY):
                outcome = await self._name_others(outcome, envelope, content, aborts=aborts)
        return outcome

    async def _offer_again(
        self,
        outcome: Attempt,
        used: Session | None,
        envelope: Envelope,
        content: bytes,
        *,
        aborts: int,
    ) -> Attempt:
        """Offer it at once again if a connection was refused and not the message, twice at most."""
        limited = False
        if used is not None:
            if not served_its_time(outcome, taken=used.taken):
                return outcome
            used.fail(DROPPED, "the relay accepts no more messages on this connection")
            limited = turned_away(outcome)
            outcome = await self._offer_afresh(envelope, content, aborts=aborts)
        if come_again(outcome) and aborts == self._aborts:
            outcome = await self._offer_afresh(envelope, content, aborts=aborts)
        if used is not None and limited and outcome.accepted:
            self._remember(used)
        return outcome

    async def _name_others(
        self, outcome: Attempt, envelope: Envelope, content: bytes, *, aborts: int
    ) -> Attempt:
        """
        Name recipients who were too many for one transaction in the next, as long as each reaches
        somebody. RFC 5321, section 4.5.3.1.10.
        """
        offers, asked = Offers(envelope), envelope
        while True:
            offers.add(outcome)
            left = offers.left(one_too_many)
            if left is None or not outcome.accepted or aborts != self._aborts:
                return offers.as_one()
            # No more than it has taken now: the relay counts each one too many as an error.
            took = len(asked.recipients) - sum(map(one_too_many, outcome.failures.values()))
            asked = replace(left, recipients=left.recipients[:took])
            outcome = await self.send(asked, content, all_of_them=False)

    async def _offer_afresh(self, envelope: Envelope, content: bytes, *, aborts: int) -> Attempt:
        eased = self._eased
        session = await self._open(envelope.recipients)
        if isinstance(session, Attempt):
            return session
        if eased != self._eased and aborts == self._aborts:
            self._give_back(session)
            failure = relay_failure(Stage.MAIL, PACED, "the relay accepts fewer messages for now")
            return failed(failure, envelope.recipients)
        return await self._offer(session, envelope, content, aborts=aborts)

    async def _offer(
        self,
        session: Session,
        envelope: Envelope,
        content: bytes,
        ahead: Transaction | None = None,
        *,
        aborts: int,
    ) -> Attempt:
        if aborts != self._aborts:  # the pool was closed while the connection was opened
            session.fail(OURS, STOPPED)
        self._busy.add(session)
        try:
            if ahead is not None:
                outcome = await ahead.run(content, self._go_on)
            else:
                transaction = begun(session, envelope, len(content))
                if isinstance(transaction, Attempt):
                    outcome = transaction
                else:
                    outcome = await transaction.run(content, self._follow)
        except BaseException:
            session.fail(OURS, STOPPED)
            if session.follower is not None:
                self._pass_on(session)
            raise
        finally:
            self._busy.discard(session)
        # Whatever commands out of turn have brought about says nothing of this message.
        spoilt = ahead is not None and self._went_wrong(ahead, outcome)
        if session.follower is not None and outcome.failures:
            spoilt = spoilt or self._refused_for_what_follows(session, outcome)
        if spoilt:
            session.fail(DROPPED, "the replies may no longer match the commands")
        session.carried += 1
        session.taken += bool(outcome.accepted)
        if (outcome.failures or outcome.uncertain) and not in_step(outcome):
            session.fail(DROPPED, "the relay failed")
        self._give_back(session)
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
        if not self._turns.waiting or not session.features.pipelining or not behind.allowed:
            return b""
        if self._closed or session.carried + 1 >= self._takes_each:
            return b""
        if (turn := self._follower()) is None:
            return b""
        transaction = begun(session, turn.envelope, turn.size)
        if isinstance(transaction, Attempt) or not transaction.can_go_ahead:
            return b""
        self._turns.go_ahead(transaction)
        behind.begin(session)
        session.follower = turn, transaction
        return transaction.go_ahead()

    def _went_wrong(self, ahead: Transaction, outcome: Attempt) -> bool:
        """Whether commands that had gone ahead were not answered as they should."""
        if outcome.stage is Stage.DOT:
            self._behind.worked(ahead.session)
            return False
        if outcome.because(OURS) or turned_away(outcome):
            self._behind.forget(ahead.session)
            return False
        why, certain = unanswered(ahead.session.breach, outcome)
        if why:
            self._behind.failed(ahead.session, why, certain=certain)
        else:
            self._behind.worked(ahead.session)
        return bool(why)

    def _refused_for_what_follows(self, session: Session, outcome: Attempt) -> bool:
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
            session.fail(DROPPED, "no message follows for the commands that were sent ahead")

    def _give_back(self, session: Session) -> None:
        """Keep a session for the next message, unless one has it already or it is worn out."""
        if session.follower is not None:
            self._pass_on(session)
        elif session.breach is None:
            if self._closed or (session.carried >= self._takes_each and self._worn_out(session)):
                session.part()
                return
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

    def ease(self, most: int) -> None:
        """
        The relay wants less: close what is kept open beyond so many connections, and offer
        nothing over those that are being opened.
        """
        self._eased += 1
        while self._idle and self.busy + len(self._idle) > most:
            self._idle.pop(0).part()

    async def _reset(self, session: Session | None) -> Session | None:
        """
        Make the relay forget an envelope that may be open on the session; where that fails, the
        next idle session that works. None: there is none.
        """
        while session is not None:
            if session.breach is None and session.unclean:
                self._busy.add(session)
                try:
                    replies = await session.ask(b"RSET\r\n", 1, self._timeouts.rset)
                except BaseException:
                    session.fail(OURS, STOPPED)
                    raise
                finally:
                    self._busy.discard(session)
                session.unclean = not (replies and replies[0].positive)
                if session.unclean:
                    session.fail("rset_refused", "the relay does not answer RSET")
            if session.breach is None:
                return session
            session = self._idle.pop() if self._idle else None
        return None

    async def _open(self, recipients: Sequence[str]) -> Session | Attempt:
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


def _discard(opening: asyncio.Task[Session]) -> None:
    """Close a connection that is not needed any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().fail(OURS, STOPPED)


def _unopened(failure: Failure, recipients: Sequence[str], lines: list[str]) -> Attempt:
    said = f"S: {failure.reply}" if failure.code is not None else f"   {failure.reply}"
    return failed(failure, recipients, (*lines, said))
