"""
An email backend for Django 5.2 and later: the `EMAIL_BACKEND` notifier.client.django.EmailBackend,
or a `BACKEND` of `MAILERS` (Django 6.1) with the OPTIONS `url`, `key`, `timeout` and `retry_for`.
"""

import mimetypes
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from email.message import Message as Mime
from email.utils import getaddresses
from functools import lru_cache
from typing import Any, TypeAlias

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from msgspec import Raw

from notifier.client.clients import RETRY_FOR, TIMEOUT, Notifier
from notifier.client.errors import Fault, NotifierError, Problem
from notifier.client.fields import BINARY, MOST, Attachment, encoded
from notifier.client.resources import Message

LARGEST_BATCH = 8_000_000  # octets of JSON in one request; one message alone may be larger
_ADDRESSES = frozenset({"from", "reply-to"})  # header fields that are fields of the API
# Header fields that the service writes or refuses, unless the mail comes as a whole.
_WRITTEN = frozenset({"bcc", "cc", "content-language", "date", "message-id", "mime-version"}) | {
    "sender",
    "to",
}
_BY_HEADER = {
    "reference": "X-Notifier-Reference",
    "tags": "X-Notifier-Tag",
    "priority": "X-Notifier-Priority",
    "send_at": "X-Notifier-Send-At",
}

Ready: TypeAlias = tuple[EmailMessage, Raw]


class EmailBackend(BaseEmailBackend):  # type: ignore[misc]  # Django has no types
    """
    Hands Django's messages to notifier, in one request for as many as fit.

    A message that was accepted has `notifier_id`; one that was not, `notifier_error`. Further
    fields of the API can be set as a dict, `message.notifier_fields = {"tags": ["orders"]}`.
    All are written before the first is sent. If one is wrong, none of its request is sent and the
    error is raised; requests before it were sent, so only what has no `notifier_id` is to repeat;
    with `fail_silently` the others are sent, and nothing is raised.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        retry_for: float = RETRY_FOR,
        fail_silently: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.fail_silently = fail_silently
        self._options = (
            url or getattr(settings, "NOTIFIER_URL", None),
            key or getattr(settings, "NOTIFIER_KEY", None) or None,
            timeout,
            retry_for,
        )

    def send_messages(self, email_messages: Iterable[EmailMessage]) -> int:
        """Hand over the messages, and return how many were accepted."""
        messages = [each for each in email_messages or () if each.recipients()]
        ready: list[Ready] = []
        whole: list[tuple[EmailMessage, bytes]] = []
        for message in messages:
            message.notifier_id = message.notifier_error = None
        for message in messages:  # before any is sent: an error here means that none was
            try:
                if is_plain(message):
                    ready.append((message, Raw(encoded(fields_of(message)))))
                else:
                    whole.append((message, _source_of(message)))
            except Exception as error:
                message.notifier_error = error
                if not self.fail_silently:
                    raise
        for request in _requests(ready):
            self._send(request)
        for message, source in whole:
            self._send_whole(message, source)
        return sum(each.notifier_id is not None for each in messages)

    def _send(self, request: Sequence[Ready]) -> None:
        """The messages of one request."""
        messages = [message for message, _ in request]
        try:
            results = self._results([content for _, content in request])
        except NotifierError as error:
            faults = error.errors if isinstance(error, Problem) else ()
            at_fault = {_place(each) for each in faults}
            for place, message in enumerate(messages):
                if not at_fault or place in at_fault:
                    message.notifier_error = error
            if not self.fail_silently:
                raise
            return
        for message, result in zip(messages, results, strict=True):
            if isinstance(result, Message):
                message.notifier_id = result.id
            else:
                message.notifier_error = result

    def _send_whole(self, message: EmailMessage, source: bytes) -> None:
        """A message that the API's fields do not hold goes as the mail that Django makes of it."""
        client = _client(os.getpid(), *self._options)
        try:
            sent = client.send_source(source, to=_texts(message.recipients()))
        except NotifierError as error:
            message.notifier_error = error
            if not self.fail_silently:
                raise
        else:
            message.notifier_id = sent.id

    def _results(self, contents: Sequence[Raw]) -> Sequence[Message | Problem]:
        client = _client(os.getpid(), *self._options)
        if self.fail_silently:
            return client.batch(contents, permissive=True)
        return client.batch(contents)


@lru_cache(maxsize=16)
def _client(_process: int, url: str | None, key: str | None, *times: float) -> Notifier:
    """One client for all messages of a process, so that connections are used again."""
    timeout, retry_for = times
    return Notifier(url, key, timeout=timeout, retry_for=retry_for)


def _requests(
    ready: Sequence[Ready],
) -> Iterable[Sequence[Ready]]:
    """As many messages in each request as it may have."""
    request: list[Ready] = []
    octets = 0
    for message, content in ready:
        if request and (len(request) == MOST or octets + len(content) > LARGEST_BATCH):
            yield request
            request, octets = [], 0
        request.append((message, content))
        octets += len(content)
    if request:
        yield request


