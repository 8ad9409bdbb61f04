"""Several relays as one: the first that works, and the next if it fails."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from notifier.attempts import PACED, Attempt, Envelope, Failure, Scope
from notifier.errors import Rejected
from notifier.smtp.failures import OURS
from notifier.smtp.outcomes import Offers, abridged
from notifier.smtp.relay import Relay
from notifier.smtp.states import RelayState


class Relays:
    """
    Offers a message to one relay after the other, in the configured order, for the recipients that
    no relay has accepted or refused yet.

    It stops after a relay that may have accepted the message, or that has refused it for good. If
    the first relay works but is busy, the message waits: the other relays are for its failures.
    """

    def __init__(self, relays: Sequence[Relay]) -> None:
        self._relays = tuple(relays)
        # As `room` has found last: a rate says how many may start, so what may not start now should
        # not be claimed.
        self.paced = False
        self._changed = asyncio.Event()
        for relay in self._relays:
            relay.listen(self._changed.set)

    def some(self, names: Sequence[str]) -> "Relays":
        """Those of these names, in their order."""
        return Relays([self._named(name) for name in names])

    def room(self) -> int:
        """
        How many further sends may start now: with the first relay that works, and with those
        before it that are being tried again. 0: all places are taken, or all rest, are paused,
        or have had their share of messages for now.
        """
        room, self.paced = 0, False
        for relay in self._relays:
            room += relay.room()
            self.paced |= relay.paced
            if relay.working:  # the others are for when it fails
                break
        return room

    async def wait_for_room(self) -> None:
        while self.room() <= 0:
            self._changed.clear()
            waits = [wait for relay in self._next() if (wait := relay.wait()) is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(waits, default=None)):
                    await self._changed.wait()

    def _next(self) -> Iterator[Relay]:
        """The relays up to the first that works; the others are for when it fails."""
        for relay in self._relays:
            yield relay
            if relay.working:
                break

    def next_probe_at(self) -> datetime | None:
        """When the first resting relay is tried again. None: a relay is in use, or none rests."""
        states = self.states()
        if any(relay.fit for relay in self._relays):
            return None
        return min((state.opens_at for state in states if state.opens_at), default=None)

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        """
        Offer a message. The attempt is the deciding relay's; its conversation says which other
        relays were asked, and why.
        """
        started_at, begun = datetime.now(UTC), time.monotonic()
        relay = self._relays[0]
        if not relay.working:
            relay = self._first()
        attempt, name = await relay.send(envelope, content), relay.name
        if attempt.failures and not attempt.because(PACED):
            attempt, name = await self._go_on(relay, attempt, envelope, content)
        seconds = time.monotonic() - begun
        return replace(attempt, relay=name, started_at=started_at, seconds=seconds)

    async def _go_on(
        self, relay: Relay, outcome: Attempt, envelope: Envelope, content: bytes
    ) -> tuple[Attempt, str]:
        """
        Ask the other relays for the recipients that are left. Returns the outcome, and which relay
        decided it.
        """
        asked, offers = [(relay.name, outcome)], Offers(envelope)
        offers.add(outcome, by=relay.name)
        for other in self._relays:
            if other is relay or not other.ready:
                continue
            left = offers.left(_another_may_be_asked)
            if left is None or outcome.because(OURS):  # the service is stopping
                break
            outcome = await other.send(left, content)
            asked.append((other.name, outcome))
            offers.add(outcome, by=other.name)
        whole = offers.as_one()
        if len(asked) == len(self._relays) and (lost := _taken_by_none(asked)):
            whole = replace(whole, failures=whole.failures | lost)
            if not whole.accepted:
                whole = replace(whole, reply=next(iter(lost.values())).reply)
        if len(asked) > 1:
            whole = replace(whole, conversation=_conversation(asked))
        return whole, offers.decided_by

    def _first(self) -> Relay:
        """The first relay that works or is due for a test; else the first."""
        relays = self._relays
        return next((each for each in relays if each.working or each.room() > 0), relays[0])

    def states(self) -> list[RelayState]:
        return [relay.state() for relay in self._relays]

    def pause(self, name: str) -> None:
        """Raises Rejected if no relay has this name."""
        self._named(name).pause()

    def resume(self, name: str) -> None:
        """Raises Rejected if no relay has this name."""
        self._named(name).resume()

    def _named(self, name: str) -> Relay:
        for relay in self._relays:
            if relay.name == name:
                return relay
        raise Rejected(f"no relay has the name {name!r}")

    def abort_all(self) -> None:
        """
        Abort every connection in use, so that each send under way returns its attempt at once:
        `uncertain` if the dot was sent, otherwise as the relay's failure.
        """
        for relay in self._relays:
            relay.abort_all()

    async def close(self) -> None:
        """Close the connections to all relays. Sends under way are aborted."""
        await asyncio.gather(*(relay.close() for relay in self._relays))


def _another_may_be_asked(failure: Failure) -> bool:
    """Whether to ask another relay: only if this relay itself failed."""
    return failure.scope is Scope.RELAY


def _taken_by_none(asked: Sequence[tuple[str, Attempt]]) -> dict[str, Failure]:
    """The recipients for which no relay can ever take the message, and why."""
    lost: dict[str, Failure] = {}
    for address, failure in asked[-1][1].failures.items():
        said = [(name, outcome.failures.get(address)) for name, outcome in asked]
        unfit = [(name, each) for name, each in said if each is not None and _never(each)]
        if len(unfit) == len(asked):
            reason = "; ".join(f"{name}: {each.reply}" for name, each in unfit)
            reply = reason if len(asked) > 1 else failure.reply
            lost[address] = replace(failure, scope=Scope.MESSAGE, reply=reply)
    return lost


def _never(failure: Failure) -> bool:
    return failure.scope is Scope.RELAY and failure.permanent


def _conversation(asked: Sequence[tuple[str, Attempt]]) -> tuple[str, ...]:
    """The last relay's conversation, after a line for each relay that was passed over."""
    lines: list[str] = []
    for name, outcome in asked[:-1]:
        if outcome.accepted:
            lines += outcome.conversation
            lines.append(f"   {name} took it, but not for all; the others:")
        else:
            lines.append(f"   {name} passed over ({outcome.stage}): {outcome.reply}")
    return abridged((*lines, *asked[-1][1].conversation))
