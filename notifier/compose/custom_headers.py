"""Check and write the headers that callers may add."""

import re

from notifier.compose.mime import folded, require_text, text_field

# With a longer name no encoded word would fit on its line.
_NAME = re.compile(r"[!-9;-~]{1,50}")
_TEXT = frozenset({"comments", "organization", "thread-topic"})
_TOKENS = frozenset({"feedback-id", "importance", "keywords", "precedence", "priority"}) | {
    "auto-submitted",
    "sensitivity",
    "thread-index",
}
_IDS = frozenset({"in-reply-to", "references"})
_STRUCTURAL = frozenset({"bcc", "cc", "date", "from", "reply-to", "sender", "subject", "to"}) | {
    "authentication-results",
    "delivered-to",
    "errors-to",
    "message-id",
    "mime-version",
    "received",
    "return-path",
}
_STRUCTURAL_STARTS = ("content-", "resent-", "dkim-", "domainkey-", "arc-", "received-")
# These make a provider send to others than the envelope says: SendGrid, SparkPost,
# Mandrill, Netcore. The record of the message would not be true.
_READDRESSING = frozenset({"x-apiheader", "x-mc-bccaddress", "x-msys-api", "x-smtpapi"})
# Other commands that providers and large mail systems obey: other content, other
# times, other accounts and pools, nothing delivered at all.
_COMMANDS = frozenset({"x-binding", "x-job", "x-tenant", "x-virtual-mta", "x-virtualmta"}) | {
    "x-xsmailingid",
    "x-xsmessageid",
}
_COMMAND_STARTS = (
    "x-alidm-",
    "x-elasticemail-",
    "x-greenarrow-",
    "x-infobip-",
    "x-kumo",
    "x-mailersend-",
    "x-mailgun-",
    "x-mailin-",  # Brevo
    "x-mailjet-",
    "x-mc-",  # Mandrill
    "x-mj-",  # Mailjet
    "x-ms-acsemail-",
    "x-ms-exchange-",
    "x-msys-",  # SparkPost
    "x-mt-",  # Mailtrap
    "x-pm-",  # Postmark
    "x-pmta-",  # PowerMTA
    "x-postal-",
    "x-sendgrid-",
    "x-ses-",
    "x-sib-",  # Brevo
    "x-smtp2go-",
    "x-smtpcom-",
    "x-sparkpost-",
    "x-tm-",  # Tipimail
)
_SUBMISSIONS = re.compile(r"no|auto-(?:generated|replied|notified)", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?[^?\s]*\?[BbQq]\?[^?]*\?=")
_IDS_SYNTAX = re.compile(r"<[^<>\s@]+@[^<>\s@]+>(?: +<[^<>\s@]+@[^<>\s@]+>)*")
_FOLD = re.compile(r"(?<=\S) (?=\S)")
_LONGEST = 900  # octets of a word: a line has 998


def custom_field(name: str, value: str, *, restricted: bool) -> bytes:
    """
    The field, ready to be sent. Free text is encoded if necessary; fields that machines read are
    ASCII and sent unchanged. Raises ValueError; for a `restricted` caller also for a field that
    commands a provider to do more than the envelope says.
    """
    kind = name.lower()
    _require_allowed(name, kind, restricted=restricted)
    if kind in _TEXT or kind.startswith("x-"):
        return text_field(name, value, longest=_LONGEST)
    require_text(value)
    value = value.strip(" ")
    if not value.isascii() or not value or _ENCODED_WORD.search(value):
        raise ValueError(f"{name} must be plain ASCII")
    if kind in _IDS and not _IDS_SYNTAX.fullmatch(value):
        raise ValueError(f"{name} must be message ids, `<id@domain>`, separated by spaces")
    if kind == "auto-submitted" and not _SUBMISSIONS.fullmatch(value):
        # RFC 3834, section 5, and RFC 5436, section 2.7.1.
        raise ValueError(f"{name} must be no, auto-generated, auto-replied or auto-notified")
    words = _FOLD.split(value)
    if max(map(len, words)) > _LONGEST:
        raise ValueError(f"a word in it is longer than {_LONGEST} characters")
    return folded(name, words)


def is_command(name: str) -> bool:
    """Whether a field commands a provider to do more than the envelope says."""
    kind = name.lower()
    return kind in _READDRESSING | _COMMANDS or kind.startswith(_COMMAND_STARTS)


def _require_allowed(name: str, kind: str, *, restricted: bool) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("a header's name is 1 to 50 visible ASCII characters without a colon")
    if kind in _STRUCTURAL or kind.startswith(_STRUCTURAL_STARTS):
        raise ValueError(f"{name} cannot be set here: notifier or the relays write it")
    if objection := objection_to_command(name, restricted=restricted):
        raise ValueError(objection)
    if not (kind.startswith(("x-", "list-")) or kind in _TEXT | _TOKENS | _IDS):
        others = ", ".join(sorted(_TEXT | _TOKENS | _IDS))
        raise ValueError(f"{name} is not allowed: X-*, List-* and these are: {others}")


def objection_to_command(name: str, *, restricted: bool) -> str:
    """Why the field may not be set because of what providers do with it; empty: it may."""
    kind = name.lower()
    if kind in _READDRESSING:
        return f"{name} cannot be set here: it can change who receives the message"
    if restricted and (kind in _COMMANDS or kind.startswith(_COMMAND_STARTS)):
        return (
            f"{name} cannot be set with this key: a provider takes it for a command, "
            "which could bypass the key's rules"
        )
    return ""
