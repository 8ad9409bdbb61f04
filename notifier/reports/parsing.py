"""Reads the reports in a mail."""

from collections.abc import Callable, Iterator, Sequence

import structlog
from msgspec.structs import replace

from notifier.recipients import LaterState
from notifier.reports import mails
from notifier.reports.mails import Mail
from notifier.reports.prose import in_prose
from notifier.reports.report import Report
from notifier.reports.statuses import statuses

# Fields of a report that may have the address to which it came.
_CAME_TO = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-RCPT-To", "To")
# Fields of the returned mail that may have the return path.
_RETURN_PATHS = ("Return-Path", "X-Return-Path", "X-Envelope-From")

log = structlog.get_logger()
# Kinds of feedback that are not a reader's complaint.
_NO_COMPLAINTS = frozenset({"not-spam", "auth-failure", "dmarc"})


def read_reports(
    mail: bytes, road: str, to: Sequence[str], *, ours: Callable[[Sequence[str]], bool]
) -> list[Report]:
    """
    What a mail reports that came to these addresses (empty: not known); nothing if it is no report.
    `ours`: whether one of the addresses has a token of ours. It takes a while: call it in a thread.
    """
    try:
        return _read(mails.parse(mail), road, to, ours)
    except Exception as error:  # noqa: BLE001  nobody knows what the parsers raise for a damaged mail
        log.warning("report_unreadable", road=road, reason=repr(error)[:200])
        return []


def _read(
    mail: Mail, road: str, to: Sequence[str], ours: Callable[[Sequence[str]], bool]
) -> list[Report]:
    parts = list(mails.parts(mail))
    came_to = (*to, *mails.all_of(mail, _CAME_TO))
    like = Report(
        state=LaterState.BOUNCED, road=road, at=mails.date(mail.get("Date", "")), paths=came_to
    )
    for part in parts:
        match part.get_content_type():
            case "message/delivery-status" | "message/global-delivery-status":
                return list(statuses(part, _with_returned(like, parts)))
            case "message/feedback-report":
                return list(complaints(part, _with_returned(like, parts)))
    report = in_prose(mail, like) if ours(came_to) else None
    return [] if report is None else [report]


def _with_returned(like: Report, parts: Sequence[Mail]) -> Report:
    """The report with what the returned mail says."""
    found = next(filter(None, map(mails.returned, parts)), None)
    if found is None:
        return like
    return Report(
        state=like.state,
        road=like.road,
        at=like.at,
        paths=(*like.paths, *mails.all_of(found, _RETURN_PATHS)),
        message_id=found.get("Message-ID", ""),
    )


def complaints(part: Mail, like: Report) -> Iterator[Report]:
    """
    What a part of the type message/feedback-report says, RFC 5965: a reader has called a message
    spam. `like` has what is known besides. Recipients are often struck out; a token in
    Original-Mail-From names them all the same.
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
