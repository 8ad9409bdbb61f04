"""What a person does to messages: cancel, retry, send now, settle; one, or all that match."""

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from notifier.audit import Audit
from notifier.clock import Clock
from notifier.deliveries import Delivery, Status
from notifier.errors import BeingSent, MessageNotFound, Rejected, Unavailable
from notifier.feed import Feed
from notifier.journal import Change, Filter, Journal
from notifier.retries import retry
from notifier.settings import Settings
from notifier.settling import Settlement, settle

log = structlog.get_logger()


class Acts:
    """Changes deliveries in the journal, each with an event that says who did it."""

    def __init__(
        self, journal: Journal, feed: Feed, audit: Audit, settings: Settings, *, clock: Clock
    ) -> None:
        self._journal = journal
        self._feed = feed
        self._audit = audit
        self._kept = timedelta(seconds=settings.body_retention)
        self._clock = clock

    async def cancel(self, id: str, *, by: str = "") -> Delivery:
        """Cancel a waiting message. Raises MessageNotFound, WrongState."""
        return await self._amend(id, "cancel", self._step("cancel", by), by)

    async def retry(self, id: str, *, by: str = "") -> Delivery:
        """
        Send a message again to the recipients that were not accepted. Raises MessageNotFound,
        WrongState.
        """
        return await self._amend(id, "retry", self._step("retry", by), by)

    async def send_now(self, id: str, *, by: str = "") -> Delivery:
        """Make a waiting message due at once. Raises MessageNotFound, WrongState."""
        return await self._amend(id, "send-now", self._step("send-now", by), by)

    async def settle(self, id: str, settlement: Settlement, *, by: str = "") -> Delivery:
        """
        Give a message the final state that a person knows, see `settling`. Raises MessageNotFound,
        WrongState.
        """
        step = self._settling(settlement, by)
        return await self._amend(id, "settle", step, by, said=settlement.said)

    async def change_all(self, verb: str, which: Filter, *, by: str = "") -> int:
        """
        `cancel`, `retry` or `send-now` all messages that match and allow it. Returns how many have
        changed.
        """
        return await self._amend_all(verb, which, self._step(verb, by), by)

    async def settle_all(self, which: Filter, settlement: Settlement, *, by: str = "") -> int:
        """Settle all messages that match and allow it. Returns how many have changed."""
        step = self._settling(settlement, by)
        return await self._amend_all("settle", which, step, by, said=settlement.said)

    async def note_copy(self, id: str, copy: Delivery, *, by: str = "") -> None:
        """
        Note in the timeline of a message that a copy of it was sent. If that is not possible,
        because a worker sends the message, only the copy shows it.
        """
        to = ", ".join(each.address for each in copy.recipients)
        note = partial(_copied, now=self._clock(), detail=f"to {to} as {copy.id}", by=by)
        with contextlib.suppress(Rejected, Unavailable):
            self._feed.forward(await self._journal.amend(id, note))
        with contextlib.suppress(Unavailable):
            await self._audit.note(by, "copy", on=id, detail=f"to {to} as {copy.id}")

    def _step(self, verb: str, by: str) -> Change:
        steps: dict[str, Callable[..., Delivery]] = {
            "cancel": Delivery.cancelled,
            "retry": partial(retry, kept=self._kept),
            "send-now": Delivery.hurried,
        }
        return partial(steps[verb], now=self._clock(), by=by)

    def _settling(self, settlement: Settlement, by: str) -> Change:
        return partial(settle, now=self._clock(), settlement=settlement, by=by)

    async def _amend_all(
        self, verb: str, which: Filter, step: Change, by: str, *, said: str = ""
    ) -> int:
        detail = " ".join(filter(None, (filter_text(which), said)))
        record = self._audit.many(by, verb, detail=detail)
        changed = await self._journal.amend_all(which, step, also=record)
        if not changed:
            await self._audit.note(by, verb, count=0, detail=detail)
        # Only messages that a client waits for, because there may be a million.
        for id in self._feed.followed:
            with contextlib.suppress(MessageNotFound):
                # It may not have changed and may have been counted before, so it is only forwarded.
                self._feed.forward(await self._journal.get(id))
        log.info("changed_all", verb=verb, count=changed, by=by)
        return changed

    async def _amend(
        self, id: str, verb: str, step: Change, by: str, *, said: str = ""
    ) -> Delivery:
        record = self._audit.one(by, verb, on=id, detail=said)
        delivery = await self._journal.amend(id, step, also=record)
        log.info("changed", id=id, status=delivery.status, by=by)
        self._publish(delivery)
        return delivery

    def _publish(self, delivery: Delivery) -> None:
        """Listeners count what has finished: a message that had finished before is forwarded."""
        event = delivery.events[-1] if delivery.events else None
        before = delivery.finished_at is not None and event and event.at > delivery.finished_at
        (self._feed.forward if before else self._feed.publish)(delivery)


def _copied(delivery: Delivery, *, now: datetime, detail: str, by: str) -> Delivery:
    if delivery.status is Status.SENDING:  # its outcome would overwrite the event
        raise BeingSent(delivery.id)
    return delivery.with_event(now, "copied", detail, by=by)


def filter_text(which: Filter) -> str:
    """A filter as people read it: `status=held,failed tag=x`."""
    given = ((name, getattr(which, name)) for name in which.__struct_fields__)
    return " ".join(f"{name}={_word(value)}" for name, value in given if value not in (None, ()))


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value.isoformat() if isinstance(value, datetime) else str(value)
