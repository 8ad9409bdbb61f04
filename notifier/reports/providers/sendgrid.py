"""
SendGrid, which signs each request with a key of elliptic curves. Needs the extra `reports`.

* https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
* https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

import base64
import binascii
import time
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from notifier.recipients import LaterState
from notifier.reports.providers.event import (
    BadSignature,
    Received,
    Unreadable,
    check_age,
    json_of,
    moment,
    text,
)
from notifier.reports.report import Report
from notifier.reports.statuses import codes

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_STATES = {
    "delivered": LaterState.DELIVERED,
    "deferred": LaterState.DELAYED,
    "bounce": LaterState.BOUNCED,
    "dropped": LaterState.BOUNCED,
    "spamreport": LaterState.COMPLAINED,
}


class SendGrid:
    """Reads deliveries, delays, bounces and complaints, many in one request."""

    name = "sendgrid"

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self._key = key

    async def read(self, received: Received) -> Sequence[Report]:
        self._check(received)
        events = json_of(received.body)
        if not isinstance(events, list):
            raise Unreadable("the body must be a list of events")
        return list(_reports(events))

    def _check(self, received: Received) -> None:
        timestamp = received.headers.get(TIMESTAMP, "")
        try:
            signature = base64.b64decode(received.headers.get(SIGNATURE, ""), validate=True)
            signed = timestamp.encode() + received.body
            self._key.verify(signature, signed, ECDSA(hashes.SHA256()))
        except (InvalidSignature, binascii.Error, ValueError):
            raise BadSignature("the signature was not made with the key of sendgrid") from None
        check_age(timestamp, now=time.time())


def public_key(text: str) -> EllipticCurvePublicKey:
    """The verification key as SendGrid shows it, in base 64. Raises ValueError."""
    try:
        key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
        if isinstance(key, EllipticCurvePublicKey):
            return key
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise ValueError("it must be the verification key as SendGrid shows it, in base 64")


def _reports(events: Sequence[Any]) -> Iterator[Report]:
    for event in events:
        state = _STATES.get(text(event, "event"))
        if state is None:
            continue
        words = text(event, "reason") or text(event, "response")
        if text(event, "event") == "dropped":
            words = f"SendGrid dropped it: {words}"
        yield Report(
            state=state,
            road=SendGrid.name,
            at=moment(text(event, "timestamp")),
            code=next(codes(text(event, "status")), "") or next(codes(words), ""),
            text=words,
            message_id=text(event, "smtp-id"),
            recipients=(text(event, "email"),),
        )
