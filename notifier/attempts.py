"""One attempt to send a message, what it says about whom, and what makes attempts."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

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


# Names of faults that concern more than the relay.
THROTTLED = "throttled"  # it wants fewer messages in a time
TOO_MANY_CONNECTIONS = "too_many_connections"  # it wants fewer at a time
SLOWER = frozenset({THROTTLED, TOO_MANY_CONNECTIONS})
PACED = "paced"  # it has not been asked, because it wants fewer


class Scope(StrEnum):
    """What a failure is about: the relay, the message, or one recipient."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    RELAY = "relay"


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt did not reach a recipient."""

    scope: Scope
    permanent: bool  # with Scope.RELAY: this relay can never take the message, another one may
    stage: Stage
    reply: str  # the relay's reply, or our text if there was none
    code: int | None = None  # the SMTP reply code, RFC 5321, section 4.2
    name: str = ""  # of the fault, where the operator can look it up: `starttls_required`
    wait: float = 0.0  # seconds for which a relay asks to be left alone

    @property
    def final(self) -> bool:
        """Whether a recipient is lost. A relay's trouble never loses one."""
        return self.permanent and self.scope is not Scope.RELAY


class Notify(StrEnum):
    """What a server further on is to report about a recipient. RFC 3461, section 4.1."""

    FAILURE = "failure"
    DELAY = "delay"
    SUCCESS = "success"


USUAL_REPORTS: tuple[Notify, ...] = (Notify.FAILURE, Notify.DELAY)


class Envelope(Struct, frozen=True, omit_defaults=True):
    """The sender and recipients that SMTP gets. They may differ from the message's headers."""

    sender: str
    recipients: tuple[str, ...]
    smtputf8: bool = False  # an address needs RFC 6531
    id: str = ""  # of the message
    return_path: str = ""  # where reports go, perhaps with a star; empty: to the sender
    notify: tuple[Notify, ...] = USUAL_REPORTS  # of what; empty: of nothing
    eight_bit: bool = False  # the content needs RFC 6152


class Acceptance(Struct, frozen=True, omit_defaults=True):
    """The reply by which a relay accepted a message for a recipient."""

    reply: str
    code: int | None = None


class Attempt(Struct, frozen=True, omit_defaults=True):
    """
    One attempt to reach all pending recipients, and its outcome.

    `relay`, `stage`, `reply` and `code` are those of the relay that decided it. If several relays
    were asked, each recipient has the last reply about it, and whatever one relay accepted is
    accepted. No recipient is in both `accepted` and `failures`.
    """

    stage: Stage  # the stage that decided the outcome
    reply: str
    code: int | None = None
    accepted: tuple[str, ...] = ()
    failures: dict[str, Failure] = {}
    uncertain: bool = False  # the final dot was sent, and nothing came back
    conversation: tuple[str, ...] = ()  # `C: ` our lines, `S: ` the relay's, without secrets
    acceptances: dict[
        str, Acceptance
    ] = {}  # of recipients that were accepted with another reply than `reply`
    # What one relay says of one offer has none of these yet.
    relay: str = ""
    started_at: datetime = datetime.min.replace(tzinfo=UTC)
    seconds: float = 0.0

    @property
    def throttled(self) -> bool:
        """Whether the relay wants fewer messages, and will take this one later."""
        return any(failure.name in SLOWER for failure in self.failures.values())

    @property
    def unoffered(self) -> bool:
        """Whether no relay was asked, because the one to be asked wants fewer messages."""
        return not self.accepted and not self.conversation and self.because(PACED)

    def because(self, name: str) -> bool:
        """Whether one of the failures has this name."""
        return any(failure.name == name for failure in self.failures.values())

    @property
    def relay_failed(self) -> bool:
        """Whether the relay was at fault, so that the attempt does not count."""
        return not self.uncertain and any(
            failure.scope is Scope.RELAY for failure in self.failures.values()
        )

    @property
    def charged(self) -> bool:
        return not self.relay_failed

    def acceptance(self, address: str) -> Acceptance | None:
        """How a relay accepted the message for this recipient. None: no relay did."""
        if address not in self.accepted:
            return None
        return self.acceptances.get(address) or Acceptance(self.reply, self.code)


class Transport(Protocol):
    """Offers an envelope to a relay, a provider or the simulator, and says what the outcome is."""

    def room(self) -> int:
        """How many more sends may start now. 0: no place is free, or the transport rests."""
        ...

    @property
    def paced(self) -> bool:
        """Whether deliveries that may not start now wait in the journal, not in the window."""
        ...

    async def wait_for_room(self) -> None: ...

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        """Offer the message once. Failures are in the returned attempt, not raised."""
        ...

    def abort_all(self) -> None:
        """Abort every send under way. Each returns with what is known of it."""
        ...
