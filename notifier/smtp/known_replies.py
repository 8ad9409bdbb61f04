"""
What large providers and common servers answer, and which fault that is: the rows of the policy in
`failures` that go by the words of one of them. Each row names its source.
"""

import re
from typing import TypeAlias

from msgspec import Struct

from notifier.attempts import SLOWER, THROTTLED, TOO_MANY_CONNECTIONS, Stage
from notifier.smtp.replies import Reply

MICROSOFT = "https://learn.microsoft.com/en-us/"
M365_SUBMISSION = MICROSOFT + "exchange/troubleshoot/send-emails/smtp-submission-improvements"
M365_CONNECTIONS = (
    "https://techcommunity.microsoft.com/blog/exchange/"
    "changes-coming-to-the-smtp-authenticated-submission-client-protocol/607825"
)
M365_ERRORS = (
    MICROSOFT
    + "exchange/mail-flow-best-practices/continuous-error-throttling-smtp-auth-submissions"
)
M365_NDR = (
    MICROSOFT + "exchange/troubleshoot/email-delivery/ndr/non-delivery-reports-in-exchange-online"
)
M365_BASIC = (
    "https://techcommunity.microsoft.com/blog/exchange/"
    "exchange-online-to-retire-basic-auth-for-client-submission-smtp-auth/4114750"
)
M365_DEVICES = (
    MICROSOFT + "exchange/mail-flow-best-practices/"
    "how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365"
)
GMAIL = "https://support.google.com/a/answer/3726730"
SES_CODES = "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html"
SES_QUOTAS = "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html"
SES_ERRORS = "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html"
RFC3463 = "https://www.rfc-editor.org/rfc/rfc3463"
EXIM = "https://www.exim.org/exim-html-current/doc/html/spec_html/ch-access_control_lists.html"
POSTFIX = "https://www.postfix.org/TUNING_README.html#conn_limit"
SENDMAIL = "https://www.sendmail.org/~ca/email/doc8.12/cf/m4/anti_spam.html"

# It is about one mailbox over there: the message, or the recipient, waits, and no other.
MAILBOX_BUSY = "mailbox_busy"

Stages: TypeAlias = frozenset[Stage]
EVERY: Stages = frozenset(Stage)
LOGIN: Stages = frozenset({Stage.AUTH})
MAIL: Stages = frozenset({Stage.MAIL})


class KnownReply(Struct, frozen=True, kw_only=True):
    """A reply with this code, enhanced code and words, patterns all, at one of these stages."""

    like: str  # the reply as its sender writes it
    code: str
    enhanced: str = ".*"
    words: str = ""
    fault: str
    source: str
    stages: Stages = EVERY


