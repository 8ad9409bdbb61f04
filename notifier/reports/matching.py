"""
Which message and which of its recipients a report is about, and whether it is believed.

A token (see `verp`) is sealed and names both, so it decides alone: what else the report says of
its subject does not count. Without one the report must name the message by its id, in the
envelope id or in the Message-ID that we gave it, of which 80 bits are random. So nobody can report
of a message who has not seen it: only its recipients, the servers between, and who may read it
here. Such a report must also name one of the recipients, unless there is only one.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from notifier.deliveries import Delivery
from notifier.domains import domain_to_ascii
from notifier.recipients import Recipient, part_of
from notifier.reports.report import Report
from notifier.verp import TOKEN_LENGTH, Mark, Verp

_MOST_PATHS = 50  # that are looked at
_TOKEN = re.compile(rf"(?<![A-Za-z2-7])[A-Za-z2-7]{{{TOKEN_LENGTH}}}(?![A-Za-z2-7])")
_ID = re.compile(r"<?\s*([0-9a-f]{32})(?:@[^@<>\s]*)?\s*>?", re.IGNORECASE)


class Subject(Struct, frozen=True):
    """What a report is about, as far as it can be said without the journal."""

    id: str  # of the message
    mark: Mark | None  # of the token; None: there was none


def subject_of(report: Report, verp: Verp) -> Subject | None:
    """The message that a report names. None: no message of this service."""
    if mark := _marked(report.paths, verp):
        return Subject(mark.id, mark)
    for name in (report.envelope_id, report.message_id):
        if found := _ID.fullmatch(name.strip()):
            return Subject(found[1].lower(), None)
    return None


def has_token(paths: Sequence[str], verp: Verp) -> bool:
    """Whether one of these addresses has a token of ours."""
    return _marked(paths, verp) is not None


def _marked(paths: Sequence[str], verp: Verp) -> Mark | None:
    tokens = (token for path in paths[:_MOST_PATHS] for token in _TOKEN.findall(path))
    return next(filter(None, map(verp.read, tokens)), None)


def recipient_of(delivery: Delivery, subject: Subject, report: Report) -> Recipient | None:
    """The recipient that a report names. None: no recipient of the message."""
    if subject.mark is not None:
        named = subject.mark.names
        marked = (
            each
            for each in delivery.recipients
            # Of a text in several parts, each is sent to the address without the part's number.
            if named(each.address) or named(part_of(each.address)[0])
        )
        return next(marked, None)
    if len(delivery.recipients) == 1:
        return delivery.recipients[0]
    by_name = {_same(part_of(each.address)[0]): each for each in reversed(delivery.recipients)}
    found = (by_name.get(_same(name)) for name in report.recipients)
    return next((each for each in found if each is not None), None)


def _same(address: str) -> str:
    """An address in one spelling, because servers change the case of both parts."""
    local, at, domain = address.strip().strip("<>").rpartition("@")
    try:
        domain = domain_to_ascii(domain)
    except ValueError:
        domain = domain.lower()
    return f"{local.lower()}{at}{domain}"
