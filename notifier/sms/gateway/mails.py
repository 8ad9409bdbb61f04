"""
The mails that a carrier's gateway turns into texts, and how they are sent.

A long text is several mails: one delivery, whose parts are accepted or refused one by one.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from notifier.attempts import Acceptance, Attempt, Envelope, Failure, Transport
from notifier.messages import Email, Sms
from notifier.recipients import part_of
from notifier.sms.gateway.carriers import Carrier, Quirk
from notifier.sms.numbers import Number
from notifier.sms.segments import Limit, split, text_of

LINES_KEPT = 120  # of the conversations; the last ones
_BETWEEN = b"\0"  # no mail contains it: RFC 5322, section 2.2 and RFC 2045, section 2.7


def to_emails(sms: Sms, carrier: Carrier, *, number: Number, sender: str | None) -> list[Email]:
    """
    One mail for each text, each to one recipient, without subject and HTML. Raises InvalidMessage
    if the text is too long and must not be split.
    """
    spare = len(sender or "") + 1 if Quirk.ADDRESS_COUNTS in carrier.quirks else 0
    texts = split(text_of(sms), long=sms.long, limit=Limit.within(carrier.limit, spare=spare))
    return [
        Email(
            to=(f"{number.national}@{carrier.sms}",),
            sender=sender,
            text=text,
            reference=sms.reference,
            tags=sms.tags,
            metadata=sms.metadata,
            user_id=sms.user_id,
            on_uncertain=sms.on_uncertain,
        )
        for text in texts
    ]


def join(mails: Sequence[bytes]) -> bytes:
    """The content of a delivery of several mails."""
    if any(_BETWEEN in mail for mail in mails):
        raise ValueError("there is a NUL in a composed mail")
    return _BETWEEN.join(mails)


class Parts:
    """
    Sends the pending parts of a text one after another, so that they leave in order. If a part
    fails, the parts after it are not tried. A delivery of one mail passes through unchanged.
    """

    def __init__(self, mails: Transport) -> None:
        """`mails`: the relays, or a stand-in."""
        self._mails = mails
        self._aborted = False

    def room(self) -> int:
        return self._mails.room()

    @property
    def paced(self) -> bool:
        return self._mails.paced

    async def wait_for_room(self) -> None:
        await self._mails.wait_for_room()

    def abort_all(self) -> None:
        """Abort the part under way, and begin no further part."""
        self._aborted = True
        self._mails.abort_all()

    async def send(self, envelope: Envelope, content: bytes) -> Attempt:
        if not part_of(envelope.recipients[0])[1]:
            return await self._mails.send(envelope, content)
        mails = content.split(_BETWEEN)
        started_at, start = datetime.now(UTC), time.monotonic()
        attempts: list[Attempt] = []
        failures: dict[str, Failure] = {}
        taken: dict[str, Acceptance] = {}
        for position, recipient in enumerate(envelope.recipients):
            address, part = part_of(recipient)
            one = replace(envelope, recipients=(address,))
            attempt = await self._mails.send(one, mails[part - 1])
            attempts.append(attempt)
            if said := attempt.acceptance(address):
                taken[recipient] = said
                if self._aborted:
                    break
                continue
            if failure := attempt.failures.get(address):
                # A number that was refused for one part is refused for all parts.
                lost = envelope.recipients[position:] if failure.final else (recipient,)
                failures |= dict.fromkeys(lost, failure)
            break
        last = attempts[-1]
        lines = tuple(line for each in attempts for line in each.conversation)
        return replace(
            last,
            started_at=started_at,
            seconds=time.monotonic() - start,
            accepted=tuple(taken),
            acceptances=taken,
            failures=failures,
            conversation=lines[-LINES_KEPT:],
        )
