"""What keeps a message, or some of its recipients, from being sent: suppressions and storms."""

from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from notifier.deliveries import Delivery
from notifier.recipients import Recipient, RecipientStatus

SUPPRESSED = "every recipient is suppressed"  # the reason of a message that goes to nobody
STORM = "storm"  # the reason of a message that is held because a recipient gets too many


def without(delivery: Delivery, why: Mapping[str, str], now: datetime) -> Delivery:
    """
    The delivery without the pending recipients in `why`: each is suppressed, with the reason as
    its reply. The delivery ends if nobody else is pending.
    """
    recipients = tuple(
        Recipient(each.address, RecipientStatus.SUPPRESSED, reply=why[each.address])
        if each.status is RecipientStatus.PENDING and each.address in why
        else each
        for each in delivery.recipients
    )
    screened = replace(delivery, recipients=recipients)
    if any(each.status is RecipientStatus.PENDING for each in recipients):
        return screened
    return screened.settled(now, SUPPRESSED)


def stormy(delivery: Delivery, why: str, now: datetime) -> Delivery:
    """The delivery, held until a person decides, because a recipient gets too many messages."""
    return delivery.held(STORM).with_event(now, "held", why)
