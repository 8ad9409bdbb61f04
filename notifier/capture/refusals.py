"""Recipients whom the mailbox refuses because a test said so."""

from collections.abc import Callable

from msgspec import Struct

MOST = 1000  # recipients
USUAL = {4: "4.2.0 refused for a test, for now", 5: "5.1.1 refused for a test"}


class Refusal(Struct, frozen=True):
    """What RCPT is answered. `times`: how often; None: until it is taken back."""

    code: int
    text: str = ""
    times: int | None = None

    @property
    def reply(self) -> str:
        return f"{self.code} {self.text or USUAL[self.code // 100]}"


class Refusals:
    """The refusals by recipient. They are forgotten with the process."""

    def __init__(self) -> None:
        self._refusals: dict[str, Refusal] = {}

    def add(self, address: str, refusal: Refusal) -> None:
        """From now on this recipient is refused. Beyond the limit, the oldest is forgotten."""
        self._refusals.pop(address.lower(), None)
        self._refusals[address.lower()] = refusal
        if len(self._refusals) > MOST:
            del self._refusals[next(iter(self._refusals))]

    def clear(self) -> int:
        """Refuse no recipient any more, and return how many were refused."""
        count = len(self._refusals)
        self._refusals.clear()
        return count

    def forget(self, matches: Callable[[str], bool]) -> int:
        """Stop refusing these recipients, and return how many of them were refused."""
        gone = [address for address in self._refusals if matches(address)]
        for address in gone:
            del self._refusals[address]
        return len(gone)

    def reply(self, address: str) -> str:
        """The reply to RCPT; empty: the recipient is accepted."""
        if not self._refusals:
            return ""
        refusal = self._refusals.get(address.lower())
        if refusal is None:
            return ""
        if refusal.times is not None:
            if refusal.times <= 1:
                del self._refusals[address.lower()]
            else:
                self._refusals[address.lower()] = Refusal(
                    refusal.code, refusal.text, refusal.times - 1
                )
        return refusal.reply
