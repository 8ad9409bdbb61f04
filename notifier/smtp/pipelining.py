"""How many commands are sent to a relay before it has answered those before them. RFC 2920."""

import re

import structlog

from notifier.attempts import Attempt, Stage
from notifier.relayspec import Pipelining
from notifier.smtp.failures import OUT_OF_STEP
from notifier.smtp.session import Breach, Session

FAILURES = 2  # in a row, each of which may be chance
# The relay says, or shows, that it does not take what comes behind a dot: one is enough.
NOT_TAKEN = frozenset({"malformed_reply", "out_of_step", "stray_reply", "timeout"})
_SAYS_SO = re.compile(r"pipelin|synchroni[sz]ation|bad sequence|out of sequence", re.IGNORECASE)

log = structlog.get_logger()


class Behind:
    """
    Whether the next message's commands may go ahead, behind the dot of the one before. Until
    that has worked once, and after each time that it has not, one connection at a time tries it.
    What relays do not take is not tried again until a person resumes the relay.
    """

    def __init__(self, name: str, mode: Pipelining) -> None:
        self._name = name
        self._mode = mode
        self.trouble = ""  # why it is not done any more
        self._works = False
        self._trying: Session | None = None  # that tries it for all
        self._failures = 0  # in a row

    @property
    def mode(self) -> Pipelining:
        """The pipelining that is used now."""
        return Pipelining.TRANSACTION if self.trouble else self._mode

    @property
    def allowed(self) -> bool:
        return (
            (self._works or self._trying is None)
            and not self.trouble
            and self._mode is Pipelining.FULL
        )

    def begin(self, session: Session) -> None:
        """Note that commands go ahead on this session."""
        if not self._works:
            self._trying = session

    def forget(self, session: Session) -> None:
        """Note that this service has given up the commands that went ahead."""
        if self._trying is session:
            self._trying = None

    def worked(self, session: Session) -> None:
        """Note that the commands were answered one by one, whatever the answers were."""
        if self._trying is session:
            self._trying = None
            self._works = True
        self._failures = 0

    def failed(self, session: Session, why: str, *, certain: bool) -> None:
        """Note that the commands were not answered."""
        counts = self._works or self._trying is session  # of many that fail together one counts
        self.forget(session)
        self._works = False
        self._failures += counts
        if (certain or self._failures >= FAILURES) and not self.trouble:
            self.trouble = why
            log.warning("relay_pipelining_reduced", relay=self._name, reason=why)

    def reset(self) -> None:
        """Begin again, because a person says that it works."""
        self.trouble = ""
        self._failures = 0


def unanswered(breach: Breach | None, outcome: Attempt) -> tuple[str, bool]:
    """
    Why commands that had gone ahead were not answered as they should, and whether that is the
    relay's way. Empty: they were.
    """
    if outcome.stage is Stage.DOT:
        return "", False
    if breach is not None:
        return breach.reason, breach.name in NOT_TAKEN
    for failure in outcome.failures.values():
        if says_so(failure.code, failure.reply):
            return failure.reply, True
    return "", False


def says_so(code: int | None, reply: str) -> bool:
    """Whether a refusal is of the order or the number of commands, not of a message."""
    return code == OUT_OF_STEP or (code is not None and _SAYS_SO.search(reply) is not None)
