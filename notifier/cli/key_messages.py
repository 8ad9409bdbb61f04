"""`notifier keys revoke --cancel`: cancels the messages of a key that still wait."""

import time
from typing import Any

from notifier.cli.client import Refused, RequestFailed
from notifier.cli.message_sources import Act, Source
from notifier.deliveries import WAITING, Status
from notifier.errors import NotifierError, Rejected

# Servers follow the file of keys within a second: until then they take messages of the key.
FOLLOW_SECONDS = 1.5
SENDING_SECONDS = 10.0  # for what is being sent to end, or to wait again


class NotCancelled(NotifierError):
    """The key is revoked, but its messages still wait."""


class KeyMessages:
    """Cancels the messages of a key that wait or are held, at a server or in the journal."""

    def __init__(self, source: Source, name: str, *, offline: bool) -> None:
        self._source = source
        self._name = name
        self._offline = offline

    def require(self) -> None:
        """Raises RequestFailed, Refused, Rejected unless the place can be asked."""
        self._count()

    def cancel(self) -> int:
        """Cancel them, and those that come meanwhile. Returns how many. Raises NotCancelled."""
        try:
            return self._cancel()
        except (RequestFailed, Refused, Rejected) as error:
            raise NotCancelled(
                f"the key {self._name!r} is revoked, but its messages still wait: {error};"
                f" try `notifier messages cancel --key {self._name}`"
            ) from None

    def sending(self) -> int:
        """How many are being sent, which cannot be cancelled."""
        return self._source.count({"key": self._name, "status": [Status.SENDING.value]})

    def _cancel(self) -> int:
        cancelled = self._pass()
        until = time.monotonic() + SENDING_SECONDS
        while not self._offline:
            time.sleep(FOLLOW_SECONDS)
            more = self._pass()
            cancelled += more
            if not (more or self.sending()) or time.monotonic() > until:
                break
        return cancelled

    def _pass(self) -> int:
        count = self._count()
        return self._source.act_all(Act("cancel"), self._waiting(), count) if count else 0

    def _count(self) -> int:
        return self._source.count(self._waiting())

    def _waiting(self) -> dict[str, Any]:
        return {"key": self._name, "status": [*map(str, sorted((*WAITING, Status.HELD)))]}
