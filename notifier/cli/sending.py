"""`notifier send`: a message from the command line, through a running server."""

import base64
import mimetypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from notifier.cli.client import Client, RequestFailed

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
    """The message's id and status. Raises RequestFailed, also where the outcome is bad."""
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
    message = client.post_message(body, wait=wait)
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
