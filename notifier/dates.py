"""The Date field of mail: RFC 5322, sections 3.3 and 3.6.1."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

_MONTHS = "   JanFebMarAprMayJunJulAugSepOctNovDec"
_DAYS = "MonTueWedThuFriSatSun"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELD = b"\r\nDate: "


@lru_cache(maxsize=64)  # most mails are of the same few seconds
def date(second: int) -> str:
    """Write a time, in whole seconds since 1970, as the value of a Date field."""
    at = _EPOCH + timedelta(seconds=second)
    day, month = at.weekday() * 3, at.month * 3
    return (
        f"{_DAYS[day : day + 3]}, {at.day:02} {_MONTHS[month : month + 3]} {at.year:04} "
        f"{at.hour:02}:{at.minute:02}:{at.second:02} +0000"
    )


def dated_by(mail: bytes, latest: datetime) -> bytes:
    """The mail with this time as its Date, if its present Date is later."""
    field = mail.find(_FIELD, 0, mail.find(b"\r\n\r\n"))
    begin = field + len(_FIELD)
    end = mail.find(b"\r\n", begin)
    if field < 0:
        return mail
    try:
        given = parsedate_to_datetime(mail[begin:end].decode("ascii", "replace"))
        if given <= latest:
            return mail
    except (TypeError, ValueError):  # notifier did not write it: the mail was submitted as a whole
        return mail
    return mail[:begin] + date(math.floor(latest.timestamp())).encode() + mail[end:]
