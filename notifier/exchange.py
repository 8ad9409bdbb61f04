"""The progress of one HTTP request, also if it is cut off; the wait that an answer asks for."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from notifier.attempts import Stage


def retry_after(field: str | None, now: datetime) -> float | None:
    """
    The seconds of a Retry-After, which is a number or a date; None: it says nothing. RFC 9110,
    section 10.2.3.
    """
    text = (field or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())


class Exchange:
    """Give `trace` to the HTTP client as that extension, and call `hang_up` at the end."""

    def __init__(self) -> None:
        self.sent = False  # the other side may have a part of the request
        self.stage = Stage.CONNECT
        self.trouble = ""
        self.ours = False  # this side ended the request, so it says nothing about the other side
        self._stream: Any = None  # connected, and not yet managed by the client

    def give_up(self, reason: str) -> None:
        self.trouble, self.ours = reason, True

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore as its `trace` extension."""
        match event.rpartition(".")[0].rpartition(".")[2], event.rpartition(".")[2]:
            case "connect_tcp", "complete":
                self._stream = info["return_value"]
            case "start_tls", "started":
                self.stage = Stage.TLS
            case "send_request_headers", "started":
                if info["request"].method == b"CONNECT":  # that is for a proxy alone
                    return
                self.sent = True
                self._stream = None

    async def hang_up(self) -> None:
        """Close a connection that was cut off in its handshake, because the client does not."""
        if self._stream is not None:
            await self._stream.aclose()
