"""Wipes the data of a person in one message."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from msgspec.structs import replace

from notifier.attempts import Attempt
from notifier.deliveries import Delivery, Event, Status
from notifier.erasure.person import Person
from notifier.errors import BeingSent
from notifier.recipients import Recipient, RecipientStatus

ERASED = "erased"  # the event in the timeline, and the reason of a message that was not sent
# Called with the name of a figure and how much more of it there is: `("messages", 500)`.
Count: TypeAlias = Callable[[str, int], None]
WITHHELD = "erased on request"  # the reply of a recipient who was taken off


class Outcome(StrEnum):
    """What became of a message, as answers count it."""

    NONE = "none"  # there was nothing to erase
    MESSAGES = "messages"  # its contents are gone
    CANCELLED = "cancelled"  # it waited, and its contents are gone
    TAKEN_OFF = "taken_off"  # it goes on to the others, and its contents go when it has ended
    FOR_OTHERS = "for_others"  # it names the person, and its contents go when it has ended


class Wiping:
    """
    The change of one message, and what the last call of it came to. Raises BeingSent while a
    worker sends the message, because the outcome would overwrite the change.

    A message that has ended, or that nobody else waits for, loses all that its caller has written
    and all that was said of it. One that others wait for goes on to them as it was composed.
    """

    def __init__(self, person: Person, now: datetime, by: str) -> None:
        self._person = person
        self._now = now
        self._by = by
        self.outcome = Outcome.NONE

    def __call__(self, delivery: Delivery) -> Delivery:
        self.outcome = Outcome.NONE
        if delivery.status is Status.SENDING:
            raise BeingSent(delivery.id)
        concerned = any(self._person.has(each.address) for each in delivery.recipients)
        if delivery.status.final:
            self.outcome = Outcome.MESSAGES
            return self._emptied(delivery)
        if any(self._waits(each) for each in delivery.recipients):
            self.outcome = Outcome.TAKEN_OFF if concerned else Outcome.FOR_OTHERS
            return self._without(delivery) if concerned else delivery
        self.outcome = Outcome.CANCELLED
        return self._emptied(self._ended(delivery))

    def _waits(self, recipient: Recipient) -> bool:
        """Whether another recipient is still to get the message."""
        pending = recipient.status is RecipientStatus.PENDING
        return pending and not self._person.has(recipient.address)

    def _ended(self, delivery: Delivery) -> Delivery:
        """A message that no other recipient waits for: cancelled, unless somebody has it."""
        recipients = tuple(map(self._recipient, delivery.recipients))
        if any(each.status is RecipientStatus.ACCEPTED for each in recipients):
            return replace(delivery, recipients=recipients).settled(self._now, ERASED)
        return replace(
            delivery,
            recipients=recipients,
            status=Status.CANCELLED,
            reason=ERASED,
            finished_at=self._now,
        )

    def _without(self, delivery: Delivery) -> Delivery:
        """The message for the other recipients alone."""
        struck = self._person.struck
        return replace(
            delivery,
            recipients=tuple(map(self._recipient, delivery.recipients)),
            attempts=tuple(self._attempt(each, struck) for each in delivery.attempts),
            events=tuple(map(self._event, delivery.events)),
            reason=struck(delivery.reason),
            warnings=(),
        ).with_event(self._now, ERASED, "a recipient", by=self._by)

    def _emptied(self, delivery: Delivery) -> Delivery:
        """The message without what its caller has written, and without replies of servers."""
        struck = self._person.struck
        return replace(
            delivery,
            subject="",
            sender=struck(delivery.sender),
            recipients=tuple(map(self._recipient, delivery.recipients)),
            attempts=tuple(self._attempt(each, _nothing) for each in delivery.attempts),
            events=tuple(replace(self._event(each), detail="") for each in delivery.events),
            return_path=struck(delivery.return_path),
            reason=ERASED if delivery.reason else "",
            warnings=(),
            by=struck(delivery.by),
            user_id="",
            reference="",
            tags=(),
            metadata={},
            collapse_key="",
            traceparent="",
        ).with_event(self._now, ERASED, by=self._by)

    def _recipient(self, recipient: Recipient) -> Recipient:
        """The recipient without what servers have said; a person who waited is taken off."""
        later = recipient.later and replace(recipient.later, text="")
        if not self._person.has(recipient.address):
            reply = self._person.struck(recipient.reply)
            return replace(recipient, reply=reply, later=later)
        status, reply = recipient.status, ""
        if status is RecipientStatus.PENDING:
            status, reply = RecipientStatus.SUPPRESSED, WITHHELD
        return Recipient(self._person.erased, status, recipient.code, reply, later)

    def _attempt(self, attempt: Attempt, said: Callable[[str], str]) -> Attempt:
        """The attempt without its conversation, and with what `said` makes of each reply."""
        name = self._name
        return replace(
            attempt,
            reply=said(attempt.reply),
            accepted=tuple(map(name, attempt.accepted)),
            failures={
                name(each): replace(why, reply=said(why.reply))
                for each, why in attempt.failures.items()
            },
            acceptances={
                name(each): replace(taken, reply=said(taken.reply))
                for each, taken in attempt.acceptances.items()
            },
            conversation=(),
        )

    def _event(self, event: Event) -> Event:
        struck = self._person.struck
        return replace(event, detail=struck(event.detail), by=struck(event.by))

    def _name(self, address: str) -> str:
        return self._person.erased if self._person.has(address) else address


def _nothing(_: str) -> str:
    """What is left of a server's reply, which may name the person in another way."""
    return ""
