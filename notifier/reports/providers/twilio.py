"""
Twilio, whose status callbacks say whether a text message arrived.

* https://www.twilio.com/docs/usage/webhooks/webhooks-security
* https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
"""

import base64
import hmac
from collections.abc import Sequence
from urllib.parse import parse_qs, parse_qsl

from notifier.recipients import LaterState
from notifier.reports.providers.event import BadSignature, Received, Unreadable
from notifier.reports.report import Report

MESSAGE = "message"  # the parameter of the URL that names our message
MOST_FIELDS = 200
_STATES = {
    "sent": LaterState.RELAYED,  # a carrier has it; some never report more
    "delivered": LaterState.DELIVERED,
    "read": LaterState.DELIVERED,
    "undelivered": LaterState.BOUNCED,
    "failed": LaterState.BOUNCED,
}


class Twilio:
    """Reads status callbacks. `url` is where Twilio sends them: it is a part of what is signed."""

    name = "twilio"

    def __init__(self, token: str, url: str) -> None:
        self.url = url
        self._token = token.encode()

    def callback(self, id: str) -> str:
        """The URL for the status of one message."""
        return f"{self.url}?{MESSAGE}={id}"

    async def read(self, received: Received) -> Sequence[Report]:
        try:
            pairs = parse_qsl(
                received.body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS
            )
        except ValueError:
            raise Unreadable("the body must be a form") from None
        self._check(received, pairs)
        form = dict(pairs)
        state = _STATES.get(form.get("MessageStatus", ""))
        ids = parse_qs(received.query, max_num_fields=MOST_FIELDS).get(MESSAGE, [""])
        if state is None:
            return []
        code, words = form.get("ErrorCode", ""), form.get("ErrorMessage", "")
        said = f"Twilio says {form['MessageStatus']}"
        report = Report(
            state=state,
            road=self.name,
            text=": ".join(filter(None, (said, f"{code} {words}".strip()))),
            envelope_id=ids[0],
            recipients=(form.get("To", ""),),
        )
        return [report]

    def _check(self, received: Received, pairs: Sequence[tuple[str, str]]) -> None:
        """Twilio signs the URL, and each field's name and value in order of their names."""
        url = f"{self.url}?{received.query}" if received.query else self.url
        signed = url + "".join(f"{name}{value}" for name, value in sorted(set(pairs)))
        right = base64.b64encode(hmac.digest(self._token, signed.encode(), "sha1"))
        given = received.headers.get("x-twilio-signature", "").encode(errors="replace")
        if not hmac.compare_digest(given, right):
            raise BadSignature(
                "the signature was not made with the token of twilio for this URL; url in"
                " NOTIFIER_REPORT_SECRETS must be what Twilio calls"
            )
