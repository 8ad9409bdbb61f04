"""
Settle a message by hand: a person knows what became of it, and the service cannot know.

What a person says does not change what a relay has answered: a recipient that was accepted stays
accepted.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from notifier.deliveries import Delivery, Event, Status
from notifier.errors import WrongState
from notifier.later import offered_in_doubt
from notifier.recipients import Recipient, RecipientStatus
from notifier.screening import STORM

SETTLED = "settled"  # the event
_UNREACHED = frozenset({RecipientStatus.PENDING, RecipientStatus.REFUSED})
_PERMANENT = 500  # SMTP reply codes from here on refuse for good: RFC 5321, section 4.2.1


class SettledAs(StrEnum):
    """What became of a message, as a person says."""

    SENT = "sent"  # the relay has it
    FAILED = "failed"  # it never arrived, and will not be sent


class Settlement(Struct, frozen=True):
    """What a person says became of a message, and how they know."""

    outcome: SettledAs
    why: str = ""

    @property
    def said(self) -> str:
        return f"as {self.outcome}{f': {self.why}' if self.why else ''}"


def settle(delivery: Delivery, now: datetime, *, settlement: Settlement, by: str = "") -> Delivery:
    """
    The delivery in the final state that a person knows. One that had ended keeps the time of its
    end, so that it is not counted as finished twice. Raises WrongState unless it is held, or an
    attempt had an uncertain outcome that is not known yet; and for `sent`, unless a recipient can
    have it.
    """
    if objection := objection_to_settling(delivery):
        raise WrongState(objection)
    outcome = settlement.outcome
    said = f"settled as {outcome} by {by or 'the service'}"
    if settlement.why:
        said = f"{said}: {settlement.why}"
    recipients = _settled(delivery, outcome, said)
    reached = any(each.status is RecipientStatus.ACCEPTED for each in recipients)
    if not recipients:  # its record cannot be read: what the person says is all that is known
        reached = outcome is SettledAs.SENT
    if outcome is SettledAs.SENT and not reached:
        raise WrongState(
            "every recipient is suppressed, and no attempt is recorded for any of them, so the"
            " message cannot be settled as sent"
        )
    was = f" (it was {delivery.status})" if delivery.finished_at else ""
    why = f": {settlement.why}" if settlement.why else ""
    return replace(
        delivery,
        status=Status.SENT if reached else Status.FAILED,
        recipients=recipients,
        reason="" if reached else said,
        finished_at=delivery.finished_at or now,
    ).with_event(now, SETTLED, f"as {outcome}{was}{why}", by=by)


def objection_to_settling(delivery: Delivery) -> str:
    """Why the delivery cannot be settled; empty: it can be."""
    status = delivery.status
    if status is Status.HELD and delivery.reason == STORM and not delivery.uncertain:
        return (
            "the message is held and no attempt was made, so there is nothing to settle; "
            "retry or cancel it"
        )
    if status is Status.HELD:
        return ""
    if status is Status.SENDING:
        return "a worker is sending the message now; wait for its outcome"
    if status is Status.SENT:
        return "the message is already sent: a relay has accepted it"
    if not delivery.uncertain:
        return (
            f"a message that is {status} cannot be settled: it is not held, and no attempt had an "
            "uncertain outcome"
        )
    if known := settled_by(delivery):
        return f"the message was settled {known.detail} on {known.at:%Y-%m-%d %H:%M} UTC"
    return ""


def settled_by(delivery: Delivery) -> Event | None:
    """The event by which a person settled the delivery; None: its state came otherwise."""
    if delivery.finished_at is None:
        return None
    for event in reversed(delivery.events):
        if event.what == SETTLED:
            return event
        if event.what == "retried":
            return None
    return None


def _settled(delivery: Delivery, outcome: SettledAs, said: str) -> tuple[Recipient, ...]:
    if outcome is SettledAs.FAILED:
        return tuple(
            replace(each, status=RecipientStatus.REFUSED, reply=said)
            if each.status is RecipientStatus.PENDING
            else each
            for each in delivery.recipients
        )
    # What a relay refused for good it does not have, unless the copy before it is what arrived.
    unreached = [
        each
        for each in delivery.recipients
        if each.status in _UNREACHED
        or (each.status is RecipientStatus.SUPPRESSED and offered_in_doubt(delivery, each.address))
    ]
    reached = [each for each in unreached if not _refused(each)] or unreached
    return tuple(
        Recipient(each.address, RecipientStatus.ACCEPTED, reply=said) if each in reached else each
        for each in delivery.recipients
    )


def _refused(recipient: Recipient) -> bool:
    """Whether a relay has refused the recipient for good; one that was given up is not."""
    return recipient.status is RecipientStatus.REFUSED and (recipient.code or 0) >= _PERMANENT
