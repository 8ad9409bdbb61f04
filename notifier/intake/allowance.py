"""What one submission takes of the limits of its key and of its recipients."""

from collections.abc import Sequence

from notifier.deliveries import Delivery
from notifier.errors import Forbidden, Refusal, Rejected, TooMany
from notifier.intake.admission import Admitted, cost
from notifier.intake.rates import Limits
from notifier.intake.storms import Passage
from notifier.keys import Key
from notifier.messages import Message


class Toll:
    """What one submission has taken from its key's rate."""

    def __init__(self, limits: Limits, key: Key) -> None:
        self._taken = 0
        self._limits = limits
        self._key = key

    def give_back(self) -> None:
        """Return everything, because the submission was refused."""
        self._limits.refund(self._key.name, self._taken)
        self._taken = 0

    def take(self, n: int) -> None:
        """
        Charge `n` in all, in place of what was charged before. Raises TooMany; Forbidden if the
        key's rate never allows as much.
        """
        key = self._key
        self.give_back()
        verdict = self._limits.take(key.name, rate=key.rate, daily=key.daily, n=n)
        if verdict.allowed:
            self._taken = n
        elif verdict.possible:
            raise TooMany(
                verdict.reason, retry_after=verdict.retry_after, headers=verdict.headers()
            )
        else:
            raise Forbidden(verdict.reason)


class Allowance:
    """What one submission takes of the limits of its key and of its recipients."""

    def __init__(self, toll: Toll | None, passage: Passage | None) -> None:
        self._toll = toll
        self._passage = passage

    def take(self, messages: Sequence[Message | Rejected]) -> None:
        """Take what the messages cost, as far as that is known. Raises what `Toll.take` raises."""
        if self._toll is not None:
            self._toll.take(sum(map(cost, messages)))

    async def held_to(
        self, admitted: list[Admitted | Refusal], *, strict: bool
    ) -> list[Admitted | Refusal]:
        """The messages that may be sent, charged. Raises RecipientRate; what `take` raises."""
        if self._passage is not None:
            admitted = await self._passage.through(admitted, strict=strict)
        if self._toll is not None:
            self._toll.take(sum(each.cost for each in admitted if isinstance(each, Admitted)))
        return admitted

    def keep(self, superseded: Sequence[Delivery]) -> None:
        """Count the messages, which were accepted, and leave out those that they supersede."""
        if self._passage is not None:
            self._passage.keep(superseded)

    def give_back(self) -> None:
        """Count nothing, because nothing was accepted."""
        if self._toll is not None:
            self._toll.give_back()
        if self._passage is not None:
            self._passage.give_back()
