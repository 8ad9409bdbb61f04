"""The carriers whose mail gateways are known, and the state of these gateways."""

import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from notifier.errors import ConfigurationError, Fault, InvalidMessage
from notifier.sms.numbers import is_region

SETTING = "NOTIFIER_CARRIERS"

_Domain = Annotated[
    str, Meta(pattern=r"^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,}(?![\s\S])")
]
_Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+(?![\s\S])")]


class GatewayStatus(StrEnum):
    """The state of a gateway."""

    ACTIVE = "active"
    DEGRADED = "degraded"
    SUNSET = "sunset"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Quirk(StrEnum):
    """A gateway's peculiarity."""

    ONE_RECIPIENT = "one_recipient"
    EMPTY_SUBJECT = "empty_subject"
    ADDRESS_COUNTS = "address_counts"


class Carrier(Struct, frozen=True, kw_only=True):
    """A carrier, and the mail gateway that reaches its customers."""

    id: str
    names: Annotated[tuple[_Line, ...], Meta(min_length=1)]  # the first is the usual one
    sms: _Domain
    mms: _Domain | None = None
    country: Annotated[str, Meta(pattern="^[A-Z]{2}(?![\\s\\S])")] = "US"  # ISO 3166
    status: GatewayStatus = GatewayStatus.UNKNOWN
    effective: date | None = None
    source: _Line
    checked: date | None = None
    host: str | None = None  # id of the carrier whose gateway it is
    limit: Annotated[int, Meta(ge=40, le=1600)] = 160  # septets
    quirks: tuple[Quirk, ...] = ()
    note: _Line | None = None

    @property
    def name(self) -> str:
        return self.names[0]

    def status_on(self, today: date) -> GatewayStatus:
        """The status on a day: after the date of its sunset a gateway is dead."""
        if self.status is GatewayStatus.SUNSET and self.effective and self.effective <= today:
            return GatewayStatus.DEAD
        return self.status

    def check(self, today: date) -> tuple[str, ...]:
        """Warnings for those who send through it now. Raises InvalidMessage if it is dead."""
        match self.status_on(today):
            case GatewayStatus.DEAD:
                raise InvalidMessage(Fault("/carrier", f"{self._is('is dead', 'since')}; {_OTHER}"))
            case GatewayStatus.SUNSET:
                return (self._is("is being shut down", "on"),)
            case GatewayStatus.DEGRADED:
                return (self._is("is known to lose or refuse messages", "since"),)
        return ()

    def _is(self, state: str, when: str) -> str:
        dated = f" {when} {self.effective}" if self.effective else ""
        return f"the gateway of {self.name} ({self.sms}) {state}{dated}, says {self.source}"


_OTHER = "send by an SMS provider (NOTIFIER_SMS_PROVIDER) or by email"
_FIELDS = {field.name: field for field in msgspec.structs.fields(Carrier) if field.name != "id"}
_INHERITED = (
    "sms",
    "mms",
    "country",
    "status",
    "effective",
    "source",
    "checked",
    "limit",
    "quirks",
)
_FACTS = {"effective", "source", "checked", "note"}  # they belong to the status they were said of


