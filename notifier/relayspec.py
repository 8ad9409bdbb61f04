"""What an operator says of a relay, as a value."""

from enum import StrEnum

from msgspec import Struct


class Tls(StrEnum):
    """How a connection is protected. STARTTLS is required where it is asked for, never tried."""

    NONE = "none"
    STARTTLS = "starttls"  # RFC 3207
    IMPLICIT = "implicit"  # RFC 8314, section 3.3


class RelaySpec(Struct, frozen=True, kw_only=True):
    """One relay of NOTIFIER_RELAYS."""

    name: str
    host: str
    port: int
    tls: Tls = Tls.NONE
    username: str | None = None
    password: str | None = None
    # At most so many at a time. A message costs two round trips, so 16 carry 160 a second to a
    # relay that is 50 ms away, and as many as the processor allows to one that is near.
    connections: int = 16
    rate: float | None = None  # messages a second; None: as fast as it takes them
    messages_per_connection: int = 100
    ca: str | None = None  # a file of certificates to trust instead of the system's

    def __repr__(self) -> str:
        """Without the password, which must not reach a log by accident."""
        return f"RelaySpec({self.name} {self.host}:{self.port} {self.tls})"
