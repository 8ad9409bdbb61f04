"""Telephone numbers: read what callers write, and write them for the network."""

import re
import unicodedata
from typing import TYPE_CHECKING

from msgspec import Struct

from notifier.errors import Fault, InvalidMessage

if TYPE_CHECKING:  # loaded with the first number
    from phonenumbers import NumberParseException, PhoneNumber

# Separators between digits. Letters would be dialled as digits, which nobody means here.
_WRITTEN = re.compile(r"[\s(]*\+?[\d\s().\-/\u2010-\u2015\u2212]+")
_DIGITS = re.compile(r"\d")
# As an East Asian keyboard writes them.
_HALF_WIDTH = {ord(full): half for full, half in zip("＋（）－．／", "+()-./", strict=True)}  # noqa: RUF001 - the characters meant


class Number(Struct, frozen=True):
    """A number that can exist."""

    e164: str  # +12025550123, ITU-T E.164
    national: str  # 2025550123, the national significant number: what a gateway takes
    country: int  # the calling code: 1
    region: str = ""  # ISO 3166: US; 001: no country's


def parse(text: str, *, region: str | None = None, pointer: str = "/to") -> Number:
    """
    A number in E.164, or a national number of `region` (ISO 3166: `US`). Raises InvalidMessage,
    which says what is wrong with it.
    """
    text = text.strip()
    plain = _plain(text)
    if not _WRITTEN.fullmatch(plain) or not _DIGITS.search(plain):
        raise _fault(pointer, text, "is not a telephone number; write +12025550123")
    international = "+" in plain
    if not international and region is None:
        raise _fault(
            pointer,
            text,
            "has no country, and no region is set (NOTIFIER_SMS_REGION); write it with +",
        )
    import phonenumbers

    try:
        number = phonenumbers.parse(plain, region)
    except phonenumbers.NumberParseException as error:
        raise _fault(pointer, text, _unreadable(error)) from None
    if wrong := _wrong(number, None if international else region):
        raise _fault(pointer, text, wrong)
    return Number(
        e164=phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        national=phonenumbers.national_significant_number(number),
        country=number.country_code or 0,
        region=phonenumbers.region_code_for_number(number) or "",
    )


def _plain(text: str) -> str:
    """
    The text without invisible characters, such as marks of direction that come along when a number
    is copied from an address book or a page.
    """
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return seen.translate(_HALF_WIDTH).strip()


def is_region(code: str) -> bool:
    """Whether numbers of this region, such as `US` or `DE`, are known."""
    import phonenumbers

    return code in phonenumbers.SUPPORTED_REGIONS


def calling_code(region: str) -> int:
    """The calling code of the region. 0: it has none."""
    import phonenumbers

    return phonenumbers.country_code_for_region(region)


def _fault(pointer: str, text: str, wrong: str) -> InvalidMessage:
    return InvalidMessage(Fault(pointer, f"{text!r} {wrong}"))


def _unreadable(error: "NumberParseException") -> str:
    from phonenumbers import NumberParseException

    match error.error_type:
        case NumberParseException.INVALID_COUNTRY_CODE:
            return "does not begin with the calling code of a country"
        case NumberParseException.TOO_SHORT_NSN | NumberParseException.TOO_SHORT_AFTER_IDD:
            return "is too short"
        case NumberParseException.TOO_LONG:
            return "is too long"
    return "is not a telephone number"


def _wrong(number: "PhoneNumber", region: str | None) -> str:
    import phonenumbers
    from phonenumbers import ValidationResult

    where = region or phonenumbers.region_code_for_country_code(number.country_code or 0)
    place = f"country {number.country_code}" if where in ("001", "ZZ") else where
    match phonenumbers.is_possible_number_with_reason(number):
        case ValidationResult.TOO_SHORT:
            return f"is too short for a number in {place}"
        case ValidationResult.TOO_LONG:
            return f"is too long for a number in {place}"
        case ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            return f"lacks its area code for a number in {place}"
        case ValidationResult.INVALID_LENGTH:
            return f"has a length that no number in {place} has"
    return "" if phonenumbers.is_valid_number(number) else f"is not a valid number in {place}"
