"""Access tokens (RFC 6749, section 1.4), as those see them who log in with one."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from msgspec import Struct

# The faults of a token that cannot be had.
UNAVAILABLE = "token_unavailable"  # the issuer cannot be reached, or failed
DENIED = "token_denied"  # the issuer refuses: the secret is wrong, or permission is missing


class NoToken(Exception):
    """There is no token now. `name` is the fault's."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Token(Struct, frozen=True):
    """An access token. It is a secret."""

    value: str
    source: str  # who issued it
    good_until: datetime

    def __repr__(self) -> str:
        """Without the value, which must not reach a log by accident."""
        return f"Token({self.source} until {self.good_until})"


class TokenState(Struct, frozen=True, kw_only=True):
    """The token that a relay is used with, for people to see."""

    source: str  # who issues it
    good_until: datetime | None  # None: there is none
    trouble: str  # why there is no newer token; empty: no newer one is needed yet
    failing_since: datetime | None


class Tokens(Protocol):
    """Where the token of a relay comes from."""

    async def get(self) -> Token:
        """A token that is good now. Raises NoToken."""
        ...

    async def renew(self, refused: Token) -> Token:
        """A newer token than the one that was refused. Raises NoToken."""
        ...

    def state(self) -> TokenState: ...

    def listen(self, ended: Callable[[], None]) -> None:
        """Set a listener that is called when there is a token again after there was none."""
        ...
