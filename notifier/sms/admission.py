"""A text message as it is judged, counted and sent, whichever way it goes."""

from collections.abc import Collection
from datetime import date

from msgspec import Struct

from notifier.errors import Fault, InvalidMessage
from notifier.messages import Long, Sms
from notifier.sms.gateway.carriers import Carrier, Carriers
from notifier.sms.numbers import Number, calling_code, parse
from notifier.sms.segments import Segments, count, split, text_of

LONGEST = 1600  # characters, also of a text that a template has made


class Admitted(Struct, frozen=True):
    """A text message that can be sent, and the warnings for its sender."""

    number: Number
    text: str
    segments: Segments  # of the whole text
    carrier: Carrier | None  # None: by the provider
    warnings: tuple[str, ...]


def admit(
    sms: Sms,
    *,
    carriers: Carriers,
    region: str | None,
    today: date,
    provider: bool = False,
    countries: Collection[str] = (),
) -> Admitted:
    """
    Judge a text message. Where there is a provider, a carrier only says which country a
    national number is of. `countries`: regions that may be texted; empty: any. Raises
    InvalidMessage with every fault.
    """
    faults: list[Fault] = []
    carrier: Carrier | None = None
    number: Number | None = None
    warnings: tuple[str, ...] = ()
    text = text_of(sms)
    if not text.strip():
        faults.append(Fault("/text", "is missing or blank"))
    if len(text) > LONGEST:
        faults.append(Fault("/text", f"has {len(text)} characters; at most {LONGEST} are allowed"))
    try:
        carrier = _carrier(sms, carriers)
        warnings = carrier.check(today) if carrier and not provider else ()
    except InvalidMessage as error:
        faults += () if provider else error.faults
    try:
        number = parse(sms.to, region=carrier.country if carrier else region)
    except InvalidMessage as error:
        faults += error.faults
    if provider:
        carrier = None
    elif carrier and number and number.country != calling_code(carrier.country):
        faults.append(Fault("/to", f"{carrier.name} cannot reach {number.e164}"))
    if number and countries and number.region not in countries:
        allowed = ", ".join(sorted(countries))
        wrong = f"{number.e164} is a number in {number.region}; texts go to {allowed} only"
        faults.append(Fault("/to", f"{wrong} (NOTIFIER_SMS_COUNTRIES)"))
    if faults or number is None:
        raise InvalidMessage(*faults)
    return Admitted(number, text, count(text), carrier, warnings)


def _carrier(sms: Sms, carriers: Carriers) -> Carrier:
    if sms.carrier is None:
        raise InvalidMessage(
            Fault("/carrier", "is needed, because there is no SMS provider (NOTIFIER_SMS_PROVIDER)")
        )
    return carriers.find(sms.carrier)


def segments(sms: Sms) -> Segments:
    """What the text costs, as it is counted and sent."""
    return count(text_of(sms))


def to_text(sms: Sms) -> str:
    """
    The text for a provider, whole: a phone puts together again what a provider has to split,
    so `split` needs no marks here. Raises InvalidMessage where it is too long for one text
    and must not be split.
    """
    text = text_of(sms)
    if sms.long is Long.REFUSE:
        split(text, long=sms.long)
    return text
