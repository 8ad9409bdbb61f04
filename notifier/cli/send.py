"""`notifier send`: send a message through a running server."""

import base64
import mimetypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from notifier.cli.client import Client, RequestFailed

MARGIN_SECONDS = 10.0  # for the answer, beyond the time that the server was asked to wait
UNDELIVERED = frozenset({"failed", "expired", "cancelled", "superseded"})


def send(
    client: Client,
    *,
    to: Sequence[str],
    cc: Sequence[str],
    sender: str | None,
    subject: str,
    text: str | None,
    html: TextIO | None,
    attach: Sequence[BinaryIO],
    wait: int | None,
) -> str:
    """Returns the message's id and status. Raises RequestFailed, also if the message failed."""
    if text == "-" or (text is None and html is None):
        text = sys.stdin.read()
    body: dict[str, Any] = {"to": list(to), "subject": subject}
    if cc:
        body["cc"] = list(cc)
    if sender:
        body["from"] = sender
    if text is not None:
        body["text"] = text
    if html is not None:
        body["html"] = html.read()
    if attach:
        body["attachments"] = [_attachment(file) for file in attach]
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    message = client.post(
        "/v1/messages", body, headers=headers, timeout=(wait or 0) + MARGIN_SECONDS
    )
    if not message.keys() >= {"id", "status"}:
        raise RequestFailed(f"{client.url} did not answer with a message; is it notifier?")
    line = f"{message['id']} {message['status']}"
    if message["status"] in UNDELIVERED:
        raise RequestFailed(f"{line}: {message.get('reason', '')}")
    return line


def _attachment(file: BinaryIO) -> dict[str, str]:
    name = Path(file.name).name
    kind, encoding = mimetypes.guess_type(name)
    return {
        "filename": name,
        "content_type": "application/octet-stream" if encoding or not kind else kind,
        "content": base64.b64encode(file.read()).decode(),
    }
