"""
Bounces that are text for people instead of a delivery status notification, as qmail writes them.

Such a text is easily mistaken, so it counts only if it came to a token of ours. The caller checks
that.
"""

import re
from email.message import Message

from flufl.bounce import all_failures
from msgspec.structs import replace

from notifier.recipients import LaterState
from notifier.reports import mails
from notifier.reports.mails import Mail
from notifier.reports.report import Report
from notifier.reports.statuses import codes

_LONGEST = 64 * 1024  # characters of text
# Fields of an automatic reply, such as an out-of-office note.
_AUTOMATIC = ("X-Autoreply", "X-Autorespond", "X-Auto-Response-Suppress")
_SAYS_AUTOMATIC = re.compile(
    r"\s*(?:automatic reply|auto[- ]?reply|out of (?:the )?office|vacation|abwesen|automatische "
    r"antwort|r.ponse automatique|respuesta autom)",
    re.IGNORECASE,
)
_REPLY = re.compile(r"(?<![\d.])[45]\d\d[ -]")


def in_prose(mail: Mail, like: Report) -> Report | None:
    """The report in a text. None: it is not a bounce. `like` has what is known otherwise."""
    if _is_automatic(mail):
        return None
    delayed, failed = all_failures(_plain(mail))
    if not delayed and not failed:
        return None
    state = LaterState.BOUNCED if failed else LaterState.DELAYED
    addresses = tuple(each.decode("ascii", "replace") for each in sorted(failed or delayed))
    lines = [line.strip() for line in _words(mail)[:_LONGEST].splitlines()]
    first = "5" if failed else "4"
    found = ((code, line) for line in lines for code in codes(line) if code[0] == first)
    code, line = next(found, ("", ""))
    text = line or next(filter(_REPLY.search, lines), "") or _about(addresses, lines)
    return replace(like, state=state, code=code, text=text, recipients=addresses)


def _is_automatic(mail: Mail) -> bool:
    return (
        any(mail.get(name) is not None for name in _AUTOMATIC)
        or mail.get("Precedence", "").strip().lower() == "auto_reply"
        or _SAYS_AUTOMATIC.match(mail.get("Subject", "")) is not None
    )


def _words(mail: Mail) -> str:
    """The first text of a mail."""
    texts = (each for each in mails.parts(mail) if each.get_content_maintype() == "text")
    first = next(texts, None)
    return "" if first is None else mails.text(first)


def _plain(mail: Mail) -> Mail:
    """The mail with its first text alone, so that what it returns is not taken for its words."""
    plain = Message()
    for name in ("From", "Subject", "To"):
        plain[name] = mail.get(name, "")
    plain.set_payload(_words(mail)[:_LONGEST])
    return plain


def _about(addresses: tuple[str, ...], lines: list[str]) -> str:
    """The line after the one that names an address, or that line itself."""
    for place, line in enumerate(lines):
        if any(address in line for address in addresses):
            following = lines[place + 1 : place + 2]
            return following[0] if following and following[0] else line
    return ""