class Carriers:
    """Carriers, found by id or by any name, without regard to case and punctuation."""

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        self._all = tuple(sorted(carriers, key=lambda each: each.name.casefold()))
        self._named = {
            _folded(name): carrier for carrier in self._all for name in (carrier.id, *carrier.names)
        }

    @classmethod
    def read(cls, override: Path | None = None) -> Self:
        """
        The known carriers, changed and extended field by field by an operator's file in the same
        form. Raises ConfigurationError with every fault of that file.
        """
        known = resources.files(__package__ or "").joinpath("carriers.toml").read_text("utf-8")
        entries = tomllib.loads(known)
        countries = frozenset(entry["country"] for entry in entries.values() if "country" in entry)
        if override is not None:
            theirs = _load(override)
            entries |= {
                id: _over(entries.get(id, {}), entry) if isinstance(entry, dict) else entry
                for id, entry in theirs.items()
            }
        carriers, faults = _carriers(entries, countries)
        faults += _namesakes(carriers)
        if faults:
            place = str(override) if override else "carriers.toml"
            raise ConfigurationError(*(f"{SETTING}: {place}: {fault}" for fault in faults))
        return cls(carriers)

    def all(self, today: date | None = None) -> tuple[Carrier, ...]:
        """All carriers by name; if a day is given, with the status on that day."""
        if today is None:
            return self._all
        return tuple(replace(each, status=each.status_on(today)) for each in self._all)

    def find(self, name: str) -> Carrier:
        """The carrier with this name. Raises InvalidMessage, which names the known carriers."""
        if carrier := self._named.get(_folded(name)):
            return carrier
        close = get_close_matches(_folded(name), self._named, n=1)
        hint = f"; did you mean {self._named[close[0]].name}?" if close else "."
        known = ", ".join(carrier.name for carrier in self._all)
        raise InvalidMessage(
            Fault("/carrier", f"no carrier is called {name!r}{hint} Known are {known}")
        )


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = str(error)
    raise ConfigurationError(f"{SETTING}: {path}: {reason}")


def _over(entry: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the fields that a later entry changes."""
    dropped = _FACTS if "status" in later else frozenset()
    kept = {name: value for name, value in entry.items() if name not in dropped}
    return {"source": "the operator", **kept, **later}


def _carriers(
    entries: Mapping[str, Any], countries: frozenset[str]
) -> tuple[list[Carrier], list[str]]:
    carriers, faults = [], []
    for id, entry in entries.items():
        if not isinstance(entry, dict):
            faults.append(f"{id}: must be a table: write [{id}], and its fields below it")
            continue
        host = entry.get("host")
        lent = entries.get(host, {}) if isinstance(host, str) else {}
        if host is not None and (not isinstance(lent, dict) or not lent or "host" in lent):
            faults.append(f"{id}: host: no carrier with a gateway of its own is called {host!r}")
            continue
        merged = _over({name: lent[name] for name in _INHERITED if name in lent}, entry)
        wrong = [*_faults(entry, countries), *_gaps(merged)]
        faults += [f"{id}: {fault}" for fault in wrong]
        # A host's faults are reported at the host, not at each carrier that uses its gateway.
        if not wrong and not any(_faults(lent, countries)):
            carriers.append(msgspec.convert({"id": id, **merged}, Carrier))
    return carriers, faults


def _faults(entry: Mapping[str, Any], countries: frozenset[str]) -> Iterable[str]:
    """
    The faults of each field by itself, so that one fault does not hide another. Countries that we
    name ourselves are not looked up.
    """
    for name, value in entry.items():
        if name not in _FIELDS:
            close = get_close_matches(name, _FIELDS, n=1)
            yield f"{name}: unknown field" + (f"; did you mean {close[0]}?" if close else "")
            continue
        try:
            msgspec.convert(value, _FIELDS[name].type)
        except msgspec.ValidationError as error:
            yield f"{name}: {error}"
    code = entry.get("country")
    if isinstance(code, str) and code not in countries and not is_region(code):
        yield f"country: {code!r} is not a region with telephone numbers; write a code such as US"


def _gaps(entry: Mapping[str, Any]) -> Iterable[str]:
    for name, field in _FIELDS.items():
        if field.required and name not in entry:
            yield f"{name}: is missing"
    if entry.get("status") == GatewayStatus.DEAD and "effective" not in entry:
        yield "effective: is missing; give the date since when the gateway is dead"


def _namesakes(carriers: Iterable[Carrier]) -> Iterable[str]:
    owners: dict[str, str] = {}
    for carrier in carriers:
        for name in (carrier.id, *carrier.names):
            owner = owners.setdefault(_folded(name), carrier.id)
            if owner != carrier.id:
                yield f"{carrier.id}: names: {name!r} already names {owner}"


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(char for char in plain if char.isalnum())
