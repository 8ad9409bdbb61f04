"""Reads a mail that is submitted as a whole: its fields say how it is treated and who gets it."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from notifier.attempts import USUAL_REPORTS, Notify
from notifier.compose.source import OURS, addresses, split, text_of, values
from notifier.errors import Fault, InvalidMessage
from notifier.intake.submission import IdempotencyKey
from notifier.messages import HeaderField, Label, Moment, Source

NAMED_IN = ("to", "cc", "bcc")  # the fields that name recipients
MOST_ADDRESSES = 64 * 1024  # characters of these fields
# A caller's own key holds no space, so it can never be one that is made of a Message-ID.
BY_MESSAGE_ID = "message-id "


class Treatment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a mail is treated, as its X-Notifier fields or the query of a request say."""

    reference: Label | None = None
    tags: Annotated[tuple[Label, ...], Meta(max_length=20)] = ()
    priority: Literal["urgent", "normal", "bulk"] | None = None
    send_at: Moment | None = None
    expires_at: Moment | None = None
    ttl: int | None = None
    collapse_key: Label | None = None
    user_id: Label | None = None
    idempotency_key: Annotated[str, Meta(pattern=r"^[!-~]{1,255}(?![\s\S])")] | None = None


FIELDS = {
    f"{OURS}reference": "reference",
    f"{OURS}tag": "tags",
    f"{OURS}priority": "priority",
    f"{OURS}send-at": "send_at",
    f"{OURS}idempotency-key": "idempotency_key",
}


def read_source(
    content: bytes,
    *,
    to: Sequence[str] = (),
    sender: str = "",
    smtputf8: bool = False,
    notify: tuple[Notify, ...] = USUAL_REPORTS,
    asked: Treatment | None = None,
    protocol: str,
) -> tuple[Source, IdempotencyKey | None]:
    """
    The mail, and the key by which a repeated one is recognized: the caller's, else one that is made
    of the envelope and the Message-ID. Without `to` the mail names its recipients. What is `asked`
    for takes precedence over what the mail says. Raises InvalidMessage.
    """
    fields, body = split(content)
    treatment = _treatment(fields)
    if asked is not None:
        treatment = msgspec.structs.replace(treatment, **_given(asked))
    kept = tuple([each for each in fields if not each[0].startswith(OURS)])
    if not to:
        to = _named(fields)
    source = Source(
        to=tuple(dict.fromkeys(to)),
        sender=sender,
        fields=kept,
        body=body,
        smtputf8=smtputf8,
        notify=notify,
        reference=treatment.reference,
        tags=treatment.tags,
        priority=treatment.priority or "normal",
        send_at=treatment.send_at,
        expires_at=treatment.expires_at,
        ttl=treatment.ttl,
        collapse_key=treatment.collapse_key,
        user_id=treatment.user_id,
    )
    return source, _idempotency(source, treatment.idempotency_key, protocol)


def _treatment(fields: Sequence[HeaderField]) -> Treatment:
    given: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, field in fields:
        if not name.startswith(OURS):
            continue
        kind = FIELDS.get(name)
        text = text_of(field)
        if kind is None:
            known = ", ".join(map(_written, FIELDS))
            faults.append(Fault(f"/{_written(name)}", f"there is no such field; known: {known}"))
        elif kind == "tags":
            given.setdefault(kind, []).extend(filter(None, map(str.strip, text.split(","))))
        elif kind in given:
            faults.append(Fault(f"/{_written(name)}", "must be given only once"))
        else:
            given[kind] = text
    # One by one, so that each fault names its field.
    for name, kind in FIELDS.items():
        if kind in given:
            try:
                msgspec.convert({kind: given[kind]}, Treatment)
            except msgspec.ValidationError as error:
                said = str(error).partition(" - at ")[0]
                faults.append(Fault(f"/{_written(name)}", said))
    if faults:
        raise InvalidMessage(*faults)
    return msgspec.convert(given, Treatment)


def _given(treatment: Treatment) -> dict[str, Any]:
    found = msgspec.structs.asdict(treatment)
    return {name: value for name, value in found.items() if value not in (None, ())}


def _written(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _named(fields: Sequence[HeaderField]) -> list[str]:
    found: list[str] = []
    faults: list[Fault] = []
    for name in NAMED_IN:
        text = ",".join(values(fields, name))
        if len(text) > MOST_ADDRESSES:
            faults.append(Fault(f"/{name}", f"it has more than {MOST_ADDRESSES} characters"))
            continue
        try:
            found += addresses(text)
        except ValueError as error:
            faults.append(Fault(f"/{name}", str(error)))
    if faults:
        raise InvalidMessage(*faults)
    return found


def _idempotency(source: Source, key: str | None, protocol: str) -> IdempotencyKey | None:
    """
    A client that repeats a mail may have composed it again, with another Date and other boundaries.
    So a key of the caller's stands for the envelope and the subject, not for each octet.
    """
    digest = blake2b(f"{protocol}\0{source.sender}".encode(), digest_size=20)
    for each in sorted(source.to):
        digest.update(b"\0" + each.encode(errors="surrogateescape"))
    if key is not None:
        for subject in values(source.fields, "subject"):
            digest.update(b"\0\0" + subject.encode())
        return IdempotencyKey(key, digest.digest())
    message_ids = values(source.fields, "message-id")
    if len(message_ids) != 1 or not message_ids[0]:
        return None
    digest.update(b"\0\0" + message_ids[0].encode())
    return IdempotencyKey(BY_MESSAGE_ID + digest.hexdigest(), digest.digest())
