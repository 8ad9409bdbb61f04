"""
Postmark, which sends a secret of ours with each event.

https://postmarkapp.com/developer/webhooks/webhooks-overview
"""

import base64
import binascii
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any

from notifier.recipients import LaterState
from notifier.reports.providers.event import BadSignature, Received, moment, object_of, text
from notifier.reports.report import Report
from notifier.reports.statuses import codes

METADATA = "notifier"  # of the header X-PM-Metadata-notifier, which brings our id
# Kinds of bounces that are not about the message: https://postmarkapp.com/developer/api/bounce-api
_IGNORED = {
    "AutoResponder",
    "AddressChange",
    "Subscribe",
    "Unsubscribe",
    "ChallengeVerification",
    "OpenRelayTest",
    "VirusNotification",
    "DMARCPolicy",
    "TemplateRenderingFailed",
}
_DELAYED = {"Transient", "DnsError", "SoftBounce"}
_COMPLAINTS = {"SpamComplaint"}


class Postmark:
    """Reads deliveries, bounces and complaints."""

    name = "postmark"

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def read(self, received: Received) -> Sequence[Report]:
        self._check(received.headers.get("authorization", ""))
        event = object_of(received.body)
        state = _state(event)
        if state is None:
            return []
        kind, words = text(event, "Name"), text(event, "Details") or text(event, "Description")
        report = Report(
            state=state,
            road=self.name,
            at=moment(text(event, "BouncedAt") or text(event, "DeliveredAt")),
            code=next(codes(words), ""),
            text=f"{kind}: {words}" if kind and words else kind or words,
            envelope_id=_marked(event.get("Metadata")),
            recipients=(text(event, "Email") or text(event, "Recipient"),),
        )
        return [report]

    def _check(self, authorization: str) -> None:
        """The secret is the password of HTTP Basic (RFC 7617), or a bearer token."""
        scheme, _, given = authorization.partition(" ")
        shown = given.strip().encode(errors="replace")
        if scheme.lower() == "basic":
            try:
                _, _, shown = base64.b64decode(shown, validate=True).partition(b":")
            except binascii.Error:
                shown = b""
        if not shown or not compare_digest(shown, self._secret):
            raise BadSignature(
                "the secret of postmark is wrong or missing; write it into the URL of the webhook,"
                " https://notifier:SECRET@HOST/v1/reports/postmark"
            )


def _state(event: dict[str, Any]) -> LaterState | None:
    kind = text(event, "Type")
    match text(event, "RecordType"):
        case "Delivery":
            return LaterState.DELIVERED
        case "SpamComplaint":
            return LaterState.COMPLAINED
        case "Bounce" if kind in _COMPLAINTS:
            return LaterState.COMPLAINED
        case "Bounce" if kind in _DELAYED:
            return LaterState.DELAYED
        case "Bounce" if kind not in _IGNORED:
            return LaterState.BOUNCED
    return None


def _marked(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        return ""
    found = (value for name, value in metadata.items() if name.lower() == METADATA)
    return next((value for value in found if isinstance(value, str)), "")[:100]
