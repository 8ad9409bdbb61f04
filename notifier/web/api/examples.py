"""What the OpenAPI document shows of each call. Every one is sent for real by a test."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from notifier.attempts import Attempt, Stage
from notifier.deliveries import Delivery
from notifier.housekeeping.history import Minute
from notifier.recipients import Recipient
from notifier.web.api.message_json import MessageList, resource

_AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

_QUEUED = Delivery(
    id="0195519f3d40a1b2c3d4e5f60718293a",
    channel="email",
    subject="Your order has shipped",
    sender="shop@example.org",
    recipients=(Recipient("ann@example.net"),),
    size=1432,
    created_at=_AT,
    due_at=_AT,
    expires_at=_AT + timedelta(hours=48),
    reference="order-1042",
    tags=("orders",),
    metadata={"order": 1042},
    user_id="17",
)
_SENT = _QUEUED.after(
    Attempt(
        relay="smtp.example.org:587",
        started_at=_AT + timedelta(milliseconds=4),
        seconds=0.031,
        stage=Stage.DOT,
        reply="2.0.0 Ok: queued as 4c8F2k1QzN",
        code=250,
        accepted=("ann@example.net",),
    ),
    retry_at=_AT + timedelta(seconds=30),
    now=_AT + timedelta(milliseconds=35),
)

ACCEPTED = resource(_QUEUED)
SENT = resource(_SENT)
COPY = resource(replace(_QUEUED, id="0195519f3d40f60718293a1b2c3d4e5a", copy_of=_QUEUED.id))
LIST = MessageList((SENT,), None)

EMAILS: dict[str, dict[str, Any]] = {
    "text": {
        "to": ["Ann <ann@example.net>"],
        "from": "Shop <shop@example.org>",
        "subject": "Your order has shipped",
        "text": "Dear Ann,\n\nyour order 1042 is on its way.\n",
        "reference": "order-1042",
        "tags": ["orders"],
        "metadata": {"order": 1042},
        "user_id": 17,
    },
    "html": {
        "to": ["ann@example.net", "bob@example.net"],
        "cc": ["office@example.org"],
        "from": "shop@example.org",
        "reply_to": "support@example.org",
        "subject": "Grüße aus dem Laden",
        "html": "<h1>Sale</h1><p>Everything at <b>half the price</b>.</p>",
        "on_uncertain": "hold",
    },
}

TEXTS: dict[str, dict[str, Any]] = {
    "sms": {
        "channel": "sms",
        "to": "+1 202 555 0123",
        "carrier": "US Cellular",
        "text": "Your order 1042 is on its way.",
        "reference": "order-1042",
    },
}
BATCHES = {"two": [EMAILS["text"], TEXTS["sms"]]}
SOURCE = """\
Date: Sun, 01 Mar 2026 09:30:00 +0000
From: Shop <shop@example.org>
To: Ann <ann@example.net>
Subject: Your order has shipped
Message-ID: <0195519f3d40a1b2c3d4e5f60718293a@example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset="utf-8"

Dear Ann,

