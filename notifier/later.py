"""What a report changes in a delivery."""

from datetime import datetime

from msgspec.structs import replace

from notifier.deliveries import Delivery, Status
from notifier.errors import BeingSent, WrongState
from notifier.recipients import Later, RecipientStatus


def reported(delivery: Delivery, address: str, later: Later, *, now: datetime) -> Delivery:
    """
    The delivery after a report about one of its recipients. It is the same object where the report
    says no more than one before it.

    Where the outcome of an attempt was uncertain, any report proves that a relay has the message:
    it is settled for this recipient, and not sent again. Raises BeingSent while a worker sends it,
    because the outcome would overwrite the report; WrongState where no relay can have it for this
    recipient.
    """
    before = next((each for each in delivery.recipients if each.address == address), None)
    if before is None:
        raise WrongState(f"the message has no recipient {address}")
    if delivery.status is Status.SENDING:
        raise BeingSent(delivery.id)
    settles = before.status is not RecipientStatus.ACCEPTED
    if settles and (not delivery.uncertain or before.status is RecipientStatus.SUPPRESSED):
        raise WrongState(f"no relay took the message for {address}")
    after = before.reported(later)
    if after is before:
        return delivery
    recipients = tuple(after if each is before else each for each in delivery.recipients)
    told = replace(delivery, recipients=recipients).with_event(
        now, later.state, _said(address, later), by=f"report:{later.road}"
    )
    if not settles or any(each.status is RecipientStatus.PENDING for each in recipients):
        return told
    return replace(told, status=Status.SENT, reason="", finished_at=delivery.finished_at or now)


def _said(address: str, later: Later) -> str:
    """What a report says, as the detail of an event."""
    said = later.text if later.code in later.text else f"{later.code} {later.text}".strip()
    return f"{address}: {said}" if said else address
