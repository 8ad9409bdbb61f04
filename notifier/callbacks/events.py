"""The event of a message that a callback reports: the newest that the application asked for."""

from collections.abc import Collection, Iterator
from datetime import datetime

from msgspec import Struct

from notifier.deliveries import Delivery, Status
from notifier.keys import CallbackEvent

_OF_STATUS = {
    Status.SENT: CallbackEvent.SENT,
    Status.FAILED: CallbackEvent.FAILED,
    Status.EXPIRED: CallbackEvent.EXPIRED,
    Status.CANCELLED: CallbackEvent.CANCELLED,
    Status.SUPERSEDED: CallbackEvent.SUPERSEDED,
}
_REPORTED = {CallbackEvent.BOUNCED.value, CallbackEvent.COMPLAINED.value}


class Occasion(Struct, frozen=True):
    """An event of a message, and when it happened."""

    event: CallbackEvent
    at: datetime


def newest(delivery: Delivery, wanted: Collection[CallbackEvent]) -> Occasion | None:
    """
    The newest event of these; None: there is none. Other changes leave it the same, so that nobody
    is told twice.
    """
    found = [each for each in _occasions(delivery) if each.event in wanted]
    return max(found, key=lambda each: each.at) if found else None


def _occasions(delivery: Delivery) -> Iterator[Occasion]:
    for each in reversed(delivery.events):  # of two at the same time, a report is the newer one
        if each.what in _REPORTED:
            yield Occasion(CallbackEvent(each.what), each.at)
    if delivery.status is Status.HELD:
        yield Occasion(CallbackEvent.HELD, delivery.held_at)
    elif (event := _OF_STATUS.get(delivery.status)) and delivery.finished_at is not None:
        yield Occasion(event, delivery.finished_at)


def version_of(delivery: Delivery) -> int:
    """
    A number that grows with each change of a message. Attempts and events are only added, also
    those that are no longer kept. An end may be taken back, but only by an event, which counts
    for more.
    """
    happened = (
        len(delivery.attempts)
        + delivery.attempts_dropped
        + len(delivery.events)
        + delivery.events_dropped
    )
    return 2 * happened + (delivery.finished_at is not None)
