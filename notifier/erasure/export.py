"""
An export: all that notifier keeps of a person, as JSON lines.

The first line names the person, each further line has one item, and the last line has the counts.
Without the last line the export is incomplete.
"""

import base64
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from notifier import __version__
from notifier.clock import utc_now
from notifier.erasure.holdings import AuditRecords, Messages, strikes, suppressions
from notifier.erasure.person import Person, person_of
from notifier.journal import Journal
from notifier.journal.shared_secret import shared_secret
from notifier.pseudonyms import SECRET, Pseudonyms
from notifier.threads import FairThreads

WHAT = "export-recipient"  # as the audit calls it
FIRST, LAST = "export", "end"  # the kinds of the first and the last line
# Places that an export does not cover.
NOT_COVERED = (
    "backups of the journal, such as those of `notifier backup`",
    "copies that relays and SMS providers keep",
    "data of the applications that send messages or receive callbacks",
    "messages and captured mails to others that name the person in their content alone",
    "log lines that were written to a stream, such as standard error",
    "captured mails and log files of other replicas on other machines",
)

PIECE = 3 * 128 * 1024  # octets; of base64 only the last piece may have padding
_CLOSE = b'"}\n'

_encode = msgspec.json.Encoder().encode


class Holder(Protocol):
    """A place that may have data of a person."""

    @property
    def name(self) -> str: ...

    def held(self, person: Person) -> AsyncIterator[dict[str, Any]]:
        """The data, item by item, as JSON objects."""
        ...


class Export:
    """Collects what the journal and the places `beside` it hold. May raise NotifierError."""

    def __init__(
        self,
        journal: Journal,
        threads: FairThreads,
        beside: Sequence[Holder],
        *,
        region: str | None = None,
    ) -> None:
        """`region`: of phone numbers that are written without their country."""
        self._journal = journal
        in_journal = (
            Messages(journal, threads),
            suppressions(journal),
            strikes(journal),
            AuditRecords(journal),
        )
        self._holders: tuple[Holder, ...] = (*in_journal, *beside)
        self._region = region

    async def person(self, written: str) -> Person:
        """Whose address or phone number it is. Raises InvalidMessage, which names `/address`."""
        pseudonyms = Pseudonyms(await shared_secret(self._journal, SECRET))
        return person_of(written, pseudonyms, region=self._region)

    async def pieces(self, person: Person) -> AsyncIterator[bytes]:
        """
        The lines, each with its end; a line with a large content comes in pieces. At most one
        message is in memory at a time. Contents of messages and mails are in base64.
        """
        yield _line(
            FIRST,
            {
                "address": person.address,
                "pseudonym": person.erased,
                "at": utc_now(),
                "version": __version__,
            },
        )
        counts: Counter[str] = Counter()
        for holder in self._holders:
            counts[holder.name] = 0
            async for each in holder.held(person):
                counts[holder.name] += 1
                for piece in _pieces(holder.name, each):
                    yield piece
        yield _line(LAST, {"counts": counts, "not_covered": NOT_COVERED})


def _line(kind: str, item: dict[str, Any]) -> bytes:
    return _encode({"kind": kind, **item}) + b"\n"


def _pieces(kind: str, item: dict[str, Any]) -> Iterator[bytes]:
    """A line, in pieces that are encoded in a few milliseconds each."""
    content = item.get("content")
    if content is None or len(content) <= PIECE:
        yield _line(kind, item)
        return
    others = {name: value for name, value in item.items() if name != "content"}
    yield _line(kind, {**others, "content": ""}).removesuffix(_CLOSE)
    for start in range(0, len(content), PIECE):
        yield base64.b64encode(content[start : start + PIECE])
    yield _CLOSE
