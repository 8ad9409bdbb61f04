"""Sign what is sent. Standard Webhooks 1.0.0, https://www.standardwebhooks.com."""

import base64
import hmac
from collections.abc import Sequence
from datetime import datetime

from notifier.keys.callback import secret_bytes


def signed_headers(id: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The header fields of one try: one signature for each secret, so that secrets can rotate."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(content, secret) for secret in secrets),
    }


def _signature(content: bytes, secret: str) -> str:
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), content, "sha256")).decode()
