"""
The record of a delivery: all of it as JSON, but for what was said in its attempts after the first.
That is kept apart, for a list shows none of it and may not pay for twenty of them. The first stays:
most messages have no other, and to write it apart would cost each of them a row more. Both
journals keep records in this form.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from notifier.deliveries import KEPT_FIRST, Delivery, Priority, Route, Status

_STATUS = {status.value: status for status in Status}
_FIELDS = msgspec.structs.fields(Delivery)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode
_decode_lines = msgspec.json.Decoder(tuple[str, ...]).decode


class Unreadable(Exception):
    """A record that this notifier cannot read: a newer one has written it, or it is damaged."""


def encode(delivery: Delivery) -> bytes:
    if len(delivery.attempts) > 1 and any(each.conversation for each in delivery.attempts[1:]):
        first, *others = delivery.attempts
        silent = (replace(each, conversation=()) if each.conversation else each for each in others)
        delivery = replace(delivery, attempts=(first, *silent))
    return _encode(delivery)


def decode(status: str, record: bytes) -> Delivery:
    """
    The delivery. The column is the truth about the status: a claim does not rewrite the record.
    Raises Unreadable.
    """
    try:
        kept = _decode(record)
        true = _STATUS[status]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is one
        raise Unreadable(str(error)) from error
    except KeyError as error:
        raise Unreadable(f"its status {status!r} is unknown") from error
    return kept if kept.status is true else replace(kept, status=true)


def conversations(delivery: Delivery) -> list[tuple[int, bytes]]:
    """
    Those that are kept apart and that its attempts carry: which attempt it was of all that were
    made, and the lines.
    """
    if len(delivery.attempts) < 2:
        return []
    return [
        (_number(place, delivery), _encode(each.conversation))
        for place, each in enumerate(delivery.attempts)
        if place and each.conversation
    ]


def dropped(delivery: Delivery) -> tuple[int, int] | None:
    """The attempts that it keeps no more: from the first of them to before the second number."""
    count = delivery.attempts_dropped
    return (KEPT_FIRST, KEPT_FIRST + count) if count else None


def with_conversations(delivery: Delivery, said: Mapping[int, bytes]) -> Delivery:
    """The delivery with what was said in each of its attempts."""
    attempts = tuple(
        replace(each, conversation=_decode_lines(lines))
        if (lines := said.get(_number(place, delivery))) is not None
        else each
        for place, each in enumerate(delivery.attempts)
    )
    return replace(delivery, attempts=attempts)


def _number(place: int, delivery: Delivery) -> int:
    return place if place < KEPT_FIRST else place + delivery.attempts_dropped


def salvaged(
    why: Unreadable,
    status: str,
    record: bytes,
    *,
    id: str,
    key: str,
    route: str,
    priority: int,
    channel: str,
    created_at: datetime,
) -> Delivery:
    """What can be shown of a delivery whose record cannot be read: by field, and by column."""
    kept: dict[str, Any] = {"subject": "", "sender": "", "recipients": (), "size": 0}
    kept |= {"due_at": created_at, "expires_at": created_at + _LIFE} | _readable_fields(record)
    kept |= {"id": id, "key": key, "channel": channel, "created_at": created_at}
    kept["route"] = next((each for each in Route if each == route), Route.RELAY)
    kept["priority"] = next((each for each in Priority if each == priority), Priority.NORMAL)
    kept["status"] = _STATUS.get(status, Status.HELD)
    kept["reason"] = f"{UNREADABLE}: {why}"
    return Delivery(**kept)


UNREADABLE = "its record cannot be read, a newer notifier may have written it"
_LIFE = timedelta(days=2)


def _readable_fields(record: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(record, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    found = {}
    for each in _FIELDS:
        if each.encode_name in fields:
            try:
                found[each.name] = msgspec.convert(fields[each.encode_name], each.type)
            except msgspec.ValidationError:
                continue
    return found
