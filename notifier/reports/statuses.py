"""Status codes and states, and what a delivery status notification says of each recipient."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from notifier.recipients import LaterState
from notifier.reports import mails
from notifier.reports.mails import Mail
from notifier.reports.report import Report

MOST_RECIPIENTS = 100

# RFC 3463, section 2; no part of an address, number or version.
_CODE = re.compile(r"(?<![\w.-])([245])\.(\d{1,3})\.(\d{1,3})(?![\w-]|\.\d)")
_STATES = {
    "failed": LaterState.BOUNCED,
    "failure": LaterState.BOUNCED,
    "error": LaterState.BOUNCED,  # OpenSMTPD
    "delayed": LaterState.DELAYED,
    "delivered": LaterState.DELIVERED,
    "relayed": LaterState.RELAYED,
    "expanded": LaterState.RELAYED,
}
_BY_CLASS = {"5": LaterState.BOUNCED, "4": LaterState.DELAYED, "2": LaterState.DELIVERED}
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT = re.compile(r"\\x\{([0-9A-F]{2,5})\}")


def codes(text: str) -> Iterator[str]:
    """The enhanced status codes in a text."""
    return (found[0] for found in _CODE.finditer(text))


def statuses(part: Mail, like: Report) -> Iterator[Report]:
    """
    What a part of the type message/delivery-status reports, RFC 3464. `like` has what is known
    besides.
    """
    blocks = mails.blocks(part)
    envelope_ids = (block.get("Original-Envelope-Id", "") for block in blocks)
    like = replace(like, envelope_id=next(filter(None, envelope_ids), ""))
    for block in blocks[: MOST_RECIPIENTS + 1]:
        if report := _status(block, like):
            yield report


def _status(block: Mail, like: Report) -> Report | None:
    names = mails.all_of(block, ("Original-Recipient", "Final-Recipient"))
    said, diagnosis = block.get("Status", ""), block.get("Diagnostic-Code", "")
    if not names and not said:
        return None  # the fields that are about the whole message
    action = re.split(r"[^a-z]", block.get("Action", "").strip().lower(), maxsplit=1)[0]
    code = next(codes(said), "")
    state = _STATES.get(action) or _BY_CLASS.get(code[:1])
    if state is None:
        return None
    at = mails.date(block.get("Last-Attempt-Date", "")) or like.at
    return replace(
        like,
        state=state,
        at=at,
        code=_finer(code, diagnosis),
        text=_untyped(diagnosis) or said,
        recipients=tuple(_addresses(names)),
    )


def _finer(code: str, diagnosis: str) -> str:
    """The code, or what the server said if the code says only that it failed, as Exim's does."""
    if code and not code.endswith(".0.0"):
        return code
    return next((each for each in codes(diagnosis) if not code or each[0] == code[0]), code)


def _untyped(value: str) -> str:
    """A value without its type: `smtp; 550 no`."""
    kind, semicolon, rest = value.partition(";")
    return (rest if semicolon and re.fullmatch(r"[\w-]+", kind.strip()) else value).strip()


def _addresses(values: Sequence[Any]) -> Iterator[str]:
    """As they stand, and as they were meant: RFC 3461, section 4, and RFC 6533, section 3."""
    for value in values:
        address = _untyped(value)
        yield address
        if "+" in address or "\\x{" in address:
            plain = _XTEXT.sub(lambda found: chr(int(found[1], 16)), address)
            yield _UNITEXT.sub(_character, plain)


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number < 0xD800 or 0xDFFF < number < 0x110000 else found[0]
