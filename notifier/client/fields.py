"""The fields of a message as callers give them, and the JSON that the service takes."""

import mimetypes
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
from msgspec import Struct

MOST = 1000  # messages in a batch
BINARY = "application/octet-stream"


class Attachment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that goes with an email. With a `content_id` the HTML can show it: `cid:logo`."""

    filename: str
    content: bytes
    content_type: str = BINARY
    content_id: str | None = None

    @classmethod
    def read(cls, path: Path, *, content_id: str | None = None) -> "Attachment":
        """A file of the disk, with the type that its name tells. Raises OSError."""
        kind, encoding = mimetypes.guess_type(path.name)
        return cls(
            filename=path.name,
            content=path.read_bytes(),
            content_type=kind if kind and not encoding else BINARY,
            content_id=content_id,
        )


class Fields(TypedDict, total=False):
    """
    What a message may say besides its recipients. The service's guide explains each field, and the
    service says which one is wrong. Without `channel` it is an email.
    """

    from_: str  # `Shop <shop@example.org>`; default: the key's, or the service's
    cc: str | Sequence[str]
    bcc: str | Sequence[str]
    reply_to: str
    subject: str
    text: str
    html: str
    attachments: Sequence[Attachment | Path]
    headers: Mapping[str, str]
    template: str
    data: Mapping[str, Any]
    send_at: datetime
    expires_at: datetime
    ttl: int | timedelta  # seconds
    priority: Literal["urgent", "normal", "bulk"]
    collapse_key: str
    reference: str
    tags: str | Sequence[str]
    metadata: Mapping[str, Any]
    user_id: str | int
    on_uncertain: Literal["resend", "hold"]
    notify: Sequence[Literal["failure", "delay", "success"]]
    despite_suppression: bool  # needs a key with `manage`
    channel: Literal["email", "sms"]
    carrier: str  # this and the next ones: of a text message
    long: Literal["split", "refuse", "send"]
    downgrade: bool


class Draft(Fields):
    """A message of a batch: the same fields, and its recipients."""

    to: str | Sequence[str]


_SEVERAL = ("to", "cc", "bcc", "tags")  # one may be given without a list


def encoded(draft: Mapping[str, Any] | msgspec.Raw) -> bytes:
    """
    The JSON of a message; one that is JSON already is left as it is. A field that is None is left
    out. Raises TypeError for a value that JSON cannot hold, ValueError for a time without a zone,
    and OSError for a file that cannot be read.
    """
    if isinstance(draft, msgspec.Raw):
        return bytes(draft)
    fields = {name: value for name, value in draft.items() if value is not None}
    if "from_" in fields:
        fields["from"] = fields.pop("from_")
    text_message = fields.get("channel") == "sms"  # which has one recipient
    for name in _SEVERAL:
        if isinstance(fields.get(name), str) and not (name == "to" and text_message):
            fields[name] = [fields[name]]
    for name in ("send_at", "expires_at"):
        moment = fields.get(name)
        if isinstance(moment, datetime) and moment.tzinfo is None:
            raise ValueError(f"{name} has no time zone; write datetime(..., tzinfo=UTC)")
    if isinstance(ttl := fields.get("ttl"), timedelta):
        fields["ttl"] = round(ttl.total_seconds())
    if "attachments" in fields:
        fields["attachments"] = [
            Attachment.read(each) if isinstance(each, Path) else each
            for each in fields["attachments"]
        ]
    return msgspec.json.encode(fields)


def batch_of(messages: Sequence[bytes]) -> bytes:
    """The JSON of a batch of encoded messages."""
    return b"[" + b",".join(messages) + b"]"