KNOWN = (
    # Microsoft 365
    KnownReply(
        like="432 4.3.2 Concurrent connections limit exceeded.",
        code="4..",
        words="concurrent connections? limit",
        fault=TOO_MANY_CONNECTIONS,
        source=M365_SUBMISSION,
    ),
    KnownReply(
        like="432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
        code="4..",
        words="sender thread limit",
        fault=TOO_MANY_CONNECTIONS,
        source=M365_CONNECTIONS,
    ),
    KnownReply(
        like="432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded",
        code="4..",
        enhanced="4.3.2",
        words="recipient thread limit",
        fault=MAILBOX_BUSY,
        source=M365_NDR,
    ),
    KnownReply(
        like="432 4.3.2 STOREDRV.Storage; mailbox server is too busy",
        code="4..",
        enhanced="4.3.2",
        words="STOREDRV",
        fault=THROTTLED,
        source=M365_CONNECTIONS,
    ),
    KnownReply(
        like="451 4.7.500 Server busy. Please try again later",
        code="4..",
        enhanced="4.7.[56]..",
        fault=THROTTLED,
        source=M365_NDR,
    ),
    KnownReply(
        like="550 5.1.90 Your message can't be sent because you've reached your daily limit",
        code="5..",
        enhanced="5.1.90",
        fault="quota_exceeded",
        source=M365_NDR,
    ),
    KnownReply(
        like="550 5.7.233 Your tenant has exceeded its daily number of recipients",
        code="5..",
        enhanced="5.7.(232|233|705)",
        fault="quota_exceeded",
        source=M365_NDR,
    ),
    KnownReply(
        like="550 5.2.251 Sender throttled due to continuous mailbox full errors",
        code="5..",
        enhanced="5.2.251",
        fault="quota_exceeded",
        source=M365_ERRORS,
    ),
    KnownReply(
        like="554 5.2.252 SendAsDenied; us@example.org not allowed to send as boss@example.org",
        code="5..",
        enhanced="5.2.252",
        words="SendAsDenied",
        fault="sender_not_allowed",
        source=M365_NDR,
    ),
    KnownReply(
        like="550 5.2.252 Sender throttled due to continuous send as denied errors",
        code="5..",
        enhanced="5.2.25[2-5]",
        fault="account_blocked",
        source=M365_ERRORS,
    ),
    KnownReply(
        like="550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        code="5..",
        enhanced="5.7.60",
        fault="sender_not_allowed",
        source=M365_DEVICES,
    ),
    KnownReply(
        like="535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled",
        code="535",
        enhanced="5.7.139",
        fault="basic_auth_off",
        source=M365_DEVICES,
        stages=LOGIN,
    ),
    KnownReply(
        like="550 5.7.30 Basic authentication is not supported for Client Submission",
        code="5..",
        enhanced="5.7.30",
        words="basic auth",
        fault="basic_auth_off",
        source=M365_BASIC,
    ),
    # Exchange, on the premises as well
    KnownReply(
        like="550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
        code="5..",
        enhanced="5.7.(54|64)",
        fault="relaying_denied",
        source=M365_NDR,
    ),
    KnownReply(
        like="530 5.7.57 Client not authenticated to send mail",
        code="5..",
        enhanced="5.7.57",
        fault="auth_required",
        source=M365_DEVICES,
    ),
    # Gmail and Google Workspace
    KnownReply(
        like="421 4.7.28 Gmail has detected an unusual rate of unsolicited mail",
        code="4..",
        enhanced="4.7.28",
        fault=THROTTLED,
        source=GMAIL,
    ),
    KnownReply(
        like="421 4.7.0 Try again later, closing connection.",
        code="421",
        enhanced="4.7.0",
        words="try again later",
        fault=THROTTLED,
        source=GMAIL,
    ),
    KnownReply(
        like="421 4.4.5 Server busy, try again later.",
        code="4..",
        words="server busy",
        fault=THROTTLED,
        source=GMAIL,
    ),
    KnownReply(
        like="454 4.7.0 Too many login attempts, please try again later.",
        code="4..",
        words="too many login attempts",
        fault=THROTTLED,
        source=GMAIL,
    ),
    KnownReply(
        like="450 4.2.1 The user you are trying to contact is receiving mail too quickly.",
        code="4..",
        enhanced="4.2.1",
        words="receiving mail (too quickly|at a rate)",
        fault=MAILBOX_BUSY,
        source=GMAIL,
    ),
    KnownReply(
        like="450 4.2.1 Peak SMTP relay limit exceeded for customer.",
        code="4..",
        words="smtp relay limit exceeded",
        fault=THROTTLED,
        source=GMAIL,
    ),
    KnownReply(
        like="550 5.4.5 Daily user sending limit exceeded.",
        code="5..",
        enhanced="5.4.5",
        fault="quota_exceeded",
        source=GMAIL,
    ),
    # Amazon SES
    KnownReply(
        like="454 Throttling failure: Daily message quota exceeded",
        code="454",
        words="daily (message|sending) quota exceeded",
        fault="quota_exceeded",
        source=SES_QUOTAS,
    ),
    KnownReply(
        like="454 Throttling failure: Maximum sending rate exceeded",
        code="454",
        words="throttling failure|maximum sending rate",
        fault=THROTTLED,
        source=SES_QUOTAS,
    ),
    KnownReply(
        like="421 Too many concurrent SMTP connections",
        code="421",
        words="too many concurrent smtp connections",
        fault=TOO_MANY_CONNECTIONS,
        source=SES_CODES,
    ),
    KnownReply(
        like="451 4.4.2 Timeout waiting for data from client.",
        code="451",
        words="timeout waiting for data from client",
        fault="closing",
        source=SES_CODES,
    ),
    KnownReply(
        like="554 Message rejected: Email address is not verified.",
        code="554",
        words="email address is not verified",
        fault="identity_not_verified",
        source=SES_ERRORS,
    ),
    # By the enhanced code alone
    KnownReply(
        like="451 4.4.2 idle for too long",
        code="4..",
        enhanced="4.4.2",
        fault="closing",
        source=RFC3463,
        stages=MAIL,
    ),
    KnownReply(
        like="552 5.3.4 Message size exceeds fixed limit",
        code="...",
        enhanced="5.3.4",
        fault="too_large",
        source=RFC3463,
    ),
    KnownReply(
        like="553 5.6.7 Non-ASCII addresses not permitted",
        code="...",
        enhanced="5.6.7",
        fault="smtputf8_not_offered",
        source="https://www.rfc-editor.org/rfc/rfc6531#section-3.5",
    ),
    # By their words
    KnownReply(
        like="450 4.7.1 Error: too much mail from 192.0.2.1",
        code="4..",
        words="too (many|much) (e-?)?mails? from|too many (messages|recipients) from",
        fault=THROTTLED,
        source=POSTFIX,
    ),
    KnownReply(
        like="421 4.7.0 Error: too many connections from 192.0.2.1",
        code="4..",
        words="too many (concurrent |open |smtp )*(connections|sessions)",
        fault=TOO_MANY_CONNECTIONS,
        source=POSTFIX,
    ),
    KnownReply(
        like="421 4.7.0 Connection rate limit exceeded.",
        code="4..",
        words="connections? (rate|count|limit)[a-z ]* exceeded",
        fault=TOO_MANY_CONNECTIONS,
        source=SENDMAIL,
    ),
    KnownReply(
        like="451 Sender rate overlimit - 12.3 / 10s / per_mail",
        code="4..",
        enhanced="(?!4[.][125][.]).*",  # those speak of an address, or of one transaction
        words=(
            r"\brate\b.{0,30}\b(over ?limit|limit|exceed|too high)"
            r"|\b(limit|exceed\w*)\b.{0,30}\brate\b"
            r"|\brate-?limit|throttl|\bslow(ing)? down\b|\btoo (fast|quickly|frequent)"
            r"|too many (messages|mails|emails|requests)|\bper (second|minute|hour)\b"
        ),
        fault=THROTTLED,
        source=EXIM,
    ),
)
# It speaks of one connection, and takes more messages on the next.
OF_ONE_CONNECTION = re.compile(
    r"\b(this|per|one|a|same|the) (smtp )?(connection|session)\b", re.IGNORECASE
)

_CODES = [
    (re.compile(each.code), re.compile(each.enhanced), re.compile(each.words, re.IGNORECASE), each)
    for each in KNOWN
]


def known_fault(stage: Stage, reply: Reply) -> str:
    """The fault that a reply is known to mean, by the first row that fits. Empty: no row fits."""
    code, enhanced, said = str(reply.code), reply.enhanced, reply.line
    for of_code, of_enhanced, words, row in _CODES:
        if (
            of_code.fullmatch(code)
            and of_enhanced.fullmatch(enhanced)
            and words.search(said)
            and stage in row.stages
        ):
            slower = row.fault in SLOWER
            return "" if slower and OF_ONE_CONNECTION.search(said) else row.fault
    return ""
