"""
Mailgun, which signs a time and a random word.

* https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
* https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads
"""

import hmac
import time
from collections.abc import Sequence
from typing import Any

from notifier.recipients import LaterState
from notifier.reports.providers.event import (
    BadSignature,
    Received,
    check_age,
    moment,
    object_of,
    text,
)
from notifier.reports.report import Report
from notifier.reports.statuses import codes


class Mailgun:
    """Reads failures, deliveries and complaints."""

    name = "mailgun"

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    async def read(self, received: Received) -> Sequence[Report]:
        whole = object_of(received.body)
        self._check(whole.get("signature"))
        event = whole.get("event-data")
        state = _state(event)
        if state is None:
            return []
        status = event.get("delivery-status") if isinstance(event, dict) else None
        words = text(status, "message") or text(status, "description") or text(event, "reason")
        report = Report(
            state=state,
            road=self.name,
            at=moment(text(event, "timestamp")),
            code=text(status, "enhanced-code") or next(codes(words), ""),
            text=" ".join(filter(None, (text(status, "code"), words))),
            paths=tuple(filter(None, (text(event, "envelope", "sender"),))),
            message_id=text(event, "message", "headers", "message-id"),
            recipients=(text(event, "recipient"),),
        )
        return [report]

    def _check(self, signature: Any) -> None:
        timestamp, token = text(signature, "timestamp"), text(signature, "token")
        right = hmac.new(self._key, f"{timestamp}{token}".encode(), "sha256").hexdigest()
        given = (text(signature, "signature"), text(signature, "parent-signature"))
        if not any(hmac.compare_digest(each.encode(), right.encode()) for each in given):
            raise BadSignature("the signature was not made with the signing key of mailgun")
        check_age(timestamp, now=time.time())


def _state(event: Any) -> LaterState | None:
    match text(event, "event"):
        case "delivered":
            return LaterState.DELIVERED
        case "complained":
            return LaterState.COMPLAINED
        case "failed" if text(event, "severity") == "temporary":
            return LaterState.DELAYED
        case "failed" | "rejected":
            return LaterState.BOUNCED
    return None
