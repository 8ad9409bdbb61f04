"""What there is to see of a relay."""

from datetime import datetime

from msgspec import Struct

from notifier.breaker import State
from notifier.relayspec import Pipelining, Tls
from notifier.tokens import TokenState


class Trouble(Struct, frozen=True):
    """The last failure of a relay."""

    name: str
    text: str
    at: datetime


class RelayState(Struct, frozen=True, kw_only=True):
    """The state of a relay, for people to see."""

    name: str
    host: str
    port: int
    tls: Tls
    state: State
    busy: int  # connections in use
    idle: int  # connections kept for the next messages
    limit: int  # messages at a time, just now
    trouble: Trouble | None  # the last one
    opens_at: datetime | None  # when it has rested
    sent: int
    failed: int
    pipelining: Pipelining  # where the relay offers it
    pipelining_trouble: str  # why it is less than was asked for; empty: it is not
    pace: float | None = None  # messages a second that it takes; None: it has set no limit
    held_until: datetime | None = None  # it has refused for its pace, and is asked again then
    throttled: int = 0  # messages that it has refused for its pace
    slower: bool = False  # it gets messages more slowly than it could, because it has refused some
    graph: bool = False  # it is not reached by SMTP but by Microsoft Graph
    conditions: dict[str, tuple[str, ...]] = {}  # of what goes to it, one value of each
    token: TokenState | None = None  # None: the relay needs no token