your order 1042 is on its way.
"""

SIMPLE_EMAILS: dict[str, dict[str, Any]] = {
    "text": {
        "email_to": "ann@example.net",
        "email_from": "shop@example.org",
        "subject": "Your order has shipped",
        "message": "Your order 1042 is on its way.",
        "user_id": 17,
    },
    "html": {
        "email_to": ["ann@example.net", "bob@example.net"],
        "email_from": "shop@example.org",
        "subject": "Sale",
        "message": "<p>Everything at <b>half the price</b>.</p>",
    },
}
SIMPLE_QUEUED = {"result": "queued", "id": _QUEUED.id}
SIMPLE_SENT = {"result": "sent: 250 2.0.0 Ok: queued as 4c8F2k1QzN", "id": _QUEUED.id}

SIMPLE_TEXTS: dict[str, dict[str, Any]] = {
    "gateway": {
        "phone_number": "2025550123",
        "provider": "US Cellular",
        "message": "Your order 1042 is on its way.",
        "user_id": 17,
    },
}
CARRIERS = {
    "items": [
        {
            "id": "att",
            "names": ["AT&T", "ATT", "Cingular"],
            "sms": "txt.att.net",
            "mms": "mms.att.net",
            "country": "US",
            "status": "dead",
            "effective": "2025-06-17",
            "source": "AT&T support article KM1061254",
            "checked": "2026-02-22",
            "host": None,
            "limit": 160,
            "quirks": [],
            "note": "Mail gets a permanent 550; enterprise exceptions may exist.",
        }
    ]
}
CONVERSATION = {
    "id": _QUEUED.id,
    "attempts": [
        {
            "relay": "smtp.example.org:587",
            "started_at": "2026-03-01T09:30:00.004000Z",
            "seconds": 0.031,
            "stage": "dot",
            "code": 250,
            "reply": "2.0.0 Ok: queued as 4c8F2k1QzN",
            "conversation": ["C: MAIL FROM:<shop@example.org>", "S: 250 2.1.0 Ok"],
        }
    ],
    "attempts_dropped": 0,
}
EXPLANATION = {
    "id": _QUEUED.id,
    "status": "deferred",
    "explanation": "1 attempt was made. The last attempt at smtp.example.org:587 ended at rcpt "
    "with 451 4.7.1 Greylisted. The next attempt is at 2026-03-01 09:35:00 UTC.",
    "next_step_at": "2026-03-01T09:35:00Z",
}
RELAY = {
    "name": "smtp.example.org:587",
    "kind": "smtp",
    "host": "smtp.example.org",
    "port": 587,
    "tls": "starttls",
    "state": "open",
    "busy": 0,
    "limit": 1,
    "trouble": {
        "name": "connection_refused",
        "text": "connection refused",
        "at": "2026-03-01T09:30:00Z",
    },
    "opens_at": "2026-03-01T09:30:05Z",
    "sent": 17,
    "failed": 3,
    "token": None,
}
CALLBACK = {
    "key": "shop",
    "url": "https://shop.example.org/notifier",
    "events": ["sent", "failed", "expired", "held", "bounced", "complained"],
    "state": "failing",
    "reason": "503 Service Unavailable",
    "since": "2026-03-01T09:30:00Z",
    "waiting": 3,
    "oldest_waiting_at": "2026-03-01T09:30:00Z",
    "last_answers": [
        {
            "message": _QUEUED.id,
            "event": "sent",
            "at": "2026-03-01T09:30:00Z",
            "answered_at": "2026-03-01T09:30:05Z",
            "code": 503,
            "reply": "Service Unavailable",
            "tries": 2,
            "outcome": None,
        }
    ],
}
MINUTE = Minute(datetime(2026, 3, 1, 9, 30, tzinfo=UTC), 17, 16, 1, 3)
STATS = {
    "paused": False,
    "waiting": 1,
    "rate": 12.5,
    "oldest_due_at": "2026-03-01T09:30:00Z",
    "bounced": 2,
    "counts": {"queued": 1, "sending": 1, "sent": 17},
    "workers": [
        {"message": _QUEUED.id, "route": "relay", "recipients": 1},
        {"message": None, "route": None, "recipients": 0},
    ],
    "reasons": [],
    "relays": [RELAY],
    "minutes": [MINUTE],
    "callbacks": 1,
}
REPORTS = {
    "bounce": """\
From: MAILER-DAEMON@mx.example.org
To: bounces@example.org
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I'm sorry to have to inform you that your message could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
Original-Envelope-Id: 0195519f3d40a1b2c3d4e5f60718293a

Final-Recipient: rfc822; ann@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--b--
""",
}
REPORT_TAKEN = {
    "result": "taken",
    "reports": [
        {
            "result": "taken",
            "why": "",
            "message": _QUEUED.id,
            "recipient": "ann@example.net",
            "later": {
                "state": "bounced",
                "at": "2026-03-01T09:31:00Z",
                "code": "5.1.1",
                "text": "550 5.1.1 User unknown",
                "road": "http",
                "class": "no_mailbox",
            },
        }
    ],
}
AUDIT = {
    "items": [
        {
            "at": "2026-03-01T09:30:00Z",
            "by": "monitor:ann",
            "what": "retry",
            "on": "",
            "count": 17,
            "detail": "status=failed relay=smtp.example.org:587",
        }
    ],
    "next_cursor": None,
}
AUDIT_LINE = (
    '{"at":"2026-03-01T09:30:00Z","by":"cli:root","what":"make-key","on":"shop","count":1,'
    '"detail":"scopes=send"}\n'
)
TEMPLATES = {
    "items": [{"name": "shipped", "parts": ["subject", "text"], "variables": ["name", "order"]}],
    "faults": [],
}
TRIALS: dict[str, dict[str, Any]] = {"shipped": {"data": {"name": "Ann", "order": 1042}}}
PREVIEW: dict[str, Any] = {
    "subject": "Your order has shipped",
    "text": "Dear Ann,\n\nyour order 1042 is on its way.\n",
    "html": None,
    "faults": [],
}
