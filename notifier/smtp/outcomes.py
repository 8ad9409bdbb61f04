"""
Join the outcomes of a message that was offered several times, to one relay or to several; say what
an outcome means for the connection.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from notifier.attempts import Acceptance, Attempt, Envelope, Failure, Scope, Stage
from notifier.smtp.failures import (
    IN_STEP,
    NOT_ACCEPTING,
    OUT_OF_STEP,
    TOO_MANY,
    WORN_OUT,
    relay_failure,
)
from notifier.smtp.replies import CLOSING, KEPT

LINES_KEPT = 60


class Offers:
    """
    One envelope, offered again to recipients for whom that does no harm. A recipient who was
    accepted, or refused for good, is in no further envelope. After an offer that may have been
    accepted there is no further envelope at all. So no second copy is sent.
    """

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._accepted: dict[str, Acceptance] = {}
        self._failures: dict[
            str, Failure
        ] = {}  # the last failure of each recipient that was not accepted
        self._deciding: Attempt | None = None
        self._lines: list[str] = []
        self.decided_by = ""  # the relay of the offer that decided

    def add(self, outcome: Attempt, *, by: str = "") -> None:
        """Add the outcome of one more offer; `by` is the name of the relay."""
        decides = self._deciding is None or outcome.accepted or outcome.uncertain
        if decides or not self._accepted:
            self._deciding, self.decided_by = outcome, by
        taken = Acceptance(outcome.reply, outcome.code)
        for address in outcome.accepted:
            self._accepted[address] = outcome.acceptances.get(address, taken)
            self._failures.pop(address, None)
        for address, failure in outcome.failures.items():
            if address not in self._accepted:
                self._failures[address] = failure
        self._lines += outcome.conversation

    def left(self, may_go_on: Callable[[Failure], bool]) -> Envelope | None:
        """The envelope of the recipients that may get another offer. None: there are none."""
        if self._deciding is None or self._deciding.uncertain:
            return None
        left = tuple(
            address
            for address in self._envelope.recipients
            if (failure := self._failures.get(address)) and not failure.final and may_go_on(failure)
        )
        return replace(self._envelope, recipients=left) if left else None

    def as_one(self) -> Attempt:
        """The outcome of all offers together."""
        deciding = self._deciding
        assert deciding is not None  # noqa: S101 - something has been offered
        usual = Acceptance(deciding.reply, deciding.code)
        return Attempt(
            deciding.stage,
            deciding.reply,
            deciding.code,
            tuple(each for each in self._envelope.recipients if each in self._accepted),
            self._failures,
            deciding.uncertain,
            abridged(self._lines),
            {address: said for address, said in self._accepted.items() if said != usual},
        )


def failed(
    failure: Failure, recipients: Sequence[str], conversation: Sequence[str] = ()
) -> Attempt:
    """The outcome if the same failure holds for all recipients, and no message was sent."""
    return Attempt(
        failure.stage,
        failure.reply,
        failure.code,
        failures=dict.fromkeys(recipients, failure),
        conversation=abridged(conversation),
    )


def not_begun(envelope: Envelope, name: str, reason: str) -> Attempt:
    """The outcome if the relay was not asked."""
    return failed(relay_failure(Stage.CONNECT, name, reason), envelope.recipients)


def abridged(lines: Sequence[str]) -> tuple[str, ...]:
    """A conversation short enough to be kept: the middle of a long one is left out."""
    if len(lines) > LINES_KEPT:
        head, tail = LINES_KEPT - 21, 20
        left_out = f"   ({len(lines) - head - tail} lines left out)"
        lines = [*lines[:head], left_out, *lines[-tail:]]
    if max(map(len, lines), default=0) > KEPT:
        return tuple([line[:KEPT] for line in lines])
    return tuple(lines)


def in_step(outcome: Attempt) -> bool:
    """Whether the relay has answered, and both ends know that no message is under way."""
    return not outcome.uncertain and all(
        failure.code not in (CLOSING, OUT_OF_STEP)
        and (failure.scope is not Scope.RELAY or failure.name in IN_STEP)
        for failure in outcome.failures.values()
    )


def served_its_time(outcome: Attempt, *, taken: int) -> bool:
    """
    Whether the connection, which has carried `taken` messages, and not the message is the reason.
    No dot was sent.
    """
    if any(failure.name in WORN_OUT for failure in outcome.failures.values()):
        return True
    if outcome.throttled:  # by 421 it may mean this connection alone
        return taken > 0 and outcome.code == CLOSING
    return come_again(outcome) or (taken > 0 and turned_away(outcome))


def turned_away(outcome: Attempt) -> bool:
    """Whether MAIL was deferred by a limit of messages, on a connection that has carried some."""
    return outcome.stage is Stage.MAIL and outcome.code is not None and 400 <= outcome.code < 500


def come_again(outcome: Attempt) -> bool:
    """Whether the relay wants a new connection, as Postfix's postscreen after its tests."""
    said = outcome.stage is not Stage.DOT and outcome.code == 450
    return said and outcome.because(NOT_ACCEPTING)


def one_too_many(failure: Failure) -> bool:
    return failure.name == TOO_MANY
