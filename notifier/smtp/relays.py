"""Several relays as one: the first that is fit, and the next where that one fails."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from notifier.attempts import Attempt, Envelope, Scope
from notifier.errors import Rejected
from notifier.smtp.failures import OURS
from notifier.smtp.relay import Relay, RelayState
from notifier.smtp.transaction import LINES_KEPT


class Relays:
    """
    A message goes to one relay after the other, in their configured order, until one of them
    has answered for it. It never goes on from a relay that may have taken it, nor from one
    that has refused it for good. One that works and is
    busy is waited for: those behind it are for when it fails.
    """

    def __init__(self, relays: Sequence[Relay]) -> None:
        self._relays = tuple(relays)
        self._changed = asyncio.Event()
        for relay in self._relays:
            relay.changed = self._changed.set

    def room(self) -> int:
        """
        How many further sends may start now: with the first relay that works, and with those
        before it that are being tried again. 0: all places are taken, or all rest, are paused,
        or have had their share of messages for now.
        """
        return sum(relay.room() for relay in self._next())

    async def wait_for_room(self) -> None:
        while self.room() <= 0:
            self._changed.clear()
            waits = [wait for relay in self._next() if (wait := relay.wait()) is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(waits, default=None)):
                    await self._changed.wait()

    def _next(self) -> Iterator[Relay]:
        """Up to the first that works: those behind it are for when it fails."""
        for relay in self._relays:
            yield relay
            if relay.working:
                break

    def next_probe_at(self) -> datetime | None:
        """When the first resting relay is tried again. None: one is in use, or none rests."""
        states = self.states()
        if any(relay.fit for relay in self._relays):
            return None
        return min((state.opens_at for state in states if state.opens_at), default=None)

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        """
        Offer a message. The attempt is the deciding relay's; its conversation begins with the
        relays that were passed over, and why.
        """
        relay = self._first()
        attempt = await relay.send(envelope, content)
        if not attempt.relay_failed:
            return attempt
        passed: list[Attempt] = [attempt]
        for other in self._relays:
            if other is relay or not other.fit or not _may_go_on(attempt):
                continue
            attempt = await other.send(_left(envelope, attempt), content)
            passed.append(attempt)
            if not attempt.relay_failed:
                break
        return _as_one(passed)

    def _first(self) -> Relay:
        """In order: one that works, or that is to be tried again; else whichever."""
        relays = self._relays
        return next((each for each in relays if each.working or each.room() > 0), relays[0])

    def states(self) -> list[RelayState]:
        return [relay.state() for relay in self._relays]

    def pause(self, name: str) -> None:
        """Raises Rejected where no relay has that name."""
        self._named(name).pause()

    def resume(self, name: str) -> None:
        """Raises Rejected where no relay has that name."""
        self._named(name).resume()

    def _named(self, name: str) -> Relay:
        for relay in self._relays:
            if relay.name == name:
                return relay
        raise Rejected(f"no relay has the name {name!r}")

    def abort_all(self) -> None:
        """
        Break every connection in use, so that each send under way returns its attempt at once:
        `uncertain` where the dot was out, otherwise as the relay's failure.
        """
        for relay in self._relays:
            relay.abort_all()

    async def close(self) -> None:
        """Take leave of the relays. What is still under way is broken."""
        await asyncio.gather(*(relay.close() for relay in self._relays))


def _may_go_on(attempt: Attempt) -> bool:
    """Whether another relay may be asked: not when we were told to stop."""
    return not any(failure.name == OURS for failure in attempt.failures.values())


def _left(envelope: Envelope, attempt: Attempt) -> Envelope:
    """Those whom the relay has not answered for: what it refused is asked nowhere else."""
    failures = attempt.failures
    left = tuple(
        each
        for each in envelope.recipients
        if each in failures and failures[each].scope is Scope.RELAY
    )
    return envelope if len(left) == len(envelope.recipients) else replace(envelope, recipients=left)


def _as_one(attempts: Sequence[Attempt]) -> Attempt:
    """The last attempt, which knows of those before it."""
    *passed, last = attempts
    if not passed:
        return last
    failures = dict(last.failures)
    lines: list[str] = []
    for attempt in passed:
        lines.append(f"   {attempt.relay} passed over ({attempt.stage}): {attempt.reply}")
        failures |= {
            address: failure
            for address, failure in attempt.failures.items()
            if failure.scope is not Scope.RELAY
        }
    return replace(
        last,
        started_at=passed[0].started_at,
        seconds=sum(attempt.seconds for attempt in attempts),
        failures=failures,
        conversation=(*lines, *last.conversation[: LINES_KEPT - len(lines)]),
    )
