"""
A delivery as a row, in both journals: columns to search by, and the record, which is the whole
delivery as JSON.

The conversations of the second and later attempts have rows of their own, because lists do not show
them and should not read them. The first conversation stays in the record: most messages have no
other, and a row for it would make each message dearer.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from notifier.deliveries import KEPT_FIRST, WAITING, Delivery, Priority, Route, Status

Value: TypeAlias = str | int | bytes | bytearray | None

# The columns that change in a delivery's life, and those that do not.
CHANGING = (
    "status", "route", "relay", "due_at", "expires_at", "collapse_key", "finished_at", "held_at",
    "bounced", "record",
)  # fmt: skip
LASTING = ("id", "key", "priority", "channel", "created_at")
# What stands for NULL among the values of these columns: before Python 3.12 sqlite3 takes 0.3 µs to
# bind None, ten times as long as for a number. (And 0.8 µs for bytes, but 0.1 for a bytearray.)
_NOTHING = {
    "relay": "''", "due_at": "0", "expires_at": "0", "collapse_key": "''", "finished_at": "0",
    "held_at": "0", "bounced": "0",
}  # fmt: skip

UNREADABLE = "the record of the message cannot be read; a newer notifier may have written it"

_STATUS = {status.value: status for status in Status}
_FIELDS = msgspec.structs.fields(Delivery)
_LIFE = timedelta(days=2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode
_decode_lines = msgspec.json.Decoder(tuple[str, ...]).decode


class Unreadable(Exception):
    """A record that this notifier cannot read: a newer one wrote it, or it is damaged."""


def micros(at: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)


def known_status(status: str) -> Status | None:
    """The status. None: a newer notifier knows it, this one does not."""
    return _STATUS.get(status)


def stored(column: str, value: str) -> str:
    """The SQL of what a column gets for its value, itself a piece of SQL, as `changing` has it."""
    if column not in _NOTHING:
        return value
    # nullif is a function, and SQLite prepares for a function to fail: see `claims`.
    return f"CASE WHEN {value} <> {_NOTHING[column]} THEN {value} END"


def changing(delivery: Delivery) -> tuple[Value, ...]:
    """The values of CHANGING, with 0 or an empty text in place of NULL; see `stored`."""
    status = delivery.status
    waits = status in WAITING
    finished_at = delivery.finished_at
    # No generator: each change of a message comes here.
    bounced = [each for each in delivery.recipients if each.later is not None and each.bounced]
    return (
        str(status),
        delivery.queue,
        delivery.attempts[-1].relay if delivery.attempts else "",
        micros(delivery.due_at) if waits else 0,
        micros(delivery.expires_at) if waits else 0,
        delivery.collapse_key if waits else "",
        0 if finished_at is None else micros(finished_at),
        micros(delivery.held_at) if status is Status.HELD else 0,
        1 if bounced else 0,
        bytearray(_encode(delivery if len(delivery.attempts) < 2 else _silenced(delivery))),
    )


# The values of LASTING without the last, which are what the delivery has. `real` is a plain number.
lasting = attrgetter("id", "key", "priority.real", "channel")


def terms(delivery: Delivery) -> set[str]:
    """The exact values by which the delivery can be found, each with its filter's name in front."""
    found = {f"to:{recipient.address.lower()}" for recipient in delivery.recipients}
    if delivery.tags:
        found.update(f"tag:{tag}" for tag in delivery.tags)
    if delivery.user_id:
        found.add(f"user_id:{delivery.user_id}")
    if delivery.reference:
        found.add(f"reference:{delivery.reference}")
    return found


def queues_of_waiting(deliveries: Iterable[Delivery]) -> list[str]:
    """The queues of the deliveries that wait."""
    return [each.queue for each in deliveries if each.status in WAITING]


def _silenced(delivery: Delivery) -> Delivery:
    """As the record has it: what was said in later attempts has rows of its own."""
    if not any(each.conversation for each in delivery.attempts[1:]):
        return delivery
    first, *others = delivery.attempts
    silent = (replace(each, conversation=()) if each.conversation else each for each in others)
    return replace(delivery, attempts=(first, *silent))


def decode(status: str, record: bytes) -> Delivery:
    """
    The delivery of a record. The status comes from the column, because a claim does not rewrite the
    record. Raises Unreadable.
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
    """Each conversation that has a row of its own, by the attempt's number."""
    if len(delivery.attempts) < 2:
        return []
    return [
        (_number(place, delivery), _encode(each.conversation))
        for place, each in enumerate(delivery.attempts)
        if place and each.conversation
    ]


def dropped(delivery: Delivery) -> tuple[int, int] | None:
    """The numbers of the attempts that are not kept: the first, and the one after the last."""
    count = delivery.attempts_dropped
    return (KEPT_FIRST, KEPT_FIRST + count) if count else None


def with_conversations(delivery: Delivery, lines: Mapping[int, bytes]) -> Delivery:
    """The delivery with the conversations of its attempts, by the attempt's number."""
    attempts = tuple(
        replace(each, conversation=_decode_lines(said))
        if (said := lines.get(_number(place, delivery))) is not None
        else each
        for place, each in enumerate(delivery.attempts)
    )
    return replace(delivery, attempts=attempts)


def _number(place: int, delivery: Delivery) -> int:
    """An attempt's number among all attempts, from its place among the kept ones."""
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
    created_at: int,
) -> Delivery:
    """What can be shown of a delivery whose record cannot be read, from its fields and columns."""
    created = moment(created_at)
    kept: dict[str, Any] = {"subject": "", "sender": "", "recipients": (), "size": 0}
    kept |= {"due_at": created, "expires_at": created + _LIFE} | _readable_fields(record)
    kept |= {"id": id, "key": key, "channel": channel, "created_at": created}
    name, _, kept["chain"] = route.partition(":")
    kept["route"] = next((each for each in Route if each == name), Route.RELAY)
    kept["priority"] = next((each for each in Priority if each == priority), Priority.NORMAL)
    kept["status"] = _STATUS.get(status, Status.HELD)
    kept["reason"] = f"{UNREADABLE}: {why}"
    return Delivery(**kept)


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
