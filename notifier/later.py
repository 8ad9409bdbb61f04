"""What a report changes in a delivery."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from notifier.attempts import Stage
from notifier.deliveries import Delivery, Status
from notifier.errors import BeingSent, WrongState
from notifier.recipients import Later, Recipient, RecipientStatus


def reported(delivery: Delivery, address: str, later: Later, *, now: datetime) -> Delivery:
    """
    The delivery after a report about one of its recipients; the same object if the report says
    nothing new. If the outcome of an attempt was uncertain, any report proves that a relay has the
    message.
    """
    before = next((each for each in delivery.recipients if each.address == address), None)
    if before is None:
        raise WrongState(f"the message has no recipient {address}")
    if before.erased:
        raise WrongState("the recipient has been erased")
    if delivery.status is Status.SENDING:
        raise BeingSent(delivery.id)
    settles = before.status is not RecipientStatus.ACCEPTED
    if settles and not _may_have_it(delivery, before):
        raise WrongState(f"no relay took the message for {address}")
    after = before.reported(later)
    if after is before:
        return delivery
    recipients = tuple(after if each is before else each for each in delivery.recipients)
    at = _in_order(delivery, now)
    noted = replace(delivery, recipients=recipients).with_event(
        at, later.state, _said(address, later), by=f"report:{later.road}"
    )
    if not settles or any(each.status is RecipientStatus.PENDING for each in recipients):
        return noted
    return replace(noted, status=Status.SENT, reason="", finished_at=delivery.finished_at or at)


def _in_order(delivery: Delivery, now: datetime) -> datetime:
    """
    The time of one more event: after the others, and not before it ended or was held, also where
    another replica's clock is ahead or ours was set back. An application receives the newest
    event, and would miss this one.
    """
    ended = delivery.held_at if delivery.status is Status.HELD else delivery.finished_at or now
    last = max((each.at for each in delivery.events), default=None)
    return max(now, ended) if last is None else max(now, ended, last + timedelta(microseconds=1))


def offered_in_doubt(delivery: Delivery, address: str) -> bool:
    """
    Whether a relay may have the message for this recipient, because an attempt ended without an
    answer. After a crash there is no record of the attempt: whom it was for is known only where
    the message has one recipient.
    """
    if delivery.uncertain and len(delivery.recipients) == 1:
        return True
    for attempt in delivery.attempts:
        failure = attempt.failures.get(address)
        if not attempt.uncertain or failure is None or failure.stage is not Stage.DOT:
            continue
        if not 400 <= (failure.code or 0) < 600:  # a clear no, where each has its own transaction
            return True
    return False


def _may_have_it(delivery: Delivery, recipient: Recipient) -> bool:
    if recipient.status is RecipientStatus.SUPPRESSED:
        return offered_in_doubt(delivery, recipient.address)
    return delivery.uncertain > 0


def taken_at(delivery: Delivery, address: str, later: Later) -> datetime:
    """When what was reported of a recipient came in; when it was, if the timeline has lost it."""
    for event in reversed(delivery.events):
        if event.what == later.state and f"{event.detail}: ".startswith(f"{address}: "):
            return event.at
    return later.at


def _said(address: str, later: Later) -> str:
    """What a report says, as the detail of an event."""
    said = later.text if later.code in later.text else f"{later.code} {later.text}".strip()
    return f"{address}: {said}" if said else address
