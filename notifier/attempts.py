"""One try to send a message, and what it says about whom."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class Stage(StrEnum):
    """How far a conversation with a relay has come. RFC 5321, section 3."""

    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Scope(StrEnum):
    """What a failure says something about, and so what it may be blamed on."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    RELAY = "relay"


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt did not reach a recipient."""

    scope: Scope
    permanent: bool  # of a relay: it can never take this message, another one may
    stage: Stage
    reply: str  # the relay's own words, or ours where it said nothing
    code: int | None = None  # the SMTP reply code, RFC 5321, section 4.2
    name: str = ""  # of the fault, where the operator can look it up: `starttls_required`
    wait: float = 0.0  # seconds for which a relay asks to be left alone

    @property
    def final(self) -> bool:
        """Whether a recipient is lost. A relay's trouble never loses one."""
        return self.permanent and self.scope is not Scope.RELAY


class Envelope(Struct, frozen=True, omit_defaults=True):
    """Who sends, and who is to receive: what SMTP is told, as against the headers."""

    sender: str
    recipients: tuple[str, ...]
    smtputf8: bool = False  # an address needs RFC 6531


class Acceptance(Struct, frozen=True, omit_defaults=True):
    """What a relay said when it took a message for a recipient."""

    reply: str
    code: int | None = None


class Outcome(Struct, frozen=True, omit_defaults=True):
    """What came of an offer. No recipient is in both `accepted` and `failures`."""

    stage: Stage  # how far it came, or where what decided it happened
    reply: str
    code: int | None = None
    accepted: tuple[str, ...] = ()
    failures: dict[str, Failure] = {}
    uncertain: bool = False  # the final dot was sent, and nothing came back
    conversation: tuple[str, ...] = ()  # `C: ` our lines, `S: ` the relay's, without secrets
    acceptances: dict[str, Acceptance] = {}  # of those accepted by other words than `reply`

    def because(self, name: str) -> bool:
        """Whether a fault of this name is among the failures."""
        return any(failure.name == name for failure in self.failures.values())


class Attempt(Outcome, frozen=True, kw_only=True, omit_defaults=True):
    """
    One try to reach all who are pending. `relay`, `stage`, `reply` and `code` are those of the
    relay that decided it. Where several were asked, each recipient has the last word that was
    said of it, and what any of them accepted is accepted.
    """

    relay: str
    started_at: datetime
    seconds: float

    @property
    def relay_failed(self) -> bool:
        """Whether this is the relay's fault, so that the message is not charged with it."""
        return not self.uncertain and any(
            failure.scope is Scope.RELAY for failure in self.failures.values()
        )

    @property
    def charged(self) -> bool:
        return not self.relay_failed

    def acceptance(self, address: str) -> Acceptance | None:
        """What the relay that took it for this recipient said. None: no relay did."""
        if address not in self.accepted:
            return None
        return self.acceptances.get(address) or Acceptance(self.reply, self.code)
