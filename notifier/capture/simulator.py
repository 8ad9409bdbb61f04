"""
Recipients that simulate outcomes, so that a caller can see each one without a broken relay:
`success@`, `temp-fail@`, `perm-fail@`, `slow@` and `drop-after-dot@simulator.notifier`, each
with an optional `+label`. Anybody else's mail is kept as if it had been delivered.
"""

import asyncio
import hashlib
import re
from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING

from notifier.capture.mailbox import Mailbox
from notifier.capture.server import Listener
from notifier.domains import SIMULATOR_DOMAIN

if TYPE_CHECKING:  # it is loaded at the first connection
    from notifier.capture.connection import Mail

SLOW_SECONDS = 10.0
REMEMBERED = 10_000  # mails that came before

_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(\S[^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class Role(StrEnum):
    """The outcome that a recipient simulates."""

    SUCCESS = "success"
    TEMP_FAIL = "temp-fail"  # 451 to the dot the first time, then accepted
    PERM_FAIL = "perm-fail"  # 550
    SLOW = "slow"  # the dot is answered late
    DROP_AFTER_DOT = "drop-after-dot"  # kept, but never answered the first time; then accepted


ROLES = {role.value: role for role in Role}
KNOWN = ", ".join(f"{name}@{SIMULATOR_DOMAIN}" for name in ROLES)


def played_by(address: str) -> Role | None:
    """The role of a recipient's name. None: there is no such role."""
    local, _, domain = address.lower().rpartition("@")
    if domain != SIMULATOR_DOMAIN:
        return Role.SUCCESS
    return ROLES.get(local.partition("+")[0])


class _Play:
    def __init__(self, mailbox: Mailbox, slow: float) -> None:
        self._mailbox = mailbox
        self._slow = slow
        self._seen: OrderedDict[tuple[bytes, str], None] = OrderedDict()

    def rcpt(self, address: str) -> str:
        match played_by(address):
            case Role.PERM_FAIL:
                return "550 5.1.1 simulated: no such mailbox"
            case None:
                return f"550 5.1.1 simulated: no such mailbox; there are {KNOWN}"
            case _:
                return ""

    async def data(self, mail: "Mail") -> str | None:
        # Only the content tells which mail this is, so 451 cannot be said earlier.
        if self._first(Role.TEMP_FAIL, mail):
            return "451 4.3.0 simulated: try again"
        if Role.SLOW in map(played_by, mail.recipients):
            await asyncio.sleep(self._slow)
        kept = await mail.keep(self._mailbox)
        return None if self._first(Role.DROP_AFTER_DOT, mail) else kept

    def _first(self, role: Role, mail: "Mail") -> bool:
        """Whether this is the first time that this mail comes to a recipient with this role."""
        players = [address for address in mail.recipients if played_by(address) is role]
        if not players:
            return False
        identity = _identity(mail.source)
        new = [address for address in players if (identity, address) not in self._seen]
        self._seen.update({(identity, address): None for address in new})
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return bool(new)


def _identity(source: bytes) -> bytes:
    """The Message-ID, or the content's digest if there is none."""
    found = _MESSAGE_ID.search(source.partition(b"\r\n\r\n")[0])
    return found[1] if found else hashlib.sha256(source).digest()


class Simulator(Listener):
    """A relay that answers as the recipient's name says. Mail that it accepts is in the mailbox."""

    def __init__(self, mailbox: Mailbox, *, slow: float = SLOW_SECONDS) -> None:
        super().__init__("simulator", _Play(mailbox, slow))