def _place(fault: Fault) -> int | None:
    """The position in the batch of the message that a fault is about."""
    step = (fault.pointer or "").split("/")[1:2]
    return int(step[0]) if step and step[0].isdigit() else None


def is_plain(message: EmailMessage) -> bool:
    """Whether the API has fields for all of it."""
    headers = {str(name).lower(): str(value) for name, value in message.extra_headers.items()}
    replies = [headers["reply-to"]] if "reply-to" in headers else _texts(message.reply_to)
    kinds = [kind for _, kind in getattr(message, "alternatives", ())]
    if message.body or not kinds:
        kinds.append(f"text/{message.content_subtype}")
    return (
        not headers.keys() & _WRITTEN
        and len(getaddresses(replies)) <= 1
        and bool(message.to)  # the others must not see who is in Bcc
        and set(kinds) <= {"text/plain", "text/html"}
        and len(kinds) == len(set(kinds))
        and all(map(_is_file, message.attachments))
    )


def _is_file(attachment: Any) -> bool:
    """Not a message or several parts, which stand in a mail without being encoded. RFC 2046."""
    if isinstance(attachment, Mime):
        return not attachment.is_multipart()
    return not (attachment[2] or "").startswith(("message/", "multipart/"))


def fields_of(message: EmailMessage) -> dict[str, Any]:
    """The fields of a plain message in the API."""
    headers = {str(name): str(value) for name, value in message.extra_headers.items()}
    by_name = {name.lower(): value for name, value in headers.items()}
    replies = [by_name["reply-to"]] if "reply-to" in by_name else _texts(message.reply_to)
    return {
        "from": by_name.get("from", str(message.from_email)),
        "to": _texts(message.to),
        "cc": _texts(message.cc),
        "bcc": _texts(message.bcc),
        "reply_to": replies[0] if replies else None,
        "subject": str(message.subject),
        "headers": {
            name: value for name, value in headers.items() if name.lower() not in _ADDRESSES
        },
        "attachments": [*map(_attachment, message.attachments)],
        **_bodies(message),
        **getattr(message, "notifier_fields", {}),
    }


def _source_of(message: EmailMessage) -> bytes:
    """The whole mail, with its `notifier_fields` as header fields."""
    source = message.message()
    for name, value in _as_headers(getattr(message, "notifier_fields", {})):
        source[name] = value
    written: bytes = source.as_bytes()
    return written


def _as_headers(fields: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The fields that a whole mail can carry. Raises ValueError for another one."""
    for name, value in fields.items():
        if name not in _BY_HEADER:
            known = ", ".join(_BY_HEADER)
            raise ValueError(
                f"notifier_fields: this message goes as a whole mail, which may have "
                f"{known}, and not {name}"
            )
        several = value if name == "tags" and not isinstance(value, str) else [value]
        for each in several:
            yield _BY_HEADER[name], each.isoformat() if isinstance(each, datetime) else str(each)


def _texts(addresses: Iterable[Any]) -> list[str]:
    return [str(each) for each in addresses if each]


def _bodies(message: EmailMessage) -> dict[str, str]:
    """The text and the HTML, of which each may be the body or an alternative."""
    alternatives = getattr(message, "alternatives", ())
    bodies = {"html" if kind == "text/html" else "text": str(each) for each, kind in alternatives}
    if message.body or not bodies:
        bodies["html" if message.content_subtype == "html" else "text"] = str(message.body)
    return bodies


def _attachment(attachment: Any) -> Attachment:
    """A file as Django has it: a MIME part, or name, content and type."""
    if isinstance(attachment, Mime):
        return _from_mime(attachment)
    name, content, kind = attachment
    kind = kind or (name and mimetypes.guess_type(name)[0]) or BINARY
    if isinstance(content, str):
        content = content.encode()
        kind = _in_utf8(kind) if kind.startswith("text/") else kind
    return Attachment(filename=name or _unnamed(kind), content=bytes(content), content_type=kind)


def _in_utf8(kind: str) -> str:
    """The type with this charset, instead of the one that it may have."""
    part = Mime()
    part["Content-Type"] = kind
    part.set_param("charset", "utf-8")
    return str(part["Content-Type"])


def _from_mime(part: Mime) -> Attachment:
    kind = part.get_content_type()
    content = part.get_payload(decode=True)
    charset = part.get_content_charset()
    return Attachment(
        filename=part.get_filename() or _unnamed(kind),
        content=content if isinstance(content, bytes) else b"",
        content_type=f'{kind}; charset="{charset}"' if charset else kind,
        content_id=str(part["Content-ID"]).strip() if part["Content-ID"] else None,
    )


def _unnamed(kind: str) -> str:
    return f"attachment{mimetypes.guess_extension(kind.partition(';')[0]) or '.bin'}"
