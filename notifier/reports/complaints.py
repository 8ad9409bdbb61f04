"""What a complaint says: a reader has called a message spam. RFC 5965."""

from collections.abc import Iterator

from msgspec.structs import replace

from notifier.recipients import LaterState
from notifier.reports import mails
from notifier.reports.mails import Mail
from notifier.reports.report import Report

# What is said about a message by others than its reader, or in its favour.
_NO_COMPLAINTS = frozenset({"not-spam", "auth-failure", "dmarc"})


def complaints(part: Mail, like: Report) -> Iterator[Report]:
    """
    What a part of the type message/feedback-report says. `like` has what is known besides.
    Recipients are often struck out; a token in Original-Mail-From names them all the same.
    """
    for block in mails.blocks(part)[:1]:
        kind = block.get("Feedback-Type", "").strip().lower()
        if not kind or kind in _NO_COMPLAINTS:
            continue
        agent = block.get("User-Agent", "").strip()
        yield replace(
            like,
            state=LaterState.COMPLAINED,
            at=mails.date(block.get("Arrival-Date", "")) or like.at,
            text=f"{kind}, says {agent}" if agent else kind,
            paths=(*like.paths, *mails.all_of(block, ("Original-Mail-From",))),
            envelope_id=block.get("Original-Envelope-Id", ""),
            recipients=mails.all_of(block, ("Original-Rcpt-To", "Removal-Recipient")),
        )
