"""
Reports in the shapes of mail servers and mailbox providers, as small as they can be: what each of
them writes differently from the others.
"""

ID = "0195519f3d40a1b2c3d4e5f60718293a"
RETURNED = f"Message-ID: <{ID}@example.com>\nSubject: Hello\n"


def mail(*parts, kind="multipart/report; report-type=delivery-status", **headers):
    """A mail of these parts, each with the lines of its header first."""
    fields = {"From": "MAILER-DAEMON@mx.example.org", "To": "bounces@example.com"} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    whole = "".join(f"--b1\n{part.strip()}\n\n" for part in parts)
    return f'{lines}Content-Type: {kind}; boundary="b1"\n\n{whole}--b1--\n'.encode()


def status(fields, per_message="Reporting-MTA: dns; mx.example.org", kind="delivery-status"):
    return f"Content-Type: message/{kind}\n\n{per_message}\n\n{fields}"


def failed(fields, words="It failed.", per_message="Reporting-MTA: dns; mx.example.org"):
    """A notification with words, a status, and what was returned."""
    return mail(f"Content-Type: text/plain\n\n{words}", status(fields, per_message), HEADERS)


def prose(words, sender="MAILER-DAEMON@mx.example.org", subject="failure notice", **headers):
    fields = {"From": sender, "To": "{to}", "Subject": subject} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    return f"{lines}\n{words}".encode()


def complaint(fields, returned=RETURNED):
    return mail(
        "Content-Type: text/plain\n\nThis is an abuse report.",
        f"Content-Type: message/feedback-report\n\n{fields}",
        f"Content-Type: message/rfc822\n\n{returned}\nHello",
        kind="multipart/report; report-type=feedback-report",
    )


HEADERS = f"Content-Type: text/rfc822-headers\n\n{RETURNED}"
WHOLE = f"Content-Type: message/rfc822\n\n{RETURNED}\nHello"
TO = "Final-Recipient: rfc822; ann@example.org\n"

