"""Reports as mail servers write them, about messages that a test sent."""

PATH = "bounces+*@example.org"


def dsn(recipient, *, to="", action="failed", status="5.1.1", envelope_id="", message_id=""):
    """A delivery status notification, RFC 3464, in which a server that we do not know reports."""
    known = f"Original-Envelope-Id: {envelope_id}\n" if envelope_id else ""
    returned = f"Message-ID: {message_id}\n" if message_id else ""
    text = f"""\
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: {to or "bounces@example.org"}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain; charset=us-ascii

I could not deliver your message.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
{known}
Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 {status} <{recipient}>: User unknown

--b
Content-Type: text/rfc822-headers

{returned}Subject: Hello

--b--
"""
    return text.replace("\n", "\r\n").encode()


def out_of_office(to):
    """What a person's mailbox answers by itself."""
    text = f"""\
From: ann@example.org
To: {to}
Subject: Automatic reply: Hello
Auto-Submitted: auto-replied

I am away until Monday.
"""
    return text.replace("\n", "\r\n").encode()
