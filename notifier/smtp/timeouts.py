"""How long a relay may take, stage by stage."""

from msgspec import Struct


class Timeouts(Struct, frozen=True, kw_only=True):
    """
    Seconds. They are those of RFC 5321, section 4.5.3.2, or shorter where giving up early
    cannot make a second copy. At the dot it can: there a relay gets its ten minutes.
    """

    connect: float = 10.0  # name and TCP together
    greeting: float = 30.0
    tls: float = 30.0
    ehlo: float = 30.0
    auth: float = 30.0
    mail: float = 60.0
    rcpt: float = 60.0
    data: float = 120.0
    block: float = 180.0  # without the relay taking a single octet of the content
    dot: float = 600.0
    rset: float = 5.0
    quit: float = 2.0
    idle: float = 30.0  # that a connection is kept without being used