# By name: the mail; then state, code, class.
NOTIFICATIONS = {
    "postfix, no mailbox": (
        failed(
            "Final-Recipient: rfc822; ann@example.org\nOriginal-Recipient: rfc822;ann@example.org\n"
            "Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.example.org\n"
            "Diagnostic-Code: smtp; 550 5.1.1 <ann@example.org>: Recipient address rejected: User\n"
            "    unknown in virtual mailbox table",
            per_message="Reporting-MTA: dns; out.example.com\nX-Postfix-Queue-ID: 4c8F2k1QzN\n"
            "X-Postfix-Sender: rfc822; bounces@example.com",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "postfix, delayed": (
        failed(
            TO + "Action: delayed\nStatus: 4.4.1\n"
            "Diagnostic-Code: X-Postfix; connect to mx.example.org[192.0.2.1]:25: timed out\n"
            "Will-Retry-Until: Mon, 2 Mar 2026 09:30:00 +0000"
        ),
        ("delayed", "4.4.1", "unreachable"),
    ),
    "postfix, delivered": (
        failed(
            TO
            + "Action: delivered\nStatus: 2.0.0\nDiagnostic-Code: X-Postfix; delivered to maildir"
        ),
        ("delivered", "2.0.0", "none"),
    ),
    "postfix, relayed": (
        failed(
            TO + "Action: relayed\nStatus: 2.0.0\nRemote-MTA: dns; mx.example.org\n"
            "Diagnostic-Code: smtp; 250 2.0.0 Ok: queued as 12345"
        ),
        ("relayed", "2.0.0", "none"),
    ),
    "postfix, expired": (
        failed(TO + "Action: failed\nStatus: 4.4.7\nDiagnostic-Code: smtp; 450 4.2.0 greylisted"),
        ("bounced", "4.4.7", "unreachable"),
    ),
    "postfix, host not found": (
        failed(
            TO
            + "Action: failed\nStatus: 5.4.4\nDiagnostic-Code: X-Postfix; Host or domain name not"
            "\n    found. Name service error for name=example.org type=AAAA: Host not found"
        ),
        ("bounced", "5.4.4", "no_domain"),
    ),
    "exim, its code says nothing": (
        failed(
            "Action: failed\nFinal-Recipient: rfc822;ann@example.org\nStatus: 5.0.0\n"
            "Remote-MTA: dns; mx.example.org\n"
            "Diagnostic-Code: smtp; 550 5.1.1 No such user here",
            per_message="Reporting-MTA: dns; exim.example.com",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "exim, no code at all": (
        failed(
            "Action: failed\n"
            + TO
            + "Status: 5.0.0\nDiagnostic-Code: smtp; 550 Unrouteable address"
        ),
        ("bounced", "5.0.0", "no_mailbox"),
    ),
    "exchange, full": (
        mail(
            "Content-Type: multipart/alternative; boundary=b2\n\n--b2\nContent-Type: text/plain\n\n"
            "The mailbox is full.\n--b2\nContent-Type: text/html\n\n<p>The mailbox is full.</p>\n"
            "--b2--",
            status(
                "Final-recipient: RFC822;ann@example.org\nAction: failed\nStatus: 5.2.2\n"
                "Diagnostic-code: smtp;554 5.2.2 mailbox full;\n"
                " STOREDRV.Deliver.Exception:QuotaExceededException\nX-Display-Name: Ann",
                "Reporting-MTA: dns;ex01.corp.example",
            ),
            WHOLE,
        ),
        ("bounced", "5.2.2", "full"),
    ),
    "microsoft 365, no mailbox": (
        failed(
            TO + "Action: failed\nStatus: 5.1.10\nDiagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR."
            "RecipientNotFound; Recipient ann@example.org not found by SMTP address lookup",
            per_message="Reporting-MTA: dns;AM0.outlook.example\nReceived-From-MTA: dns;x\n"
            "Arrival-Date: Sun, 1 Mar 2026 09:30:00 +0000",
        ),
        ("bounced", "5.1.10", "no_mailbox"),
    ),
    "microsoft 365, blocked": (
        failed(
            TO
            + "Action: failed\nStatus: 5.7.606\nDiagnostic-Code: smtp;550 5.7.606 Access denied, "
            "banned sending IP [192.0.2.1]"
        ),
        ("bounced", "5.7.606", "policy"),
    ),
    "microsoft 365, no domain": (
        failed(
            TO + "Action: failed\nStatus: 5.4.310\nDiagnostic-Code: smtp;550 5.4.310 DNS domain "
            "example.org does not exist"
        ),
        ("bounced", "5.4.310", "no_domain"),
    ),
    "gmail, no mailbox": (
        failed(
            TO + "Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; gmail-smtp-in.l.google.example.\n"
            "Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not "
            "exist.\nLast-Attempt-Date: Sun, 01 Mar 2026 01:31:00 -0800 (PST)",
            per_message="Reporting-MTA: dns; googlemail.example\n"
            "Arrival-Date: Sun, 01 Mar 2026 01:30:00 -0800 (PST)\nX-Original-Message-ID: <x@y>",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "gmail, disabled": (
        failed(
            TO
            + "Action: failed\nStatus: 5.2.1\nDiagnostic-Code: smtp; 550 5.2.1 The email account "
            "that you tried to reach is disabled."
        ),
        ("bounced", "5.2.1", "disabled"),
    ),
    "gmail, full": (
        failed(
            TO
            + "Action: failed\nStatus: 4.2.2\nDiagnostic-Code: smtp; 452-4.2.2 The email account "
            "that you tried to reach is over quota."
        ),
        ("bounced", "4.2.2", "full"),
    ),
    "gmail, unauthenticated": (
        failed(
            TO + "Action: failed\nStatus: 5.7.26\nDiagnostic-Code: smtp; 550-5.7.26 This mail has "
            "been blocked because the sender is unauthenticated."
        ),
        ("bounced", "5.7.26", "policy"),
    ),
    "sendmail": (
        failed(
            "Final-Recipient: RFC822; <ann@example.org>\nX-Actual-Recipient: RFC822; "
            "ann@mail.example.org\nAction: failed\nStatus: 5.1.1\nRemote-MTA: DNS; mx.example.org\n"
            "Diagnostic-Code: SMTP; 550 5.1.1 <ann@example.org>... User unknown\n"
            "Last-Attempt-Date: Sun, 1 Mar 2026 09:31:00 GMT",
            words="   ----- The following addresses had permanent fatal errors -----",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "sendmail, warning": (
        failed(
            TO + "Action: delayed\nStatus: 4.4.1\nWill-Retry-Until: Fri, 6 Mar 2026 09:30:00 GMT",
            words="**  THIS IS A WARNING MESSAGE ONLY  **",
        ),
        ("delayed", "4.4.1", "unreachable"),
    ),
    "domino": (
        failed(
            "Final-Recipient: RFC822;ann@example.org\nAction: failed\nStatus: 5.1.1\n"
            "Diagnostic-Code: X-Notes; User ann (ann@example.org) not listed in Domino Directory",
            per_message="Reporting-MTA: dns;domino.example.org",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "haraka": (
        failed(
            "Final-Recipient: rfc822;ann@example.org\nAction: failed\nStatus: 5.1.1\n"
            "Remote-MTA: mx.example.org\nDiagnostic-Code: smtp; 550 5.1.1 unknown user",
            per_message="Original-Envelope-Id: 6E1C-4\nReporting-MTA: dns;haraka.example.com",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "opensmtpd, its action is error": (
        failed(
            "Final-Recipient: rfc822; ann@example.org\nAction: error\nStatus: 5.1.1\n",
            words="ann@example.org: 550 5.1.1 No such user",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "amazon ses": (
        failed(
            "Action: failed\nFinal-Recipient: rfc822; ann@example.org\n"
            "Diagnostic-Code: smtp; 550 4.4.7 Message expired: unable to deliver in 840 minutes.\n"
            "Status: 4.4.7",
            per_message="Reporting-MTA: dns; a1-2.smtp-out.amazonses.example",
        ),
        ("bounced", "4.4.7", "unreachable"),
    ),
    "too large": (
        failed(
            TO + "Action: failed\nStatus: 5.3.4\nDiagnostic-Code: smtp; 552 message size exceeds"
        ),
        ("bounced", "5.3.4", "size"),
    ),
    "a list": (
        failed(TO + "Action: expanded\nStatus: 2.1.5\n"),
        ("relayed", "2.1.5", "none"),
    ),
    "no action": (failed(TO + "Status: 5.2.2"), ("bounced", "5.2.2", "full")),
    "an action with a comment": (
        failed(TO + "Action: Failed (given up)\nStatus: 5.4.1 (timeout)"),
        ("bounced", "5.4.1", "unreachable"),
    ),
    "all fields in one group": (
        mail(
            "Content-Type: text/plain\n\nno",
            f"Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n{TO}Action: failed\n"
            "Status: 5.1.1",
            WHOLE,
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "encoded in base64": (
        mail(
            "Content-Type: text/plain\n\nno",
            "Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
            "UmVwb3J0aW5nLU1UQTogZG5zOyB4CgpGaW5hbC1SZWNpcGllbnQ6IHJmYzgyMjsgYW5uQGV4\n"
            "YW1wbGUub3JnCkFjdGlvbjogZmFpbGVkClN0YXR1czogNS4xLjEK",
            WHOLE,
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "an address beyond ascii": (
        mail(
            "Content-Type: text/plain\n\nno",
            status(
                "Final-Recipient: utf-8; ann@example.org\nAction: failed\nStatus: 5.1.1",
                kind="global-delivery-status",
            ),
            f"Content-Type: message/global-headers\n\n{RETURNED}",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "within a mailing list's mail": (
        mail(
            "Content-Type: text/plain\n\nA footer.",
            status(TO + "Action: failed\nStatus: 5.1.1"),
            WHOLE,
            kind="multipart/mixed",
        ),
        ("bounced", "5.1.1", "no_mailbox"),
    ),
    "a complaint of yahoo's shape": (
        complaint(
            "Feedback-Type: abuse\nUser-Agent: Yahoo!-Mail-Feedback/2.0\nVersion: 0.1\n"
            "Original-Mail-From: <bounces@example.com>\nOriginal-Rcpt-To: ann@example.org\n"
            "Received-Date: Sun, 1 Mar 2026 09:31:00 +0000"
        ),
        ("complained", "", "none"),
    ),
    "a complaint of hotmail's shape, without its recipient": (
        complaint("Feedback-Type: abuse\nUser-Agent: Hotmail FBL\nVersion: 1"),
        ("complained", "", "none"),
    ),
}
QMAIL = """\
Hi. This is the qmail-send program at mx.example.org.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ann@example.org>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <bounces@example.com>
"""
EXIM = """\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ann@example.org
    host mx.example.org [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<ann@example.org>:
    550 5.2.2 mailbox is full
"""
# Texts for people: they count where they came to a token.
PROSE = {
    "qmail": (prose(QMAIL), ("bounced", "5.1.1", "no_mailbox")),
    "an old exim": (
        prose(
            EXIM,
            subject="Mail delivery failed: returning message to sender",
            X_Failed_Recipients="ann@example.org",
        ),
        ("bounced", "5.2.2", "full"),
    ),
}
# Mails that come to a return path, too, and are no reports.
OTHERS = {
    "an automatic reply": prose(
        "I am away until Monday.", "ann@example.org", "Automatic reply: Hello"
    ),
    "a vacation": prose(
        "Ann is on vacation. ann@example.org cannot be reached.",
        "ann@example.org",
        "Hello",
        Auto_Submitted="auto-replied",
        Precedence="bulk",
    ),
    "an automatic reply that quotes a bounce": prose(QMAIL, X_Autoreply="yes"),
    "a read receipt": mail(
        "Content-Type: text/plain\n\nIt was read.",
        "Content-Type: message/disposition-notification\n\n"
        f"Final-Recipient: rfc822; ann@example.org\nOriginal-Message-ID: <{ID}@example.com>\n"
        "Disposition: manual-action/MDN-sent-manually; displayed",
        kind="multipart/report; report-type=disposition-notification",
    ),
    "praise": complaint("Feedback-Type: not-spam\nUser-Agent: x\nVersion: 1"),
    "a forwarded notification": mail(
        "Content-Type: text/plain\n\nLook at this.",
        "Content-Type: message/rfc822\n\n"
        + failed(TO + "Action: failed\nStatus: 5.1.1").decode().replace("b1", "b3"),
        kind="multipart/mixed",
    ),
    "spam": prose("Buy now.", "somebody@example.net", "Offer"),
    "nothing": b"",
}
