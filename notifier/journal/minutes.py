"""Minute <-> row. A minute is known by how many there were since 1970, UTC."""

from datetime import UTC, datetime, timedelta

from notifier.journal import Minute

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def minute_number(at: datetime) -> int:
    return int(at.timestamp()) // 60


def minute_row(process: str, minute: Minute) -> tuple[int, str, int, int, int, int]:
    return (
        minute_number(minute.at), process,
        minute.accepted, minute.sent, minute.failed, minute.waiting,
    )  # fmt: skip


def minute_of(number: int, accepted: int, sent: int, failed: int, waiting: int) -> Minute:
    at = _EPOCH + timedelta(minutes=number)
    return Minute(at, accepted=accepted, sent=sent, failed=failed, waiting=waiting)
