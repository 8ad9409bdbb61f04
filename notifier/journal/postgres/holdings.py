"""What we have claimed, and under what."""

from collections.abc import Sequence

from notifier.deliveries import Delivery, Event
from notifier.journal import Claim
from notifier.journal.postgres.writer import Held


class Holdings:
    """
    Never takes an old claim for a newer one of ours. What was taken from us and has come back
    since is told by its events: that it was found is not among those of the old claim. A record
    whose answer was lost may be kept, and its delivery claimed anew, by the time it is made again.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[Held, tuple[Event, ...]]] = {}
        self._unanswered: dict[str, tuple[Delivery, Held]] = {}  # records

    def take(self, claims: Sequence[Claim], held: Held) -> None:
        for claim in claims:
            self._held[claim.delivery.id] = held, claim.delivery.events

    def under(self, delivery: Delivery) -> Held | None:
        """None: it is not ours."""
        held, events = self._held.get(delivery.id, (None, ()))
        return held if delivery.events == events else None

    def let_go(self, delivery: Delivery) -> Held | None:
        """Under what it is to be recorded; from here on it is not ours."""
        record, claim = self._unanswered.pop(delivery.id, (None, None))
        if record == delivery:
            return claim
        if (held := self.under(delivery)) is not None:
            del self._held[delivery.id]
        return held

    def refused(self, delivery: Delivery, held: Held) -> None:
        """The journal does not keep this record: the claim stands for another one."""
        self._held[delivery.id] = held, delivery.events

    def unanswered(self, delivery: Delivery, held: Held) -> None:
        """Nobody knows whether this record is kept: it will be made again."""
        self._unanswered[delivery.id] = delivery, held
